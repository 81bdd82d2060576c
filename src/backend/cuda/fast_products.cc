#include "backend/cuda/fast_products.h"

#include <cstddef>
#include <dlfcn.h>
#include <utility>

#include <cublasLt.h>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/launches.h"

namespace fathom::cuda {

namespace {

constexpr const char* kLibrary = "libcublasLt.so.13";
// Fewer rows are read faster by the kernels of linear.cu.
constexpr std::int64_t kLeastRows = 4;
// Scales of rows lie in columns whose length is a multiple of it, and so do the rows of a product.
constexpr std::int64_t kRowStep = 4;
constexpr std::int64_t kColumnStep = 16;
// The blocks of a row of weight scales.
constexpr std::int64_t kScaleStep = 4;
constexpr std::size_t kAlignment = 16;
constexpr std::size_t kMostPlans = 4096;

bool aligned(const TensorView& view) {
  return reinterpret_cast<std::uintptr_t>(view.data) % kAlignment == 0;
}

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return CUDA_R_32F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_8F_E4M3;
  }
}

}  // namespace

// The functions of the library that are called.
struct FastProducts::Library {
  decltype(&cublasLtGetVersion) version = nullptr;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  cublasLtHandle_t handle = nullptr;

  // False when one is missing.
  bool find_all(void* library) {
    bool found = true;
    const auto find = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      found = found && function != nullptr;
    };
    find(version, "cublasLtGetVersion");
    find(create, "cublasLtCreate");
    find(destroy, "cublasLtDestroy");
    find(matmul, "cublasLtMatmul");
    find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    find(desc_create, "cublasLtMatmulDescCreate");
    find(desc_destroy, "cublasLtMatmulDescDestroy");
    find(desc_set, "cublasLtMatmulDescSetAttribute");
    find(layout_create, "cublasLtMatrixLayoutCreate");
    find(layout_destroy, "cublasLtMatrixLayoutDestroy");
    find(layout_set, "cublasLtMatrixLayoutSetAttribute");
    find(preference_create, "cublasLtMatmulPreferenceCreate");
    find(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    find(preference_set, "cublasLtMatmulPreferenceSetAttribute");
    return found;
  }
};

// y[rows, out] = x[rows, in] · w[out, in]ᵀ, `batch` times. The library counts columns first: w is
// its transposed first matrix, x its second.
struct FastProducts::Shape {
  DType input = DType::kBF16;
  DType output = DType::kBF16;
  std::int64_t rows = 0;
  std::int64_t out = 0;
  std::int64_t in = 0;
  std::int64_t x_stride = 0;
  std::int64_t w_stride = 0;
  std::int64_t y_stride = 0;
  std::int64_t batch = 1;
  std::int64_t x_batch = 0;  // strides between the products of a batch
  std::int64_t w_batch = 0;
  std::int64_t y_batch = 0;

  Key key() const {
    return {static_cast<std::int64_t>(input) * 256 + static_cast<std::int64_t>(output),
            rows,
            out,
            in,
            x_stride,
            w_stride,
            y_stride,
            batch,
            x_batch,
            w_batch,
            y_batch};
  }
};

struct FastProducts::Plan {
  explicit Plan(Library* owner) : library(owner) {}
  Plan(Plan&& other) noexcept
      : library(other.library),
        desc(std::exchange(other.desc, nullptr)),
        w(std::exchange(other.w, nullptr)),
        x(std::exchange(other.x, nullptr)),
        y(std::exchange(other.y, nullptr)),
        algorithm(other.algorithm),
        served(other.served) {}
  Plan& operator=(Plan&&) = delete;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (desc != nullptr) library->desc_destroy(desc);
    for (cublasLtMatrixLayout_t layout : {w, x, y}) {
      if (layout != nullptr) library->layout_destroy(layout);
    }
  }

  Library* library;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t w = nullptr;
  cublasLtMatrixLayout_t x = nullptr;
  cublasLtMatrixLayout_t y = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool served = false;
};

Result<std::unique_ptr<FastProducts>> FastProducts::open() {
  void* const opened = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);  // never closed
  if (opened == nullptr) {
    const char* const why = dlerror();  // NOLINT(concurrency-mt-unsafe): its text is per thread
    return Status(Code::kUnavailable,
                  std::string(kLibrary) + " cannot be opened (" + std::string(why) + ")");
  }
  auto library = std::make_unique<Library>();
  if (!library->find_all(opened)) {
    return Status(Code::kUnavailable, std::string(kLibrary) + " lacks functions of version 13");
  }
  if (const cublasStatus_t status = library->create(&library->handle);
      status != CUBLAS_STATUS_SUCCESS) {
    return Status(Code::kUnavailable, std::string(kLibrary) + " does not start: status " +
                                          std::to_string(static_cast<int>(status)));
  }
  return std::unique_ptr<FastProducts>(new FastProducts(std::move(library)));
}

FastProducts::FastProducts(std::unique_ptr<Library> library) : library_(std::move(library)) {
  constexpr std::size_t kMajor = 10000;
  constexpr std::size_t kMinor = 100;
  const std::size_t version = library_->version();
  name_ = "cuBLASLt " + std::to_string(version / kMajor) + "." +
          std::to_string(version % kMajor / kMinor) + "." + std::to_string(version % kMinor);
}

FastProducts::~FastProducts() {
  plans_.clear();
  library_->destroy(library_->handle);
}

void FastProducts::set_scales(Plan& plan, const void* w_scales, const void* x_scales) {
  library_->desc_set(plan.desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &w_scales, sizeof w_scales);
  library_->desc_set(plan.desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &x_scales, sizeof x_scales);
}

FastProducts::Plan FastProducts::make_plan(const Shape& shape,
                                           const void* w_scales,
                                           const void* x_scales) {
  Library& library = *library_;
  Plan plan(&library);
  bool done =
      library.desc_create(&plan.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS;
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, std::int32_t value) {
    done = done &&
           library.desc_set(plan.desc, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  if (shape.input == DType::kF8E4M3) {
    set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F);
  }
  const auto layout = [&](cublasLtMatrixLayout_t& made, DType dtype, std::int64_t rows,
                          std::int64_t columns, std::int64_t stride, std::int64_t batch_stride) {
    done = done && library.layout_create(&made, type_of(dtype), static_cast<std::uint64_t>(rows),
                                         static_cast<std::uint64_t>(columns),
                                         stride) == CUBLAS_STATUS_SUCCESS;
    if (shape.batch == 1 || !done) return;
    const auto count = static_cast<std::int32_t>(shape.batch);
    done = library.layout_set(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count) ==
               CUBLAS_STATUS_SUCCESS &&
           library.layout_set(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch_stride,
                              sizeof batch_stride) == CUBLAS_STATUS_SUCCESS;
  };
  layout(plan.w, shape.input, shape.in, shape.out, shape.w_stride, shape.w_batch);
  layout(plan.x, shape.input, shape.in, shape.rows, shape.x_stride, shape.x_batch);
  layout(plan.y, shape.output, shape.out, shape.rows, shape.y_stride, shape.y_batch);
  cublasLtMatmulPreference_t preference = nullptr;
  done = done && library.preference_create(&preference) == CUBLAS_STATUS_SUCCESS;
  if (!done) return plan;
  // The library finds nothing for scales that are nowhere.
  if (w_scales != nullptr) set_scales(plan, w_scales, x_scales);
  const std::uint64_t workspace = CudaStream::kWorkspaceBytes;
  library.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                         sizeof workspace);
  for (const auto operand :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    const auto bytes = static_cast<std::uint32_t>(kAlignment);
    library.preference_set(preference, operand, &bytes, sizeof bytes);
  }
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t asked = library.heuristic(library.handle, plan.desc, plan.w, plan.x, plan.y,
                                                 plan.y, preference, 1, &found, &count);
  library.preference_destroy(preference);
  plan.served = asked == CUBLAS_STATUS_SUCCESS && count == 1;
  plan.algorithm = found.algo;
  return plan;
}

FastProducts::Plan& FastProducts::plan_for(const Shape& shape,
                                           const void* w_scales,
                                           const void* x_scales) {
  const Key key = shape.key();
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  if (plans_.size() >= kMostPlans) plans_.clear();
  return plans_.emplace(key, make_plan(shape, w_scales, x_scales)).first->second;
}

bool FastProducts::run(CudaStream& stream,
                       const Shape& shape,
                       const void* w,
                       const void* w_scales,
                       const void* x,
                       const void* x_scales,
                       void* y) {
  void* const workspace = stream.workspace();
  if (workspace == nullptr) return false;
  const std::lock_guard lock(mutex_);
  Plan& plan = plan_for(shape, w_scales, x_scales);
  if (!plan.served) return false;
  if (w_scales != nullptr) set_scales(plan, w_scales, x_scales);
  const float one = 1;
  const float zero = 0;
  const cublasStatus_t status = library_->matmul(
      library_->handle, plan.desc, &one, w, plan.w, x, plan.x, &zero, y, plan.y, y, plan.y,
      &plan.algorithm, workspace, CudaStream::kWorkspaceBytes, stream.handle());
  if (status != CUBLAS_STATUS_SUCCESS) {
    stream.fail(name_ + ", a product of " + std::to_string(shape.rows) + " x " +
                std::to_string(shape.in) + " with " + std::to_string(shape.out) + " x " +
                std::to_string(shape.in) + ": status " + std::to_string(static_cast<int>(status)));
  }
  return true;
}

std::int64_t FastProducts::linear(CudaStream& stream, const ops::LinearArgs& args) {
  const TensorView& x = args.x.values;
  const TensorView& w = args.w.values;
  const std::int64_t rows = x.shape[0] / kRowStep * kRowStep;
  const bool quantized = x.dtype == DType::kF8E4M3;
  if (rows < kLeastRows || x.dtype != w.dtype) return 0;
  if (!quantized && x.dtype != DType::kBF16) return 0;
  if (w.shape[0] % kColumnStep != 0 || w.shape[1] % kColumnStep != 0) return 0;
  if (!aligned(x) || !aligned(w) || !aligned(args.y)) return 0;
  Shape shape;
  shape.input = x.dtype;
  shape.output = args.y.dtype;
  shape.rows = rows;
  shape.out = w.shape[0];
  shape.in = w.shape[1];
  shape.x_stride = x.stride[0];
  shape.w_stride = w.stride[0];
  shape.y_stride = args.y.stride[0];
  if (!quantized) {
    return run(stream, shape, w.data, nullptr, x.data, nullptr, args.y.data) ? rows : 0;
  }
  const std::int64_t groups = args.x.scales.shape[1];
  const bool whole = w.shape[1] % (kScaleBlock * kScaleStep) == 0 &&
                     args.w.scales.stride[0] == groups && aligned(args.w.scales);
  if (!whole) return 0;
  float* const scales = stream.product_scales(groups * rows);
  if (scales == nullptr) return 0;
  transpose_scales(stream.handle(), args.x.scales, rows, scales);
  return run(stream, shape, w.data, args.w.scales.data, x.data, scales, args.y.data) ? rows : 0;
}

bool FastProducts::head_linear(CudaStream& stream, const ops::HeadLinearArgs& args) {
  if (args.x.shape[0] < kLeastRows || args.x.dtype != DType::kBF16 ||
      args.w.dtype != DType::kBF16) {
    return false;
  }
  Shape shape;
  shape.output = args.y.dtype;
  shape.rows = args.x.shape[0];
  shape.out = args.w.shape[1];
  shape.in = args.w.shape[2];
  shape.x_stride = args.x.stride[0];
  shape.w_stride = args.w.stride[1];
  shape.y_stride = args.y.stride[0];
  shape.batch = args.w.shape[0];
  shape.x_batch = args.x.stride[1];
  shape.w_batch = args.w.stride[0];
  shape.y_batch = args.y.stride[1];
  for (const std::int64_t size : {shape.out, shape.in, shape.x_stride, shape.x_batch, shape.w_batch,
                                  shape.y_stride, shape.y_batch}) {
    if (size % (kColumnStep / 2) != 0) return false;
  }
  if (!aligned(args.x) || !aligned(args.w) || !aligned(args.y)) return false;
  return run(stream, shape, args.w.data, nullptr, args.x.data, nullptr, args.y.data);
}

}  // namespace fathom::cuda
