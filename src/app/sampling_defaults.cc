#include "app/sampling_defaults.h"

#include <limits>
#include <string>

#include "base/file.h"
#include "base/json.h"

namespace fathom::app {

namespace {

constexpr std::int64_t kMostFileBytes = 1 << 20;
constexpr const char* kFile = "generation_config.json";

struct Field {
  const char* name;
  double least;
  bool least_itself;
  double most;
  const char* expected;
};

Status read(const Json& object, const Field& field, double& target) {
  const Json* const value = object.find_set(field.name);
  if (value == nullptr) return {};
  const std::optional<double> number = value->as_double();
  const bool enough =
      number && (field.least_itself ? *number >= field.least : *number > field.least);
  if (!enough || *number > field.most) {
    return invalid_argument(std::string(field.name) + ": expected " + field.expected + ", was " +
                            to_json(*value) + "; --sampling-defaults openai does without the file");
  }
  target = *number;
  return {};
}

Result<api::SamplingDefaults> parse(const std::string& text) {
  const Result<Json> json = parse_json(text);
  FATHOM_RETURN_IF_ERROR(json.status());
  if (!json->is_object()) return invalid_argument(wrong_json_kind("an object", *json));
  constexpr double kMost = std::numeric_limits<float>::max();
  api::SamplingDefaults defaults;
  double top_k = defaults.top_k;
  FATHOM_RETURN_IF_ERROR(
      read(*json, {"temperature", 0, true, kMost, "a number of at least 0"}, defaults.temperature));
  FATHOM_RETURN_IF_ERROR(
      read(*json, {"top_p", 0, false, 1, "a number above 0, at most 1"}, defaults.top_p));
  FATHOM_RETURN_IF_ERROR(
      read(*json, {"min_p", 0, true, 1, "a number from 0 to 1"}, defaults.min_p));
  FATHOM_RETURN_IF_ERROR(read(
      *json,
      {"top_k", -1, true, std::numeric_limits<std::int32_t>::max(), "-1 or a whole number above 0"},
      top_k));
  FATHOM_RETURN_IF_ERROR(read(*json,
                              {"repetition_penalty", 0, false, 2, "a number above 0, at most 2"},
                              defaults.repetition_penalty));
  // Some files switch the filter off with 0.
  defaults.top_k = top_k < 1 ? -1 : static_cast<std::int32_t>(top_k);
  defaults.source = kFile;
  return defaults;
}

}  // namespace

Result<api::SamplingDefaults> read_sampling_defaults(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kFile;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return api::SamplingDefaults();
  const Result<std::string> text = read_small_file(path, kMostFileBytes);
  if (!text.ok()) return text.status().in(path.string());
  Result<api::SamplingDefaults> defaults = parse(*text);
  if (!defaults.ok()) return defaults.status().in(path.string());
  return defaults;
}

}  // namespace fathom::app
