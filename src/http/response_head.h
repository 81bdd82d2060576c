#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/message.h"

namespace fathom::http {

// How the end of an answer's body is marked.
enum class Framing : std::uint8_t {
  kNone,    // there is no body, and no length is told
  kLength,  // of response.body
  kChunked,
  kUntilEnd,  // the connection closes
};

// Whether the connection is told to stay or to end; kUnsaid is "stay" in HTTP/1.1.
enum class ConnectionWish : std::uint8_t { kUnsaid, kKeepAlive, kClose };

// Appends status line and headers of `response`. Line ends inside a header's value become blanks,
// so that no value can begin a header of its own.
void append_response_head(std::string& out,
                          const Response& response,
                          Framing framing,
                          ConnectionWish wish,
                          std::string_view date);

// "Sun, 06 Nov 1994 08:49:37 GMT" of a time in seconds since 1970.
std::string http_date(std::int64_t unix_time_s);

}  // namespace fathom::http
