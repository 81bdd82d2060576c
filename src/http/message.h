#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom::http {

// Names are compared without regard to case; the first of several wins in find().
class Headers {
 public:
  void add(std::string name, std::string value);
  // nullptr when there is none. Valid until the next add().
  const std::string* find(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& all() const { return all_; }

 private:
  std::vector<std::pair<std::string, std::string>> all_;
};

struct Request {
  std::string method;  // "GET", "POST" …
  std::string target;  // as sent: path and query
  std::string path;    // percent-decoded, without the query
  std::string query;   // as sent, without the '?'
  Headers headers;     // of the head; trailers of a chunked body are dropped
  std::string body;    // whole
  std::string peer;    // "127.0.0.1:40312"
};

// The names that clients and proxies give a request, as they came: its X-Request-Id and
// X-Correlation-Id. Left out when they are longer than 256 bytes.
Headers echoed_ids(const Headers& headers);
// The first of them, for a log; empty when there is none.
std::string request_id(const Request& request);

struct Response {
  int status = 200;
  // Content-Length, Transfer-Encoding, Connection and Date are the server's business: what a
  // handler puts there is not sent.
  Headers headers;
  std::string body;
};

// "Not Found" …; "Unknown" for codes without a name.
std::string_view reason_phrase(int status);

// Equal without regard to the case of ASCII letters.
bool same_word(std::string_view a, std::string_view b);

}  // namespace fathom::http
