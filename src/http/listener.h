#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "http/worker.h"

namespace fathom::http {

// The listening sockets of one host and port.
//
// Threads: create() any; the others belong to the worker's thread.
class Listener {
 public:
  // Binds every address of `host`; nothing is accepted yet. Failures as Server::create().
  static Result<std::unique_ptr<Listener>> create(Worker& worker,
                                                  const std::string& host,
                                                  std::uint16_t port);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // `accepted` owns the socket it is given. The Listener lives as long as its worker.
  using OnAccepted = std::function<void(int socket, std::string peer)>;
  void start(OnAccepted accepted);
  void close();

  std::uint16_t port() const;
  std::string address() const;  // of the first

 private:
  struct Sockets;
  explicit Listener(std::unique_ptr<Sockets> sockets);
  std::unique_ptr<Sockets> sockets_;
};

}  // namespace fathom::http
