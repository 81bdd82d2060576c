#include "grammar/schema_formats.h"

#include <array>
#include <string>
#include <utility>

namespace fathom::grammar {

namespace {

constexpr const char* kDate = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
constexpr const char* kTime =
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])";
constexpr const char* kLabel = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?";
constexpr const char* kByte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

std::string hostname() { return std::string(kLabel) + "(\\." + kLabel + "){0,5}"; }

// All eight groups, or k before "::" and up to 6 - k after it.
std::string ipv6() {
  const std::string group = "[0-9a-f]{1,4}";
  const std::string groups = group + "(:" + group + ")";  // and a count of how many more
  std::string out = "(" + group + ":){7}" + group + "|::(" + groups + "{0,5})?";
  for (int before = 1; before <= 6; ++before) {
    out.append("|").append(groups).append("{").append(std::to_string(before - 1)).append("}::");
    if (before < 6) {
      out.append("(").append(groups).append("{0,").append(std::to_string(5 - before)).append("})?");
    }
  }
  return out;
}

std::string duration() {
  const std::string number = "[0-9]{1,6}";
  const std::string days = "(" + number + "Y" + number + "M|" + number + "M)?" + number + "D";
  const std::string clock = "T(((" + number + "H)?" + number + "M)?" + number + "S|(" + number +
                            "H)?" + number + "M|" + number + "H)";
  return "P([0-9]{1,6}W|" + days + "(" + clock + ")?|" + clock + ")";
}

const auto& formats() {
  static const std::array<std::pair<std::string_view, std::string>, 9> table{{
      {"date", std::string("^") + kDate + "$"},
      {"time", std::string("^") + kTime + "$"},
      {"date-time", std::string("^") + kDate + "T" + kTime + "$"},
      {"duration", "^" + duration() + "$"},
      {"email", "^[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,3}@" + hostname() + "$"},
      {"hostname", "^" + hostname() + "$"},
      {"ipv4", std::string("^(") + kByte + "\\.){3}" + kByte + "$"},
      {"ipv6", "^(" + ipv6() + ")$"},
      {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
  }};
  return table;
}

}  // namespace

std::optional<std::string_view> format_pattern(std::string_view format) {
  for (const auto& [name, pattern] : formats()) {
    if (name == format) return pattern;
  }
  return std::nullopt;
}

}  // namespace fathom::grammar
