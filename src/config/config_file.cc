#include <algorithm>
#include <array>
#include <exception>

#include <yaml-cpp/yaml.h>

#include "config/parse_flags.h"

namespace fathom::config {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 20;

std::string line_of(const YAML::Node& node) {
  return node.Mark().is_null() ? std::string() : "line " + std::to_string(node.Mark().line + 1);
}

// YAML 1.1, which the files of SGLang are read as, knows more words for truth than yaml-cpp's node
// types do; quoted ones are text.
enum class Truth : std::uint8_t { kNeither, kTrue, kFalse };

Truth truth(const YAML::Node& scalar) {
  constexpr std::array kTrue = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
  constexpr std::array kFalse = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"};
  if (scalar.Tag() == "!") return Truth::kNeither;
  if (std::ranges::find(kTrue, scalar.Scalar()) != kTrue.end()) return Truth::kTrue;
  if (std::ranges::find(kFalse, scalar.Scalar()) != kFalse.end()) return Truth::kFalse;
  return Truth::kNeither;
}

Status add_value(const std::string& key, const YAML::Node& value, std::vector<std::string>& found) {
  switch (value.Type()) {
    case YAML::NodeType::Scalar:
      if (truth(value) == Truth::kFalse) return {};
      found.push_back("--" + key);
      if (truth(value) == Truth::kNeither) found.push_back(value.Scalar());
      return {};
    case YAML::NodeType::Sequence:
      if (value.size() == 0) return {};
      found.push_back("--" + key);
      for (const YAML::Node& element : value) {
        if (!element.IsScalar()) {
          return invalid_argument(line_of(element) + ": " + key +
                                  ": expected a list of words or numbers");
        }
        found.push_back(element.Scalar());
      }
      return {};
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined:
      return invalid_argument(line_of(value) + ": " + key +
                              " has no value; leave the line out for the default");
    case YAML::NodeType::Map:
      break;
  }
  return invalid_argument(
      line_of(value) + ": " + key +
      " is a mapping; expected a word, a number or a list (JSON goes in quotes)");
}

Result<std::vector<std::string>> words_of(const YAML::Node& root) {
  std::vector<std::string> found;
  if (!root.IsDefined() || root.IsNull()) return found;
  if (!root.IsMap()) return invalid_argument("expected a mapping of flags to values");
  for (const auto& member : root) {
    if (!member.first.IsScalar()) {
      return invalid_argument(line_of(member.first) + ": expected the name of a flag");
    }
    FATHOM_RETURN_IF_ERROR(add_value(member.first.Scalar(), member.second, found));
  }
  return found;
}

}  // namespace

Result<std::vector<std::string>> config_file_words(std::string_view yaml) {
  if (yaml.size() > kMostBytes) {
    return invalid_argument("has " + std::to_string(yaml.size()) + " bytes, expected at most " +
                            std::to_string(kMostBytes));
  }
  try {
    return words_of(YAML::Load(std::string(yaml)));
  } catch (const std::exception& error) {
    return invalid_argument(error.what());
  }
}

}  // namespace fathom::config
