#pragma once

#include <memory>

#include "ops/op_set.h"

namespace fathom::cpu {

// The operations on the CPU: the readable truth that other backends are compared with. The same
// bits come out whatever the number of threads, the rows beside a row, or the instruction set.
// Streams must be CpuStreams.
std::unique_ptr<ops::OpSet> make_cpu_ops();

}  // namespace fathom::cpu
