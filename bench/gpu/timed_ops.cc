#include "bench/gpu/timed_ops.h"

#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_device.h"
#include "base/check.h"

namespace fathom::bench {

namespace {

void require(cudaError_t code) { FATHOM_CHECK_MSG(code == cudaSuccess, cudaGetErrorString(code)); }

}  // namespace

TimedOps::~TimedOps() {
  for (const Interval& interval : intervals_) {
    cudaEventDestroy(interval.begin);
    cudaEventDestroy(interval.end);
  }
}

void TimedOps::begin(bool timing) {
  timing_ = timing;
  used_ = 0;
}

std::map<std::string, double> TimedOps::milliseconds() const {
  std::map<std::string, double> sums;
  for (std::size_t i = 0; i < used_; ++i) {
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, intervals_[i].begin, intervals_[i].end));
    sums[intervals_[i].component] += static_cast<double>(milliseconds);
  }
  return sums;
}

void TimedOps::begin_op(const char* component, Stream& stream) const {
  if (!timing_) return;
  if (used_ == intervals_.size()) {
    Interval& made = intervals_.emplace_back();
    require(cudaEventCreate(&made.begin));
    require(cudaEventCreate(&made.end));
  }
  Interval& interval = intervals_[used_];
  interval.component = component;
  require(cudaEventRecord(interval.begin, static_cast<cuda::CudaStream&>(stream).handle()));
}

void TimedOps::end_op(Stream& stream) const {
  if (!timing_) return;
  require(
      cudaEventRecord(intervals_[used_++].end, static_cast<cuda::CudaStream&>(stream).handle()));
}

}  // namespace fathom::bench
