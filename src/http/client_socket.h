#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/tls.h"

namespace fathom::http {

// A TCP connection of a client, plain or under TLS, that waits for what it asks for, within bounds.
//
// Threads: one at a time.
class ClientSocket {
 public:
  // `cancel` may be null; it ends every wait with kCancelled.
  explicit ClientSocket(const std::atomic<bool>* cancel) : cancel_(cancel) {}
  ~ClientSocket() { close(); }
  ClientSocket(const ClientSocket&) = delete;
  ClientSocket& operator=(const ClientSocket&) = delete;

  // Tries every address of `host` in turn. Requires that it is not open.
  Status connect(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout);
  // Puts TLS on the open connection; closed when that fails. kUnavailable says why the peer is not
  // believed, or does not speak TLS.
  Status secure(const std::shared_ptr<const TlsContext>& context,
                const std::string& host,
                std::chrono::milliseconds timeout);
  bool is_open() const { return handle_ >= 0; }
  // Whether a request can still be sent: the peer has not closed, nor sent what nobody asked for.
  bool is_fresh();
  void close();

  // All of `bytes`; `timeout` without any of them being taken.
  Status send(std::string_view bytes, std::chrono::milliseconds timeout);
  // How many bytes came; 0 when the peer has ended.
  Result<std::size_t> receive(std::span<char> into, std::chrono::milliseconds timeout);

 private:
  Status wait(int handle, short events, std::chrono::milliseconds timeout) const;
  Status connect_to(const void* address, std::chrono::milliseconds timeout);
  // Waits until a step that cannot be done yet can be; why it never can, when it has failed.
  Status wait_for(TlsSession::Step step, std::chrono::milliseconds timeout) const;

  const std::atomic<bool>* cancel_;
  int handle_ = -1;
  std::unique_ptr<TlsSession> tls_;  // null: plain
};

}  // namespace fathom::http
