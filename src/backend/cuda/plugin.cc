#include <utility>

#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "ops/backend.h"

// The plug-in library: the backend as the program opens it.
namespace fathom::cuda {

namespace {

class CudaBackend final : public ops::Backend {
 public:
  explicit CudaBackend(std::unique_ptr<CudaDevice> device)
      : device_(std::move(device)), ops_(make_cuda_ops()) {}
  Device& device() override { return *device_; }
  const ops::OpSet& ops() const override { return *ops_; }
  ops::DeviceMemory memory() const override { return device_->memory(); }

 private:
  std::unique_ptr<CudaDevice> device_;
  std::unique_ptr<ops::OpSet> ops_;
};

Status open(int index, std::unique_ptr<ops::Backend>& opened) {
  Result<std::unique_ptr<CudaDevice>> device = CudaDevice::open(index);
  FATHOM_RETURN_IF_ERROR(device.status());
  opened = std::make_unique<CudaBackend>(std::move(device).value());
  return {};
}

}  // namespace
}  // namespace fathom::cuda

extern "C" __attribute__((visibility("default"))) const fathom::ops::Plugin* fathom_plugin() {
  static const fathom::ops::Plugin plugin = {FATHOM_PLUGIN_ABI, fathom::cuda::find_devices,
                                             fathom::cuda::open};
  return &plugin;
}
