#include "app/serve.h"

namespace fathom::app {

Status serve(const config::InstancePlan& /*plan*/, const std::string& /*server_arguments*/) {
  return {Code::kUnavailable, "not built yet: serving; --dry-run checks and prints the plan"};
}

}  // namespace fathom::app
