// Streamed events per second of one server thread, on loopback. Server and clients share the
// machine's processors, so the events that one second of the server's processor time sends are told
// beside those of one second of the clock. Events that wait for a socket together go in one write.
//
// usage: http_bench [SECONDS a row]

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <time.h>

#include "base/check.h"
#include "bench/loopback.h"
#include "bench/machine.h"
#include "bench/table.h"
#include "http/open_files.h"
#include "http/server.h"

namespace fathom::bench {
namespace {

// As large as an event of a chat; the mark occurs once in each and nowhere else.
constexpr char kMark = '~';
const std::string& event() {
  static const std::string text =
      R"(data: {"id":"0123456789abcdef0123456789abcdef","object":"chat.completion.chunk",)"
      R"("created":1764000000,"model":"fathom-tiny","choices":[{"index":0,"delta":)"
      R"({"content":"~"},"logprobs":null,"finish_reason":null}]})"
      "\n\n";
  return text;
}

int connect_to(std::uint16_t port) {
  const int handle = connect_loopback(port);
  const std::string request = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
  FATHOM_CHECK(::send(handle, request.data(), request.size(), 0) ==
               static_cast<ssize_t>(request.size()));
  return handle;
}

// The server and its open streams.
class Streams {
 public:
  Streams() {
    Result<std::unique_ptr<http::Server>> server = http::Server::create(
        {}, [this](const http::Request&, std::shared_ptr<http::Exchange> exchange) {
          exchange->start({});
          exchanges_.push_back(std::move(exchange));
          ++open_;
        });
    FATHOM_CHECK_MSG(server.ok(), server.status().message());
    server_ = std::move(*server);
    server_->start();
  }

  std::uint16_t port() const { return server_->port(); }
  int open() const { return open_; }
  // One event for every stream, as the engine's step gives one token to every request.
  void step() {
    server_->post([this] {
      for (const auto& exchange : exchanges_) FATHOM_CHECK(exchange->write(event()));
    });
  }
  // Of the server's thread, in seconds.
  double cpu_s() {
    std::promise<double> told;
    server_->post([&] {
      timespec time{};
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      told.set_value(static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9);
    });
    return told.get_future().get();
  }

 private:
  std::vector<std::shared_ptr<http::Exchange>> exchanges_;  // of the server's thread
  std::atomic<int> open_ = 0;
  std::unique_ptr<http::Server> server_;  // last: its thread uses the rest
};

// All clients on this thread.
class Clients {
 public:
  Clients(std::uint16_t port, int count) : poll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (int i = 0; i < count; ++i) {
      const int handle = connect_to(port);
      epoll_event wanted{};
      wanted.events = EPOLLIN;
      wanted.data.fd = handle;
      FATHOM_CHECK(::epoll_ctl(poll_, EPOLL_CTL_ADD, handle, &wanted) == 0);
      handles_.push_back(handle);
    }
  }
  ~Clients() {
    for (const int handle : handles_) ::close(handle);
    ::close(poll_);
  }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  // Events that have come meanwhile; waits for some.
  std::int64_t receive() {
    std::array<epoll_event, 256> ready{};
    const int count = ::epoll_wait(poll_, ready.data(), static_cast<int>(ready.size()), 1000);
    std::int64_t events = 0;
    for (int i = 0; i < count; ++i) {
      const ssize_t bytes = ::recv(ready[static_cast<std::size_t>(i)].data.fd, buffer_.data(),
                                   buffer_.size(), MSG_DONTWAIT);
      FATHOM_CHECK(bytes > 0);
      events += std::count(buffer_.begin(), buffer_.begin() + bytes, kMark);
      line_ends_ += std::count(buffer_.begin(), buffer_.begin() + bytes, '\r');
    }
    return events;
  }
  // The server makes one chunk of what it writes at a time; each has two line ends.
  std::int64_t chunks() const { return line_ends_ / 2; }

 private:
  int poll_;
  std::int64_t line_ends_ = 0;
  std::vector<int> handles_;
  std::array<char, 65536> buffer_{};
};

// `ahead`: steps that may be under way. With one, every event is a write of its own.
void measure(const Table& table, int count, int ahead, double seconds) {
  Streams streams;
  Clients clients(streams.port(), count);
  while (streams.open() < count) clients.receive();

  std::int64_t issued = 0;
  std::int64_t received = 0;
  const std::int64_t chunks_before = clients.chunks();
  const double cpu_before = streams.cpu_s();
  const double start = now_s();
  double elapsed = 0;
  while (elapsed < seconds) {
    for (; received / count > issued - ahead; ++issued) streams.step();
    received += clients.receive();
    elapsed = now_s() - start;
  }
  const double cpu = streams.cpu_s() - cpu_before;
  const auto events = static_cast<double>(received);
  const auto chunks = static_cast<double>(clients.chunks() - chunks_before);
  table.row({std::to_string(count), std::to_string(ahead), number(events / elapsed / 1000, 1),
             percent(cpu / elapsed), number(events / cpu / 1000, 1), duration(cpu / events),
             number(events / chunks, 2)});
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) {
  using namespace fathom::bench;
  const double seconds = argc > 1 ? std::strtod(argv[1], nullptr) : 2;
  fathom::http::raise_open_files(8192);
  std::printf("%s\nevents of %zu bytes, one server thread, clients on another\n\n",
              describe_machine().c_str(), event().size());
  const Table table({{"streams"},
                     {"steps ahead", 12},
                     {"k events/s", 12},
                     {"server busy", 12},
                     {"k events/s per core", 20},
                     {"server per event", 18},
                     {"events per write", 18}});
  for (const int ahead : {1, 4}) {
    for (const int count : {1, 100, 1000}) measure(table, count, ahead, seconds);
  }
  return 0;
}
