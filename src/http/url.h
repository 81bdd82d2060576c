#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom::http {

// "http://host[:port][/path]" or https:// in its parts.
struct Url {
  std::string host;  // an IPv6 address without its brackets
  std::uint16_t port = 80;
  std::string path;     // starts with '/', or is empty; a query belongs to it
  bool secure = false;  // https: the port is 443 where none is given

  // "host:port", as the Host header wants it.
  std::string authority() const;
  // "http://host:port", "https://host:port".
  std::string origin() const;
};

// kInvalidArgument says what is wrong.
Result<Url> parse_url(std::string_view text);

// "127.0.0.1:80", "[::1]:80".
std::string host_and_port(std::string_view host, std::uint16_t port);

}  // namespace fathom::http
