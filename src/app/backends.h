#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "config/instance_plan.h"
#include "config/machine_facts.h"
#include "ops/backend.h"

namespace fathom::app {

// The GPUs of this machine that the program can use. kUnavailable says in a sentence what is
// missing: the plug-in library, a driver, a GPU of the right kind. Opens the plug-in, for good.
Status find_gpus(std::vector<config::GpuFacts>& found);

// The CPU with `threads` threads, or a GPU by its index among those that find_gpus() finds.
// kUnavailable as above, or when this processor lacks instructions.
Result<std::unique_ptr<ops::Backend>> open_backend(config::DeviceKind kind,
                                                   const ops::BackendOptions& options,
                                                   int threads);

}  // namespace fathom::app
