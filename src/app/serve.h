#pragma once

#include <string>

#include "base/status.h"
#include "config/instance_plan.h"

namespace fathom::app {

// Brings one node of an instance up as `plan` says, answers requests until the process is told to
// end (SIGTERM, SIGINT), drains and returns. `server_arguments` is a JSON object of every resolved
// launch argument, for /server_info. A failure says what could not be had: a file, a port, memory.
Status serve(const config::InstancePlan& plan, const std::string& server_arguments);

}  // namespace fathom::app
