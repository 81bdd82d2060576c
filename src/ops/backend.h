#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/machine_facts.h"
#include "ops/op_set.h"
#include "tensor/device.h"

namespace fathom::ops {

struct DeviceMemory {
  std::int64_t total_bytes = 0;
  std::int64_t free_bytes = 0;  // right now, for anyone
};

// A device and its operations: what everything above the backends is given, whichever it is.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Device& device() = 0;
  virtual const OpSet& ops() const = 0;
  // Zero where the device's memory is the host's (Device::uses_host_memory).
  virtual DeviceMemory memory() const = 0;
  // What its kernels are, for the log; empty when there is nothing to tell.
  virtual std::string kernels() const = 0;
};

struct BackendOptions {
  int index = 0;  // of the device
  // Bits of a row depend on its own inputs alone, never on the rows beside it.
  bool deterministic = false;
};

// What a plug-in library holds: a backend that is opened at run time, so that one program serves
// machines with and without its devices.
struct Plugin {
  // FATHOM_PLUGIN_ABI of the build. Both sides share C++ classes, so it must be the program's own;
  // nothing else here may be touched before it has been compared.
  const char* abi;
  // The devices of this machine that open() takes, by index. kUnavailable says in a sentence why
  // there are none.
  Status (*find)(std::vector<config::GpuFacts>& found);
  // kUnavailable says in a sentence what is missing.
  Status (*open)(const BackendOptions& options, std::unique_ptr<Backend>& opened);
};

// The one function of a plug-in library, `const fathom::ops::Plugin* fathom_plugin()`, extern "C".
using PluginEntry = const Plugin*();
constexpr const char* kPluginEntry = "fathom_plugin";

}  // namespace fathom::ops
