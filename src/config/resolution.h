#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "config/resolve.h"

// The steps of resolve(), in the order in which they run. Each changes the flags' values, fills in
// its part of the plan and checks what can be checked then.
namespace fathom::config {

struct Resolution {
  const ResolveInput& input;
  FlagValues flags = {};
  InstancePlan plan = {};
  std::vector<std::string> warnings = {};

  bool on_gpu() const { return plan.device == DeviceKind::kCuda; }
  void warn(std::string text) { warnings.push_back(std::move(text)); }
  std::int32_t narrow(std::string_view name, std::int64_t absent = 0) const {
    return static_cast<std::int32_t>(flags.integer(name, absent));
  }
};

// Flags' numbers within [low, high], when there is one: afterwards they fit an int32.
struct FlagRange {
  std::string_view name;
  std::int64_t low = 0;
  std::int64_t high = 0;
};
Status check_ranges(const FlagValues& flags, std::initializer_list<FlagRange> ranges);

// 1. Names, device, seed; newer words for older ones.
Status fill_missing(Resolution& r);
// 2. Chunk, graphs and memory fraction by the GPU's memory.
Status apply_memory_class(Resolution& r);
// 3. What DeepSeek-V3.2 needs.
Status apply_model(Resolution& r);
// 4. DP groups.
Status apply_data_parallelism(Resolution& r);
// 5, 6. Experts, their exchange and their balance.
Status apply_experts(Resolution& r);
// 7. Speculation and pipeline.
Status apply_speculation(Resolution& r);
// 8. Prefill or decode.
Status apply_role(Resolution& r);
// 9. Caches in the host's memory.
Status apply_cache_rules(Resolution& r);
// 10. Everything else that must agree, and what the words of metrics mean.
Status cross_check(Resolution& r);

// The plan's parts.
Status plan_layout(Resolution& r);
Status plan_limits(Resolution& r);
Status plan_cache(Resolution& r);
Status plan_graphs(Resolution& r);
Status plan_exchange(Resolution& r);  // checks the dispatch capacity; after limits and graphs
Status plan_handover(Resolution& r);
Status plan_ports(Resolution& r);
Status plan_serving(Resolution& r);
Status plan_http(Resolution& r);  // and the log's level
Status plan_monitoring(Resolution& r);

// --dist-init-addr taken apart: "host:port" or "[v6]:port".
struct MeetingPoint {
  std::string host;
  std::int32_t port = 0;
};
Result<MeetingPoint> parse_meeting_point(const std::string& text);

// What the graphs of decode are captured for when no list is given.
std::vector<std::int64_t> generated_batch_sizes(std::int64_t max,
                                                bool speculation,
                                                bool every_size);

}  // namespace fathom::config
