#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "ops/linear.h"

namespace fathom::cuda {

class CudaStream;

// Products on the tensor cores by cuBLASLt, where it serves: FP8 with one scale per 128 inputs and
// per 128 x 128 weights, bf16, and bf16 by head. Sums are in the library's order, so a row's bits
// depend on how many rows are beside it (docs/decisions/0018); the kernels of linear.cu take the
// rest.
//
// Threads: any.
class FastProducts {
 public:
  // Opens libcublasLt.so.13, which is looked for where the system and this bundle have libraries.
  // kUnavailable says in a sentence why it cannot be used.
  static Result<std::unique_ptr<FastProducts>> open();
  ~FastProducts();
  FastProducts(const FastProducts&) = delete;
  FastProducts& operator=(const FastProducts&) = delete;

  // Enqueues the first rows of a product and gives how many: 0 for what it does not serve. A
  // failure is the stream's.
  std::int64_t linear(CudaStream& stream, const ops::LinearArgs& args);
  // The same of all rows, or false.
  bool head_linear(CudaStream& stream, const ops::HeadLinearArgs& args);

  // "cuBLASLt 13.0.2".
  const std::string& name() const { return name_; }

 private:
  struct Library;
  struct Shape;
  struct Plan;
  using Key = std::array<std::int64_t, 11>;

  explicit FastProducts(std::unique_ptr<Library> library);
  // Scales are those of the call: the library chooses with them in sight.
  Plan& plan_for(const Shape& shape, const void* w_scales, const void* x_scales);
  Plan make_plan(const Shape& shape, const void* w_scales, const void* x_scales);
  void set_scales(Plan& plan, const void* w_scales, const void* x_scales);
  // False, with nothing enqueued, when the library does not serve the shape.
  bool run(CudaStream& stream,
           const Shape& shape,
           const void* w,
           const void* w_scales,
           const void* x,
           const void* x_scales,
           void* y);

  std::unique_ptr<Library> library_;
  std::string name_;
  std::mutex mutex_;
  std::map<Key, Plan> plans_;  // guarded by mutex_
};

}  // namespace fathom::cuda
