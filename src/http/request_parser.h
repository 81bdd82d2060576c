#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/body_decoder.h"
#include "http/message.h"

namespace fathom::http {

struct RequestLimits {
  std::size_t max_header_bytes = 64 << 10;
  std::size_t max_body_bytes = 64 << 20;
};

// Reads one request after another from a stream of bytes. Knows no socket.
//
// Threads: one at a time.
class RequestParser {
 public:
  enum class Stage : std::uint8_t {
    kIdle,      // not a byte of the next request yet
    kHead,      // request line and headers are incomplete
    kBody,      // the head is understood and the body incomplete
    kComplete,  // take() it
    kRefused,   // malformed; nothing more can be read from this peer
  };

  // Why a request is refused: an HTTP status and a sentence.
  struct Refusal {
    int status = 0;
    std::string message;
  };

  explicit RequestParser(const RequestLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Reads from the front of `bytes` and returns how many bytes are used up. The others are to be
  // offered again, with more behind them. Requires kIdle, kHead or kBody.
  std::size_t push(std::string_view bytes);

  Stage stage() const { return stage_; }
  const Refusal& refusal() const { return refusal_; }  // in kRefused

  // Of the request whose head is understood.
  bool keep_alive() const { return keep_alive_; }              // whether its peer wants another
  bool http11() const { return http11_; }                      // false: HTTP/1.0
  bool expects_continue() const { return expects_continue_; }  // it waits before sending the body

  // The request, without `peer`; the next one may come. Requires kComplete.
  Request take();

 private:
  struct Head;

  std::size_t push_head(std::string_view bytes);
  std::size_t push_body(std::string_view bytes);
  bool has_bare_line_end(std::string_view bytes);
  void begin_body();
  void fill_request();
  void refuse_head(int code, std::string_view bytes);
  void refuse(int status, std::string message);

  RequestLimits limits_;
  Stage stage_ = Stage::kIdle;
  Refusal refusal_;
  std::unique_ptr<Head> head_;  // while stage_ is kHead
  std::size_t head_bytes_ = 0;  // used up by it
  std::size_t seen_bytes_ = 0;  // of it, looked at for bare line ends
  BodyDecoder body_ = BodyDecoder::none();
  Request request_;
  bool keep_alive_ = false;
  bool http11_ = false;
  bool expects_continue_ = false;
};

}  // namespace fathom::http
