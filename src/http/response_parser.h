#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/body_decoder.h"
#include "http/message.h"

namespace fathom::http {

// Reads the answer to one request from a stream of bytes; interim (1xx) answers are skipped. Knows
// no socket.
//
// Threads: one at a time.
class ResponseParser {
 public:
  enum class Stage : std::uint8_t {
    kHead,  // status line and headers are incomplete
    kBody,
    kComplete,
    kFailed,  // this is not HTTP, or it broke off
  };

  // `head_only`: the answer to HEAD has no body.
  explicit ResponseParser(bool head_only);
  ~ResponseParser();
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  // Reads from the front of `bytes`, appends decoded body bytes to `body`, and returns how many
  // bytes are used up. The others are to be offered again, with more behind them; those that are
  // left when it is complete belong to no answer.
  std::size_t push(std::string_view bytes, std::string& body);
  // The peer has closed.
  void end();

  Stage stage() const { return stage_; }
  const std::string& failure() const { return failure_; }  // in kFailed
  const Response& head() const { return response_; }       // without a body; from kBody on
  bool keep_alive() const { return keep_alive_; }          // from kBody on

 private:
  struct Head;

  std::size_t push_head(std::string_view bytes);
  void begin_body();
  void note_body_state();
  void fail(std::string why);

  bool head_only_;
  Stage stage_ = Stage::kHead;
  std::string failure_;
  std::unique_ptr<Head> head_;  // while stage_ is kHead
  BodyDecoder body_ = BodyDecoder::none();
  Response response_;
  bool keep_alive_ = false;
};

}  // namespace fathom::http
