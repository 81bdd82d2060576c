#include "http/response_head.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace fathom::http {

namespace {

bool is_server_business(std::string_view name) {
  constexpr std::array<std::string_view, 4> kOurs = {"Content-Length", "Transfer-Encoding",
                                                     "Connection", "Date"};
  return std::ranges::any_of(kOurs, [&](std::string_view ours) { return same_word(ours, name); });
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  const std::size_t begin = out.size();
  out += value;
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
      [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  out += "\r\n";
}

}  // namespace

void append_response_head(std::string& out,
                          const Response& response,
                          Framing framing,
                          ConnectionWish wish,
                          std::string_view date) {
  out += "HTTP/1.1 ";
  out += std::to_string(response.status);
  out += ' ';
  out += reason_phrase(response.status);
  out += "\r\n";
  append_field(out, "Date", date);
  for (const auto& [name, value] : response.headers.all()) {
    if (!is_server_business(name)) append_field(out, name, value);
  }
  if (framing == Framing::kLength) {
    append_field(out, "Content-Length", std::to_string(response.body.size()));
  } else if (framing == Framing::kChunked) {
    append_field(out, "Transfer-Encoding", "chunked");
  }
  if (wish == ConnectionWish::kKeepAlive) append_field(out, "Connection", "keep-alive");
  if (wish == ConnectionWish::kClose) append_field(out, "Connection", "close");
  out += "\r\n";
}

std::string http_date(std::int64_t unix_time_s) {
  const std::time_t time = unix_time_s;
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 64> buffer{};
  // The names come from the C locale, which a process has until it asks for another.
  const std::size_t size =
      std::strftime(buffer.data(), buffer.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {buffer.data(), size};
}

}  // namespace fathom::http
