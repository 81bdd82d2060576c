#include "api/download.h"

#include <chrono>
#include <memory>
#include <utility>

#include "base/log.h"

namespace fathom::api {

namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
constexpr std::chrono::milliseconds kBusyPause{100};

// Kept by whoever is to call it next: the queue of work, or the exchange until the peer has taken
// what was written. Letting go of it before the end breaks the answer off.
class Download : public std::enable_shared_from_this<Download> {
 public:
  Download(Core& core, Channel channel, StoredContent content)
      : core_(core), channel_(std::move(channel)), content_(std::move(content)) {}

  void start() {
    Result<std::string> piece = content_.next(kPieceBytes);
    if (!piece.ok()) {
      channel_.respond(error_response(Refusal::of(piece.status())));
      return;
    }
    http::Response response;
    response.headers.add("Content-Type", "application/octet-stream");
    response.body = std::move(*piece);
    channel_.start(std::move(response));
    wait();
  }

 private:
  void wait() {
    if (content_.left() == 0) {
      channel_.finish();
      return;
    }
    channel_.on_sent([self = shared_from_this()] { self->go_on(); });
  }

  void go_on() {
    if (core_.work.post([self = shared_from_this()] { self->write(); })) return;
    // What is begun has to wait where new requests would be turned away.
    if (core_.timer) core_.timer(kBusyPause, [self = shared_from_this()] { self->go_on(); });
  }

  void write() {
    Result<std::string> piece = content_.next(kPieceBytes);
    if (!piece.ok()) {
      log_warning("a download is broken off: " + piece.status().message());
      return;
    }
    if (channel_.write(std::move(*piece))) wait();
  }

  Core& core_;
  Channel channel_;
  StoredContent content_;
};

}  // namespace

void send_content(Core& core, Channel channel, StoredContent content) {
  std::make_shared<Download>(core, std::move(channel), std::move(content))->start();
}

}  // namespace fathom::api
