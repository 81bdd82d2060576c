#include "config/resolve.h"

#include <algorithm>

#include "config/resolution.h"

namespace fathom::config {
namespace {

// How a flag that the user gave is supported with the value it has.
Support support_of(const Flag& flag, const Json& value, const InstancePlan& plan) {
  const bool on_cpu = plan.device == DeviceKind::kCpu;
  if (!flag.values.empty() && !(flag.support == Support::kBuiltOnGpu && on_cpu)) {
    const std::vector<std::string_view> values = words(flag.values);
    const std::string text = value.as_string() != nullptr ? *value.as_string() : to_json(value);
    if (std::ranges::find(values, text) == values.end()) return Support::kNotBuilt;
  }
  switch (flag.support) {
    case Support::kBuiltOnGpu:
      return plan.device == DeviceKind::kCpu ? Support::kNoNeed : Support::kBuilt;
    case Support::kNoNeedOnCpu:
      return plan.device == DeviceKind::kCpu ? Support::kNoNeed : Support::kNotBuilt;
    case Support::kNoNeedOnOneRank:
      return plan.layout.tensor_parallel * plan.layout.pipeline_parallel == 1 ? Support::kNoNeed
                                                                              : Support::kNotBuilt;
    case Support::kBuilt:
    case Support::kNoNeed:
    case Support::kNotBuilt:
      break;
  }
  return flag.support;
}

void judge_flags(const ResolveInput& input, Resolved& resolved) {
  for (const Flag* flag : all_flags()) {
    if (!input.flags.changed(flag->name)) continue;
    const std::string shown = input.flags.shown(flag->name);
    switch (support_of(*flag, input.flags.get(flag->name), resolved.plan)) {
      case Support::kNoNeed:
        resolved.notes.push_back(shown + ": no need: " + std::string(flag->note));
        break;
      case Support::kNotBuilt:
        resolved.not_built.push_back(shown + ": " + std::string(flag->help));
        break;
      default:
        break;
    }
  }
  const bool automatic = !input.flags.given("device") || input.flags.text("device") == "auto";
  if (automatic && resolved.plan.device == DeviceKind::kCuda) {
    resolved.notes.push_back("--device auto: " + input.machine.name + " has a GPU (" +
                             input.machine.gpus.front().name +
                             "), which is used; --device cpu leaves it alone");
  } else if (automatic && !input.machine.no_gpus_because.empty()) {
    resolved.notes.push_back("--device auto: the CPU is used; " + input.machine.no_gpus_because);
  }
}

void judge_variables(const ResolveInput& input, Resolved& resolved) {
  for (const Variable& variable : environment_variables()) {
    if (!input.environment.changed(variable.name)) continue;
    Flag as_flag;
    as_flag.support = variable.support;
    const std::string shown =
        std::string(variable.name) + "=" + input.environment.text(variable.name);
    switch (support_of(as_flag, Json(), resolved.plan)) {
      case Support::kNoNeed:
        resolved.notes.push_back(shown + ": no need: " + std::string(variable.note));
        break;
      case Support::kNotBuilt:
        resolved.not_built.push_back(shown + ": " + std::string(variable.help));
        break;
      default:
        break;
    }
  }
}

}  // namespace

Status check_ranges(const FlagValues& flags, std::initializer_list<FlagRange> ranges) {
  for (const FlagRange& range : ranges) {
    if (!flags.has(range.name)) continue;
    const std::int64_t value = flags.integer(range.name);
    if (value >= range.low && value <= range.high) continue;
    return invalid_argument(flags.shown(range.name) + ": expected a number from " +
                            std::to_string(range.low) + " to " + std::to_string(range.high));
  }
  return {};
}

Result<Resolved> resolve(const ResolveInput& input) {
  Resolution r{.input = input};
  r.flags = input.flags;
  for (const std::string& warning : input.environment.warnings()) r.warn(warning);
  using Step = Status (*)(Resolution&);
  for (const Step step :
       {&fill_missing, &apply_memory_class, &apply_model, &apply_data_parallelism, &apply_experts,
        &apply_speculation, &apply_role, &apply_cache_rules, &cross_check, &plan_layout,
        &plan_limits, &plan_cache, &plan_graphs, &plan_exchange, &plan_handover, &plan_ports,
        &plan_serving, &plan_monitoring}) {
    FATHOM_RETURN_IF_ERROR(step(r));
  }
  Resolved resolved;
  resolved.plan = std::move(r.plan);
  resolved.flags = std::move(r.flags);
  resolved.warnings = std::move(r.warnings);
  judge_flags(input, resolved);
  judge_variables(input, resolved);
  return resolved;
}

}  // namespace fathom::config
