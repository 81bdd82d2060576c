#pragma once

#include <memory>

#include "ops/op_set.h"

namespace fathom::cuda {

// Every operation on a GPU, for streams of a CudaDevice.
//
// Sums follow docs/arithmetic.md to the bit, as the CPU's do: results of the two backends are
// equal.
std::unique_ptr<ops::OpSet> make_cuda_ops();

}  // namespace fathom::cuda
