#include <string>
#include <utility>

#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/fast_products.h"
#include "ops/backend.h"

// The plug-in library: the backend as the program opens it.
namespace fathom::cuda {

namespace {

class CudaBackend final : public ops::Backend {
 public:
  CudaBackend(std::unique_ptr<CudaDevice> device,
              std::shared_ptr<FastProducts> fast,
              std::string kernels)
      : device_(std::move(device)),
        ops_(make_cuda_ops(std::move(fast))),
        kernels_(std::move(kernels)) {}
  Device& device() override { return *device_; }
  const ops::OpSet& ops() const override { return *ops_; }
  ops::DeviceMemory memory() const override { return device_->memory(); }
  std::string kernels() const override { return kernels_; }

 private:
  std::unique_ptr<CudaDevice> device_;
  std::unique_ptr<ops::OpSet> ops_;
  std::string kernels_;
};

Status open(const ops::BackendOptions& options, std::unique_ptr<ops::Backend>& opened) {
  Result<std::unique_ptr<CudaDevice>> device = CudaDevice::open(options.index);
  FATHOM_RETURN_IF_ERROR(device.status());
  std::shared_ptr<FastProducts> fast;
  std::string kernels = "products by Fathom's own kernels, deterministic";
  if (!options.deterministic) {
    Result<std::unique_ptr<FastProducts>> products = FastProducts::open();
    if (products.ok()) {
      fast = std::move(products).value();
      kernels = "products by " + fast->name() + " where it serves, else by Fathom's own kernels";
    } else {
      kernels += ": " + products.status().message();
    }
  }
  opened =
      std::make_unique<CudaBackend>(std::move(device).value(), std::move(fast), std::move(kernels));
  return {};
}

}  // namespace
}  // namespace fathom::cuda

extern "C" __attribute__((visibility("default"))) const fathom::ops::Plugin* fathom_plugin() {
  static const fathom::ops::Plugin plugin = {FATHOM_PLUGIN_ABI, fathom::cuda::find_devices,
                                             fathom::cuda::open};
  return &plugin;
}
