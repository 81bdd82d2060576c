#pragma once

#include <string>

#include "base/status.h"
#include "config/instance_plan.h"
#include "engine/step_account.h"
#include "observe/monitor.h"
#include "observe/scheduler_log.h"

namespace fathom::app {

// What the plan means for the monitor; without give_up. kInvalidArgument names the flag whose
// bounds cannot be used.
Result<observe::MonitorOptions> monitor_options(const config::InstancePlan& plan);

// An engine's report as its log takes it.
// `draft_tokens`: verified for a request and step; 0: no speculation.
observe::StepNote note_of(const engine::StepReport& report, std::int32_t draft_tokens);

// What stands behind the time of every log line: " DP1 TP1 PP0 EP1", each only when the instance
// has several; the first rank of this node.
std::string rank_tags(const config::LayoutPlan& layout);

}  // namespace fathom::app
