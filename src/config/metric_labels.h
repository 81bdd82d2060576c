#pragma once

#include "base/status.h"
#include "config/flag_values.h"
#include "config/instance_plan.h"

namespace fathom::config {

// Reads --tokenizer-metrics-allowed-custom-labels, --tokenizer-metrics-custom-labels-header and
// --extra-metric-labels. kInvalidArgument names the flag and the label: names are those of
// Prometheus, of 64 bytes at most, none ours already and none twice; values have 1 to 256 bytes and
// no control characters; there are 8 of either kind at most.
Status plan_labels(const FlagValues& flags, MonitoringPlan& plan);

}  // namespace fathom::config
