#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::system_test {

// The text of a request; POST with a JSON body, GET without one. `more` are whole header lines.
std::string request_text(std::string_view path,
                         std::string_view body = "",
                         std::string_view more = "");

// The same, after which the server closes the connection.
std::string last_request_text(std::string_view path, std::string_view body = "");

// What one connection has brought, taken apart; interim answers are left out.
struct RawAnswer {
  int status = 0;      // 0: not even that came whole
  std::string body;    // out of its chunks; what has come of it
  bool whole = false;  // the last chunk, or Content-Length bytes, came
  std::string rest;    // bytes behind a whole answer
};
RawAnswer parse_answer(std::string_view bytes);

// The data of the events in the body of a stream.
std::vector<std::string> events_of(std::string_view body);

// Many connections to 127.0.0.1 from one thread, with nothing between the test and the bytes.
//
// A connection that cannot be made ends the test program.
class RawConnections {
 public:
  explicit RawConnections(std::uint16_t port) : port_(port) {}
  ~RawConnections();
  RawConnections(const RawConnections&) = delete;
  RawConnections& operator=(const RawConnections&) = delete;

  // Opens one more and sends `bytes` in full; its index. `receive_buffer` > 0 keeps the system's
  // buffer that small.
  std::size_t open(std::string_view bytes, int receive_buffer = 0);
  void send(std::size_t index, std::string_view bytes);
  void shut_sending(std::size_t index);
  void close(std::size_t index);

  // Reads whatever comes on the connections [first, last) until `done` holds or all of them have
  // been closed by the server; false when the time passes first.
  bool read_until(std::size_t first,
                  std::size_t last,
                  const std::function<bool()>& done,
                  std::chrono::milliseconds timeout = std::chrono::seconds(120));
  // The same of all, until the server has closed them.
  bool read_all(std::chrono::milliseconds timeout = std::chrono::seconds(120));

  std::size_t size() const { return all_.size(); }
  const std::string& received(std::size_t index) const { return all_[index].received; }
  // The server has closed it.
  bool ended(std::size_t index) const { return all_[index].ended; }

 private:
  struct Connection {
    int descriptor = -1;
    std::string received;
    bool ended = false;
  };

  std::uint16_t port_;
  std::vector<Connection> all_;
};

}  // namespace fathom::system_test
