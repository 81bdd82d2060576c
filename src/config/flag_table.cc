#include "config/flag_table.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace fathom::config {

std::span<const FlagGroup> flag_groups() {
  static const std::array groups = {
      model_flags(),         http_flags(),     limits_flags(),      device_flags(),
      graphs_flags(),        parallel_flags(), speculation_flags(), disaggregation_flags(),
      observability_flags(), newer_flags(),    fathom_flags(),      lora_flags(),
      multimodal_flags()};
  return groups;
}

std::span<const Flag* const> all_flags() {
  static const std::vector<const Flag*> every = [] {
    std::vector<const Flag*> flags;
    for (const FlagGroup& group : flag_groups()) {
      for (const Flag& flag : group.flags) flags.push_back(&flag);
    }
    return flags;
  }();
  return every;
}

std::optional<std::size_t> find_flag(std::string_view name) {
  static const std::unordered_map<std::string_view, std::size_t> by_name = [] {
    std::unordered_map<std::string_view, std::size_t> places;
    for (const Flag* flag : all_flags()) places.emplace(flag->name, places.size());
    return places;
  }();
  const auto found = by_name.find(name);
  if (found == by_name.end()) return std::nullopt;
  return found->second;
}

std::vector<std::string_view> words(std::string_view list) {
  std::vector<std::string_view> found;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(' '), list.size());
    if (end > 0) found.push_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return found;
}

bool is_switch(FlagKind kind) { return kind == FlagKind::kSwitch || kind == FlagKind::kToggle; }

bool is_list(FlagKind kind) {
  return kind == FlagKind::kIntList || kind == FlagKind::kFloatList ||
         kind == FlagKind::kStringList || kind == FlagKind::kStringListOrNone;
}

std::string_view primary_spelling(const Flag& flag) {
  return flag.spellings.substr(0, flag.spellings.find(' '));
}

}  // namespace fathom::config
