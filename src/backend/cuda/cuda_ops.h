#pragma once

#include <memory>

#include "ops/op_set.h"

namespace fathom::cuda {

class FastProducts;

// Every operation on a GPU, for streams of a CudaDevice.
//
// Sums follow docs/arithmetic.md to the bit, as the CPU's do: results of the two backends are
// equal. With `fast` its products are the exception: they stay within the bound of
// docs/decisions/0018, and their bits depend on the rows beside a row.
std::unique_ptr<ops::OpSet> make_cuda_ops(std::shared_ptr<FastProducts> fast = nullptr);

}  // namespace fathom::cuda
