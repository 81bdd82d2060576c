#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom::http {

// What a server shows to its peers: PEM files.
struct TlsFiles {
  std::string certificate;   // the server's own, and behind it those up to its authority
  std::string key;           // of the first one
  std::string key_password;  // empty: the key is not encrypted
};

// Whom a client believes.
struct TlsTrust {
  std::string authorities = {};  // PEM file of their certificates; empty: the system's
  bool verify = true;            // false: any certificate will do
  bool verify_name = true;       // the certificate must be for the host that was asked for
};

// What the TLS connections of a server or a client share: TLS 1.2 or 1.3, forward secrecy,
// authenticated encryption.
//
// Threads: any.
class TlsContext {
 public:
  // kInvalidArgument names the file and what is wrong with it. A certificate whose time is over
  // serves, with a warning in the log.
  static Result<std::shared_ptr<const TlsContext>> for_server(const TlsFiles& files);
  static Result<std::shared_ptr<const TlsContext>> for_client(const TlsTrust& trust);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  friend class TlsSession;
  struct State;
  explicit TlsContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One side of TLS over a non-blocking socket, which it does not own. It never waits: what cannot be
// done yet says for what the caller has to wait.
//
// Threads: one at a time.
class TlsSession {
 public:
  enum class Step : unsigned char {
    kDone,
    kWantRead,   // call again, with the same arguments, when the socket can be read
    kWantWrite,  // … when it can be written
    kEnded,      // the peer has ended its half
    kFailed,     // nothing more can be done; failure() says why
  };

  // Requires that the socket outlives every call.
  static std::unique_ptr<TlsSession> accept(const std::shared_ptr<const TlsContext>& context,
                                            int socket);
  static std::unique_ptr<TlsSession> connect(const std::shared_ptr<const TlsContext>& context,
                                             int socket,
                                             const std::string& host);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // To be kDone before anything else.
  Step shake_hands();
  // A server takes a connection that ends without a word as ended; to a client that is a failure.
  Step read(std::span<char> into, std::size_t& count);
  // Some of `bytes`. After kWantRead or kWantWrite the same bytes must come again.
  Step write(std::string_view bytes, std::size_t& count);
  // Tells the peer that no more will come, if the socket takes that at once.
  void end_sending();

  const std::string& failure() const { return failure_; }
  // The handshake failed because the peer has sent a plain HTTP request.
  bool peer_speaks_http() const { return peer_speaks_http_; }

 private:
  struct State;
  explicit TlsSession(std::unique_ptr<State> state);
  Step step(int result);

  std::unique_ptr<State> state_;
  std::string failure_;
  bool open_ = false;  // the handshake is done and nothing has failed since
  bool peer_speaks_http_ = false;
};

}  // namespace fathom::http
