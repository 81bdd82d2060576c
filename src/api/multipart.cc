#include "api/multipart.h"

#include <algorithm>
#include <cctype>

#include "http/message.h"

namespace fathom::api {

namespace {

constexpr std::size_t kMaxParts = 64;
constexpr std::size_t kMaxBoundary = 70;  // RFC 2046
constexpr std::size_t kMaxHeadBytes = 8192;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The parameter `name` of a header value such as `form-data; name="file"; filename="a.jsonl"`.
std::string parameter(std::string_view value, std::string_view name) {
  std::size_t at = value.find(';');
  while (at != std::string_view::npos) {
    std::string_view rest = trimmed(value.substr(at + 1));
    const std::size_t equals = rest.find('=');
    if (equals == std::string_view::npos) return "";
    const std::string_view key = trimmed(rest.substr(0, equals));
    rest = trimmed(rest.substr(equals + 1));
    std::string text;
    std::size_t used = 0;
    if (rest.starts_with('"')) {
      used = 1;
      while (used < rest.size() && rest[used] != '"') {
        if (rest[used] == '\\' && used + 1 < rest.size()) ++used;
        text += rest[used++];
      }
    } else {
      used = std::min(rest.find(';'), rest.size());
      text = trimmed(rest.substr(0, used));
    }
    if (http::same_word(key, name)) return text;
    rest.remove_prefix(std::min(used, rest.size()));
    const std::size_t next = rest.find(';');
    if (next == std::string_view::npos) return "";
    at = static_cast<std::size_t>(rest.data() + next - value.data());
  }
  return "";
}

// Reads the header lines of a part.
Status read_head(std::string_view head, FormPart& part) {
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 2, head.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
      return invalid_argument("a header of a part has no ':'");
    }
    if (!http::same_word(trimmed(line.substr(0, colon)), "Content-Disposition")) continue;
    part.name = parameter(line.substr(colon + 1), "name");
    part.filename = parameter(line.substr(colon + 1), "filename");
  }
  if (part.name.empty()) return invalid_argument("a part has no name");
  return {};
}

}  // namespace

Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body) {
  const std::string_view type = trimmed(content_type.substr(0, content_type.find(';')));
  if (!http::same_word(type, "multipart/form-data")) {
    return invalid_argument("Content-Type was '" + std::string(type) +
                            "', expected multipart/form-data");
  }
  const std::string boundary = parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > kMaxBoundary) {
    return invalid_argument("Content-Type has no boundary of 1 to 70 characters");
  }
  const std::string delimiter = "--" + boundary;
  if (!body.starts_with(delimiter)) {
    return invalid_argument("the body does not begin with its boundary");
  }
  body.remove_prefix(delimiter.size());
  std::vector<FormPart> parts;
  while (!body.starts_with("--")) {
    if (!body.starts_with("\r\n")) return invalid_argument("a boundary is not a line of its own");
    body.remove_prefix(2);
    const std::size_t head = body.substr(0, kMaxHeadBytes).find("\r\n\r\n");
    if (head == std::string_view::npos) return invalid_argument("a part has no end of its headers");
    if (parts.size() == kMaxParts) {
      return invalid_argument("there are more than " + std::to_string(kMaxParts) + " parts");
    }
    FormPart& part = parts.emplace_back();
    FATHOM_RETURN_IF_ERROR(read_head(body.substr(0, head), part));
    body.remove_prefix(head + 4);
    const std::size_t end = body.find("\r\n" + delimiter);
    if (end == std::string_view::npos) return invalid_argument("the last part has no end");
    part.content = body.substr(0, end);
    body.remove_prefix(end + 2 + delimiter.size());
  }
  return parts;
}

}  // namespace fathom::api
