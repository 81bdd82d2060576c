#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "http/message.h"
#include "http/tls.h"

namespace fathom::http {

// Timeouts are kept to within a quarter of the shortest of them, at most half a second.
struct ServerOptions {
  std::string host = "127.0.0.1";  // a literal address or a name; a name's addresses are all had
  std::uint16_t port = 0;          // 0: one that the system chooses
  int threads = 1;                 // that read and write; handlers run on them and must not wait
  std::size_t max_connections = 16384;      // more are answered 503 and closed
  std::size_t max_header_bytes = 64 << 10;  // request line and headers; larger: 431
  std::size_t max_body_bytes = 64 << 20;    // larger: 413
  // From the first byte of a request to its end of headers: 408. A new connection's first byte has
  // the same time to come.
  std::chrono::milliseconds header_timeout{30000};
  std::chrono::milliseconds body_timeout{120000};  // for the body: 408
  std::chrono::milliseconds idle_timeout{5000};    // between requests of one connection: closed
  std::chrono::milliseconds write_timeout{60000};  // without a byte taken by the peer: closed
  // A peer that has ended its half of the connection may be gone altogether, and only sending shows
  // it. When an answer has not begun after this time, an interim "102 Processing" is sent.
  std::chrono::milliseconds half_close_probe{1000};
  std::size_t max_pending_bytes = 8 << 20;  // of a stream that a slow reader may leave waiting
  // Of all answers together. Beyond it a stream that is written to and has more waiting than the
  // average of those that have any is given up, as one beyond max_pending_bytes is.
  std::size_t max_total_pending_bytes = 512 << 20;
  // While the server drains: without a byte taken or sent by a peer that is waited for: closed.
  std::chrono::milliseconds drain_patience{1000};
  // Null: plain HTTP. A peer's handshake has header_timeout; one that speaks plain HTTP is told so
  // (400).
  std::shared_ptr<const TlsContext> tls = nullptr;
  // One line to the log for each answer, when its head goes out, as uvicorn writes it.
  bool access_log = false;
  std::vector<std::string> access_log_leaves_out = {};  // beginnings of paths that get no line
};

// The answer to one request, given at once or as a stream of chunks. Shared by the connection and
// whoever answers, who may keep it as long as wanted, beyond the server's end too. Letting go of it
// before the answer is complete answers 500, or breaks off what was started.
//
// Threads: any; calls for one exchange must not overlap.
class Exchange {
 public:
  virtual ~Exchange() = default;

  // The whole answer. Requires that nothing was sent before.
  virtual void respond(Response response) = 0;

  // Starts an answer of unknown length (chunked; HTTP/1.0 peers get it until the end of the
  // connection). `response.body` is the first piece. Requires that nothing was sent before.
  virtual void start(Response response) = 0;
  // Appends to it. Pieces that wait for the socket are sent together in one write. Returns false
  // when the peer is gone or has left more than max_pending_bytes waiting, which closes it: nothing
  // more need be written. Requires start().
  virtual bool write(std::string piece) = 0;
  // Calls `sent` once nothing of what was written waits for the peer any more (from a server
  // thread, once; at once when that is so already), unless the connection fails before: then
  // `sent` is let go of. Who writes the next piece only then never has more than one waiting.
  // Requires start(), no finish(), and that the last `sent` was called.
  virtual void on_sent(std::function<void()> sent) = 0;
  // Ends it. Requires start().
  virtual void finish() = 0;

  // Calls `gone` (from a server thread, once) when the peer closes or the connection fails before
  // respond() or finish(); at once when that has happened already. Half a close by the peer (it has
  // sent all it wants to) counts as gone only when sending fails. `gone` is let go of when the
  // answer is complete. It may be called while a call for this exchange is under way.
  virtual void on_gone(std::function<void()> gone) = 0;
};

// Called on a server thread for every complete request.
using Handler = std::function<void(Request request, std::shared_ptr<Exchange> exchange)>;

struct ServerStats {
  std::size_t connections = 0;    // open now
  std::uint64_t accepted = 0;     // since the start
  std::uint64_t requests = 0;     // since the start
  std::size_t unanswered = 0;     // exchanges whose answer is not with the system yet
  std::size_t pending_bytes = 0;  // of answers, that wait for their peers
};

// HTTP/1.1 over TCP: keep-alive, pipelining (answered in order, one at a time), chunked bodies in
// both directions, Expect: 100-continue.
//
// Malformed input is answered with 400, 408, 413, 417, 431, 501 or 505 and a closed connection, in
// the error form that `error_body` makes; it never reaches the handler.
//
// An X-Request-Id or X-Correlation-Id of a request comes back in its answer.
//
// Threads: any, but drain(), stop() and the destructor wait for the server's threads and so must
// not run on them.
class Server {
 public:
  // Binds and listens; connections are accepted from start() on. kInvalidArgument for an address
  // that is none, kUnavailable names the address and why it could not be had.
  static Result<std::unique_ptr<Server>> create(const ServerOptions& options, Handler handler);
  // The body of an error the server itself answers; JSON with the status by default. Requires that
  // start() was not called.
  using ErrorBody = std::function<std::string(int status, std::string_view message)>;
  virtual void set_error_body(ErrorBody make) = 0;

  virtual ~Server() = default;  // stop()

  // Requires that it was not called before.
  virtual void start() = 0;
  virtual std::uint16_t port() const = 0;
  virtual std::string address() const = 0;  // "127.0.0.1:30000", "[::1]:30000"
  virtual ServerStats stats() const = 0;

  // Runs `work` on a server thread soon: always the same one, in the order of the calls. Dropped
  // when the server stops before.
  virtual void post(std::function<void()> work) = 0;
  // Runs it there after a time, unless the server stops before.
  virtual void post_after(std::chrono::milliseconds delay, std::function<void()> work) = 0;

  // What new connections are served with from now on. Requires that the server was made with TLS.
  virtual void renew_tls(std::shared_ptr<const TlsContext> tls) = 0;

  // Graceful end: accepts nothing more, closes idle connections, lets requests that have begun end
  // (with Connection: close) for at most `grace`. Returns whether all of them did.
  virtual bool drain(std::chrono::milliseconds grace) = 0;
  // Closes everything and joins the threads. Exchanges that are kept become gone.
  virtual void stop() = 0;
};

}  // namespace fathom::http
