#include "app/backends.h"

#include <csignal>
#include <dlfcn.h>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/cpu_ops.h"
#include "base/check.h"

namespace fathom::app {

namespace {

constexpr const char* kCudaPlugin = "libfathom_cuda.so";

class CpuBackend final : public ops::Backend {
 public:
  explicit CpuBackend(int threads) : device_(threads), ops_(cpu::make_cpu_ops()) {}
  Device& device() override { return device_; }
  const ops::OpSet& ops() const override { return *ops_; }
  ops::DeviceMemory memory() const override { return {}; }
  std::string kernels() const override { return {}; }

 private:
  cpu::CpuDevice device_;
  std::unique_ptr<ops::OpSet> ops_;
};

// lib/fathom of the folder in whose bin/ the program lies. Nowhere else: a library is code.
Result<std::filesystem::path> plugin_path() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return Status(Code::kUnavailable, "/proc/self/exe cannot be read: " + error.message());
  }
  return program.parent_path().parent_path() / "lib" / "fathom" / kCudaPlugin;
}

Status refuse(const std::filesystem::path& path, const std::string& why) {
  return {Code::kUnavailable, "the CUDA plug-in cannot be used (" + path.string() + "): " + why};
}

Result<const ops::Plugin*> load_plugin() {
  const Result<std::filesystem::path> path = plugin_path();
  FATHOM_RETURN_IF_ERROR(path.status());
  std::error_code error;
  if (!std::filesystem::exists(*path, error)) {
    return Status(Code::kUnavailable, "this program came without the CUDA plug-in (there is no " +
                                          path->string() + ")");
  }
  // Never closed: its code is needed to the end. dlerror() is per thread.
  void* const library = dlopen(path->c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return refuse(*path, dlerror());  // NOLINT(concurrency-mt-unsafe)
  auto* const entry = reinterpret_cast<ops::PluginEntry*>(dlsym(library, ops::kPluginEntry));
  if (entry == nullptr) return refuse(*path, "it has no entry " + std::string(ops::kPluginEntry));
  const ops::Plugin* const plugin = entry();
  if (std::string(plugin->abi) != FATHOM_PLUGIN_ABI) {
    return refuse(*path, "it was built as \"" + std::string(plugin->abi) +
                             "\", this program as \"" + FATHOM_PLUGIN_ABI +
                             "\"; install both from one build");
  }
  return plugin;
}

const Result<const ops::Plugin*>& cuda_plugin() {
  static const Result<const ops::Plugin*> plugin = load_plugin();
  return plugin;
}

// A driver starts threads of its own. They inherit that all signals are blocked, and leave those
// that end the program to whoever waits for them (EndSignals).
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    FATHOM_CHECK(pthread_sigmask(SIG_SETMASK, &all, &before_) == 0);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Status find_gpus(std::vector<config::GpuFacts>& found) {
  const SignalsBlocked blocked;
  const Result<const ops::Plugin*>& plugin = cuda_plugin();
  FATHOM_RETURN_IF_ERROR(plugin.status());
  return (*plugin)->find(found);
}

Result<std::unique_ptr<ops::Backend>> open_backend(config::DeviceKind kind,
                                                   const ops::BackendOptions& options,
                                                   int threads) {
  if (kind == config::DeviceKind::kCpu) {
    FATHOM_RETURN_IF_ERROR(cpu::CpuDevice::supported());
    return std::unique_ptr<ops::Backend>(std::make_unique<CpuBackend>(threads));
  }
  const SignalsBlocked blocked;
  const Result<const ops::Plugin*>& plugin = cuda_plugin();
  FATHOM_RETURN_IF_ERROR(plugin.status());
  std::unique_ptr<ops::Backend> opened;
  FATHOM_RETURN_IF_ERROR((*plugin)->open(options, opened));
  return opened;
}

}  // namespace fathom::app
