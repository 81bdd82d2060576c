#pragma once

#include "api/service.h"
#include "base/status.h"
#include "config/instance_plan.h"
#include "config/model_config.h"

namespace fathom::app {

// Fills in how the model's answers think and call: what --reasoning-parser and --tool-call-parser
// name, or, for "auto", the checkpoint's own: DeepSeek-V3.2 has deepseek-v3 and deepseekv32,
// DeepSeek-V3 has none and deepseekv3. kInvalidArgument names the flag.
Status set_answer_formats(const config::InstancePlan& plan,
                          const config::ModelConfig& model,
                          api::ServiceOptions& options);

}  // namespace fathom::app
