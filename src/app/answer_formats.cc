#include "app/answer_formats.h"

#include <string>
#include <string_view>

#include "text/answer_parser.h"

namespace fathom::app {

namespace {

constexpr std::string_view kAuto = "auto";
constexpr std::string_view kNone = "none";

// The name to look up: what was given, or the checkpoint's own.
std::string_view chosen(const std::string& given, std::string_view own) {
  if (given.empty()) return kNone;
  return given == kAuto ? own : std::string_view(given);
}

}  // namespace

Status set_answer_formats(const config::InstancePlan& plan,
                          const config::ModelConfig& model,
                          api::ServiceOptions& options) {
  const bool v32 = model.model_type == "deepseek_v32";
  const auto reasoning =
      text::reasoning_format(chosen(plan.reasoning_parser, v32 ? "deepseek-v3" : kNone));
  if (!reasoning.ok()) return reasoning.status().in("--reasoning-parser");
  const auto tool_calls =
      text::tool_call_format(chosen(plan.tool_call_parser, v32 ? "deepseekv32" : "deepseekv3"));
  if (!tool_calls.ok()) return tool_calls.status().in("--tool-call-parser");
  options.reasoning = *reasoning;
  options.tool_calls = *tool_calls;
  return {};
}

}  // namespace fathom::app
