#include "config/machine_facts.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/json.h"
#include "base/thread_pool.h"

namespace fathom::config {
namespace {

constexpr std::int64_t kMib = std::int64_t{1} << 20;

// Files of /proc and /sys do not know their size.
std::optional<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<std::int64_t> read_count(std::string_view text) {
  std::int64_t value = 0;
  const auto [next, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> total_memory_bytes(const std::filesystem::path& root) {
  const std::optional<std::string> text = read_text(root / "proc/meminfo");
  if (!text.has_value()) return std::nullopt;
  std::istringstream lines(*text);
  std::string line;
  while (std::getline(lines, line)) {
    constexpr std::string_view kKey = "MemTotal:";
    if (!line.starts_with(kKey)) continue;
    const std::size_t digits = line.find_first_not_of(' ', kKey.size());
    if (digits == std::string::npos) return std::nullopt;
    const std::optional<std::int64_t> kib = read_count(std::string_view(line).substr(digits));
    if (!kib.has_value() || *kib <= 0) return std::nullopt;
    return *kib * 1024;
  }
  return std::nullopt;
}

// The tightest limit in `file` from the group `group` below `mount` up to the mount itself.
void take_tightest(const std::filesystem::path& mount,
                   std::string_view group,
                   const char* file,
                   std::optional<std::int64_t>& limit) {
  std::filesystem::path relative(group);
  relative = relative.relative_path();
  while (true) {
    if (const auto text = read_text(mount / relative / file)) {
      // "max", or a number beyond every machine in the older kind: no limit.
      const std::optional<std::int64_t> bytes = read_count(*text);
      constexpr std::int64_t kNoLimit = std::int64_t{1} << 60;
      if (bytes.has_value() && *bytes > 0 && *bytes < kNoLimit) {
        limit = std::min(limit.value_or(*bytes), *bytes);
      }
    }
    if (relative.empty()) return;
    relative = relative.parent_path();
  }
}

std::optional<std::int64_t> cgroup_limit_bytes(const std::filesystem::path& root) {
  const std::optional<std::string> text = read_text(root / "proc/self/cgroup");
  std::optional<std::int64_t> limit;
  std::istringstream lines(text.value_or(""));
  std::string line;
  while (std::getline(lines, line)) {
    // number:controllers:group; no controllers: the unified kind
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      take_tightest(root / "sys/fs/cgroup", group, "memory.max", limit);
    } else if (controllers.find(",memory,") != std::string::npos) {
      take_tightest(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes", limit);
    }
  }
  return limit;
}

MachineFacts gpu_machine(const char* name, const char* gpu, std::int64_t memory_mib) {
  MachineFacts facts;
  facts.name = name;
  facts.processors = 192;
  facts.host_memory_bytes = std::int64_t{2} << 40;
  facts.gpus.assign(8, GpuFacts{gpu, memory_mib});
  return facts;
}

Result<std::int64_t> whole_field(const Json& object,
                                 std::string_view key,
                                 std::int64_t low,
                                 std::int64_t high,
                                 std::optional<std::int64_t> absent = std::nullopt) {
  const Json* field = object.find_set(key);
  if (field == nullptr && absent.has_value()) return *absent;
  const std::optional<std::int64_t> value = field == nullptr ? std::nullopt : field->as_int64();
  if (value.has_value() && *value >= low && *value <= high) return *value;
  return invalid_argument(
      std::string(key) + " is " + (field == nullptr ? "missing" : to_json(*field)) +
      ", expected a whole number from " + std::to_string(low) + " to " + std::to_string(high));
}

Status parse_gpus(const Json& gpus, std::vector<GpuFacts>& found) {
  constexpr std::int64_t kMostGpus = 1024;
  const Json::Array* elements = gpus.as_array();
  if (elements == nullptr) return invalid_argument("gpus: " + wrong_json_kind("an array", gpus));
  for (const Json& element : *elements) {
    if (!element.is_object()) {
      return invalid_argument("gpus: " + wrong_json_kind("objects", element));
    }
    const auto memory_mib = whole_field(element, "memory_mib", 1, std::int64_t{1} << 30);
    if (!memory_mib.ok()) return memory_mib.status().in("gpus");
    const auto count = whole_field(element, "count", 1, kMostGpus, 1);
    if (!count.ok()) return count.status().in("gpus");
    const Json* name = element.find("name");
    GpuFacts gpu;
    gpu.name = name != nullptr && name->is_string() ? *name->as_string() : "GPU";
    gpu.memory_mib = *memory_mib;
    found.insert(found.end(), static_cast<std::size_t>(*count), gpu);
    if (found.size() > kMostGpus) return invalid_argument("gpus: more than 1024");
  }
  return {};
}

}  // namespace

std::int64_t MachineFacts::usable_memory_bytes() const {
  return std::min(host_memory_bytes, cgroup_memory_bytes.value_or(host_memory_bytes));
}

Result<MachineFacts> detect_machine(const std::filesystem::path& root) {
  MachineFacts facts;
  facts.name = "this machine";
  facts.processors = available_processors();
  const std::optional<std::int64_t> memory_bytes = total_memory_bytes(root);
  if (!memory_bytes.has_value()) {
    return Status(Code::kUnavailable,
                  "the size of the memory cannot be read from " + (root / "proc/meminfo").string());
  }
  facts.host_memory_bytes = *memory_bytes;
  facts.cgroup_memory_bytes = cgroup_limit_bytes(root);
  return facts;
}

Result<MachineFacts> preset_machine(std::string_view name) {
  if (name == "h200x8") return gpu_machine("h200x8", "NVIDIA H200", 143771);
  if (name == "h100x8") return gpu_machine("h100x8", "NVIDIA H100 80GB HBM3", 81559);
  if (name == "cpu") {
    MachineFacts facts;
    facts.name = "cpu";
    facts.processors = 8;
    facts.host_memory_bytes = std::int64_t{16} << 30;
    return facts;
  }
  return invalid_argument("there is no machine called '" + std::string(name) +
                          "'; expected h200x8, h100x8, cpu or the path of a .json file");
}

Result<MachineFacts> parse_machine(std::string_view json) {
  const Result<Json> parsed = parse_json(json);
  FATHOM_RETURN_IF_ERROR(parsed.status());
  if (!parsed->is_object()) return invalid_argument(wrong_json_kind("an object", *parsed));
  constexpr std::int64_t kMostMib = std::int64_t{1} << 34;
  const auto processors = whole_field(*parsed, "processors", 1, 65536);
  FATHOM_RETURN_IF_ERROR(processors.status());
  const auto host_mib = whole_field(*parsed, "host_memory_mib", 1, kMostMib);
  FATHOM_RETURN_IF_ERROR(host_mib.status());
  const auto cgroup_mib = whole_field(*parsed, "cgroup_memory_mib", 1, kMostMib, 0);
  FATHOM_RETURN_IF_ERROR(cgroup_mib.status());

  MachineFacts facts;
  const Json* name = parsed->find("name");
  facts.name = name != nullptr && name->is_string() ? *name->as_string() : "the machine described";
  facts.processors = static_cast<int>(*processors);
  facts.host_memory_bytes = *host_mib * kMib;
  if (*cgroup_mib > 0) facts.cgroup_memory_bytes = *cgroup_mib * kMib;
  if (const Json* gpus = parsed->find_set("gpus")) {
    FATHOM_RETURN_IF_ERROR(parse_gpus(*gpus, facts.gpus));
  }
  return facts;
}

}  // namespace fathom::config
