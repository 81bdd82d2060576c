#include "http/url.h"

#include <algorithm>
#include <charconv>

#include "http/message.h"

namespace fathom::http {

namespace {

Status refuse(std::string_view text, std::string_view why) {
  return invalid_argument("URL '" + std::string(text) + "': " + std::string(why));
}

// Nothing when `digits` is no port.
bool parse_port(std::string_view digits, std::uint16_t& port) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return error == std::errc() && end == digits.data() + digits.size() && port != 0;
}

bool printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

std::string host_and_port(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  std::string text = v6 ? "[" + std::string(host) + "]" : std::string(host);
  return text + ":" + std::to_string(port);
}

std::string Url::authority() const { return host_and_port(host, port); }

std::string Url::origin() const { return (secure ? "https://" : "http://") + authority(); }

Result<Url> parse_url(std::string_view text) {
  constexpr std::string_view kPlain = "http://";
  constexpr std::string_view kSecure = "https://";
  Url url;
  url.secure = same_word(text.substr(0, kSecure.size()), kSecure);
  if (!url.secure && !same_word(text.substr(0, kPlain.size()), kPlain)) {
    return refuse(text,
                  "expected http:// or https://host[:port][/path]; other schemes are not spoken");
  }
  if (url.secure) url.port = 443;
  if (!printable(text)) return refuse(text, "spaces and bytes beyond ASCII must be encoded (%20)");
  std::string_view rest = text.substr(url.secure ? kSecure.size() : kPlain.size());
  if (const std::size_t slash = rest.find_first_of("/?#"); slash != std::string_view::npos) {
    url.path = rest.substr(slash, rest.find('#') - slash);
    if (url.path.starts_with('?')) url.path.insert(0, "/");
    rest = rest.substr(0, slash);
  }
  if (rest.find('@') != std::string_view::npos) {
    return refuse(text, "a user name or password in it is not supported");
  }
  std::size_t host_end = rest.find(':');
  if (rest.starts_with('[')) {
    const std::size_t bracket = rest.find(']');
    if (bracket == std::string_view::npos) return refuse(text, "'[' without ']'");
    url.host = rest.substr(1, bracket - 1);
    host_end = bracket + 1;
  } else {
    url.host = rest.substr(0, host_end);
  }
  if (url.host.empty()) return refuse(text, "there is no host");
  if (host_end >= rest.size()) return url;
  if (rest[host_end] != ':' || !parse_port(rest.substr(host_end + 1), url.port)) {
    return refuse(text, "'" + std::string(rest.substr(host_end)) +
                            "' after the host is no port; expected ':' and 1 to 65535");
  }
  return url;
}

}  // namespace fathom::http
