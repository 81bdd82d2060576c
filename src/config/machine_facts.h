#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom::config {

struct GpuFacts {
  std::string name;
  std::int64_t memory_mib = 0;  // as nvidia-smi tells it
};

// What a launch has to know of the machine it is for.
struct MachineFacts {
  std::string name;  // for messages: "this machine", "h200x8"
  int processors = 1;
  std::int64_t host_memory_bytes = 0;
  std::optional<std::int64_t> cgroup_memory_bytes;  // the tightest limit that holds, if any
  std::vector<GpuFacts> gpus;
  std::string no_gpus_because;  // a sentence, when they were looked for and none can be used

  // What this process may use: the host's memory, or less where a limit says so.
  std::int64_t usable_memory_bytes() const;
};

// This machine. Reads below `root` (a test's own tree, else "/"): proc/meminfo, proc/self/cgroup
// and the memory limits of both kinds of control groups. Finds no GPUs: they are asked for by the
// backend that drives them. kUnavailable when the memory's size cannot be read.
Result<MachineFacts> detect_machine(const std::filesystem::path& root = "/");

// "h200x8", "h100x8" or "cpu"; kInvalidArgument names them.
Result<MachineFacts> preset_machine(std::string_view name);

// A JSON object like
//   {"name": "lab", "processors": 64, "host_memory_mib": 515000, "cgroup_memory_mib": 400000,
//    "gpus": [{"name": "NVIDIA H200", "memory_mib": 143771, "count": 8}]}
// where name, cgroup_memory_mib, gpus and count may be left out. Untrusted input; a failure names
// the field.
Result<MachineFacts> parse_machine(std::string_view json);

}  // namespace fathom::config
