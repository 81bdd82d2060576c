#include "http/target.h"

#include <algorithm>
#include <charconv>

#include "http/message.h"

namespace fathom::http {

Result<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const std::string_view digits = text.substr(i + 1, 2);
    unsigned byte = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2 || byte == 0) {
      return invalid_argument("path: '%" + std::string(digits) +
                              "' is no percent-encoded byte; expected %01 to %FF");
    }
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
}

Result<Target> parse_target(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  if (text == "*") return Target{"*", ""};
  if (same_word(text.substr(0, kScheme.size()), kScheme)) {
    const std::size_t slash = text.find_first_of("/?", kScheme.size());
    if (slash == std::string_view::npos) return Target{"/", ""};
    text.remove_prefix(slash);
    if (text.front() == '?') return Target{"/", std::string(text.substr(1))};
  }
  if (text.empty() || text.front() != '/') {
    return invalid_argument("the request's target does not begin with '/'");
  }
  const std::size_t question = text.find('?');
  Result<std::string> path = percent_decode(text.substr(0, question));
  FATHOM_RETURN_IF_ERROR(path.status());
  Target target{std::move(*path), ""};
  if (question != std::string_view::npos) target.query = text.substr(question + 1);
  return target;
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view member = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::size_t equals = std::min(member.find('='), member.size());
    if (member.substr(0, equals) != name) continue;
    std::string value(member.substr(std::min(equals + 1, member.size())));
    std::replace(value.begin(), value.end(), '+', ' ');
    Result<std::string> decoded = percent_decode(value);
    if (!decoded.ok()) return std::nullopt;
    return std::move(*decoded);
  }
  return std::nullopt;
}

}  // namespace fathom::http
