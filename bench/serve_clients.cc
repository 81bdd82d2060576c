#include "bench/serve_clients.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "bench/loopback.h"

namespace fathom::bench {

namespace {

constexpr std::string_view kVersion = "HTTP/1.1 ";
constexpr std::string_view kOk = "HTTP/1.1 200 ";

class Clients {
 public:
  Clients(const ClientTask& task, std::uint16_t port);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  // One answer on every stream.
  void run_round(bool paced);

 private:
  struct Stream {
    int handle = -1;
    std::string rest;  // of what was received: an event that is not whole yet
    std::size_t text_bytes = 0;
    std::size_t tokens = 0;
    bool begun = false;
    bool done = false;
  };

  void ask(Stream& stream) const;
  void receive(Stream& stream);
  static bool find_head(Stream& stream, std::string_view& bytes);
  void take_event(Stream& stream, std::string_view event, std::int64_t arrived_ns);
  void count_tokens(Stream& stream, std::int64_t arrived_ns);
  void tell(Signal signal) const;
  void tell_latencies();

  const ClientTask& task_;
  const int poll_;
  std::string request_;
  std::vector<Stream> streams_;
  std::array<char, 65536> buffer_{};
  bool paced_ = false;
  std::size_t open_ = 0;                    // streams of this round that have not ended
  std::int64_t tokens_ = 0;                 // of this round
  std::vector<std::int64_t> latencies_ns_;  // of all paced rounds
};

Clients::Clients(const ClientTask& task, std::uint16_t port)
    : task_(task),
      poll_(::epoll_create1(EPOLL_CLOEXEC)),
      streams_(static_cast<std::size_t>(task.streams)) {
  const StreamForm& form = *task.form;
  request_ = "POST " + form.path +
             " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
             "Content-Length: " +
             std::to_string(form.body.size()) + "\r\n\r\n" + form.body;
  for (Stream& stream : streams_) {
    stream.handle = connect_loopback(port);
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.ptr = &stream;
    FATHOM_CHECK(::epoll_ctl(poll_, EPOLL_CTL_ADD, stream.handle, &wanted) == 0);
  }
}

Clients::~Clients() {
  for (const Stream& stream : streams_) ::close(stream.handle);
  ::close(poll_);
}

void Clients::ask(Stream& stream) const {
  stream.rest.clear();
  stream.text_bytes = 0;
  stream.tokens = 0;
  stream.begun = false;
  stream.done = false;
  FATHOM_CHECK(::send(stream.handle, request_.data(), request_.size(), 0) ==
               static_cast<ssize_t>(request_.size()));
}

void Clients::run_round(bool paced) {
  paced_ = paced;
  task_.shared->round = {};
  tokens_ = 0;
  open_ = streams_.size();
  for (Stream& stream : streams_) ask(stream);
  while (open_ > 0) {
    std::array<epoll_event, 256> ready{};
    const int count = ::epoll_wait(poll_, ready.data(), static_cast<int>(ready.size()), -1);
    FATHOM_CHECK(count > 0);
    for (int i = 0; i < count; ++i) {
      receive(*static_cast<Stream*>(ready[static_cast<std::size_t>(i)].data.ptr));
    }
  }
  if (paced_) tell_latencies();
  tell(Signal::kRoundEnd);
}

void Clients::receive(Stream& stream) {
  const ssize_t count = ::recv(stream.handle, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  const std::int64_t arrived_ns = now_ns();
  FATHOM_CHECK(count > 0);
  task_.shared->round.bytes += count;
  std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
  if (!stream.rest.empty()) {
    stream.rest += bytes;
    bytes = stream.rest;
  }
  if (!stream.begun && !find_head(stream, bytes)) return;
  // The server's chunks hold whole events, so framing stands between events only.
  for (std::size_t end = 0; (end = bytes.find("\n\n")) != std::string_view::npos;) {
    take_event(stream, bytes.substr(0, end), arrived_ns);
    bytes.remove_prefix(end + 2);
  }
  // What follows the last event of an answer is the end of its chunks.
  stream.rest = stream.done ? std::string() : std::string(bytes);
}

// The end of the last answer's chunks may stand before the head of this one.
bool Clients::find_head(Stream& stream, std::string_view& bytes) {
  const std::size_t head = bytes.find(kVersion);
  if (head == std::string_view::npos || bytes.size() - head < kOk.size()) {
    stream.rest = std::string(bytes);
    return false;
  }
  bytes.remove_prefix(head);
  FATHOM_CHECK_MSG(bytes.starts_with(kOk), std::string(bytes));
  stream.begun = true;
  return true;
}

void Clients::take_event(Stream& stream, std::string_view event, std::int64_t arrived_ns) {
  constexpr std::string_view kData = "data: ";
  const std::size_t data = event.find(kData);
  FATHOM_CHECK_MSG(data != std::string_view::npos, std::string(event));
  event.remove_prefix(data + kData.size());
  if (event == "[DONE]") {
    FATHOM_CHECK(!stream.done && stream.tokens == task_.script->tokens.size());
    stream.done = true;
    --open_;
    return;
  }
  const std::size_t mark = event.find(task_.form->mark);
  if (mark == std::string_view::npos) return;
  event.remove_prefix(mark + task_.form->mark.size());
  const std::string_view text = event.substr(0, event.find('"'));
  if (text.empty()) return;
  ++task_.shared->round.events;
  const std::string_view expected = task_.script->text;
  const std::size_t begin = task_.form->cumulative ? 0 : stream.text_bytes;
  FATHOM_CHECK_MSG(expected.substr(begin, text.size()) == text, std::string(event));
  stream.text_bytes = begin + text.size();
  count_tokens(stream, arrived_ns);
}

// Which tokens have come is told by how much text has.
void Clients::count_tokens(Stream& stream, std::int64_t arrived_ns) {
  const std::vector<std::size_t>& ends = task_.script->ends;
  const std::size_t before = stream.tokens;
  while (stream.tokens < ends.size() && ends[stream.tokens] <= stream.text_bytes) {
    if (paced_) {
      latencies_ns_.push_back(arrived_ns - task_.shared->published_ns[stream.tokens]);
    }
    ++stream.tokens;
  }
  FATHOM_CHECK(stream.tokens > before && ends[stream.tokens - 1] == stream.text_bytes);
  const std::int64_t steps_before = tokens_ / task_.streams;
  tokens_ += static_cast<std::int64_t>(stream.tokens - before);
  if (paced_) return;
  for (std::int64_t step = steps_before; step < tokens_ / task_.streams; ++step) {
    tell(Signal::kStepSeen);
  }
}

void Clients::tell(Signal signal) const {
  FATHOM_CHECK(::send(task_.signals, &signal, 1, MSG_NOSIGNAL) == 1);
}

void Clients::tell_latencies() {
  std::sort(latencies_ns_.begin(), latencies_ns_.end());
  const auto at = [this](double part) {
    const auto last = static_cast<double>(latencies_ns_.size() - 1);
    return latencies_ns_[static_cast<std::size_t>(last * part)];
  };
  task_.shared->latencies = {at(0.5), at(0.99), at(1)};
}

}  // namespace

void run_clients(const ClientTask& task) {
  std::uint16_t port = 0;
  if (::recv(task.signals, &port, sizeof port, MSG_WAITALL) != sizeof port) return;
  Clients clients(task, port);
  Signal signal{};
  while (::recv(task.signals, &signal, 1, 0) == 1) clients.run_round(signal == Signal::kPacedRound);
}

}  // namespace fathom::bench
