#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace fathom::app {

// Puts the events of one streamed chat completion together.
//
// Reasoning is what the server sends as reasoning_content (or reasoning), and, where it sends all
// as content, what stands before "</think>": from the start when thinking was asked for, else
// behind a "<think>" that the content begins with.
class ChatReply {
 public:
  // Gets each new piece of text, for showing.
  using OnText = std::function<void(std::string_view text, bool reasoning)>;

  ChatReply(bool thinking, OnText on_text);

  // Takes the data of one event, or a whole completion that is not streamed. kUnavailable when it
  // reports an error or is no completion.
  Status read(std::string_view data);
  // The stream is over: text that was held back, as it might have begun a tag, is told.
  void end();

  const std::string& content() const { return content_; }
  const std::string& finish_reason() const { return finish_reason_; }  // empty: not told
  bool done() const { return done_; }                                  // [DONE] has come
  std::optional<std::int64_t> prompt_tokens() const { return prompt_tokens_; }
  std::optional<std::int64_t> completion_tokens() const { return completion_tokens_; }

 private:
  enum class Place : std::uint8_t {
    kStart,      // "<think>" may come
    kReasoning,  // "</think>" may come
    kAnswer,
  };

  void read_choice(const Json& choice);
  void add_content(std::string_view text);
  void tell(std::string_view text, bool reasoning);

  OnText on_text_;
  bool thinking_;
  Place place_ = Place::kStart;
  std::string held_;  // the end of the content so far, which may be the beginning of a tag
  std::string content_;
  std::string finish_reason_;
  bool done_ = false;
  std::optional<std::int64_t> prompt_tokens_;
  std::optional<std::int64_t> completion_tokens_;
};

// What the body of an HTTP error says, in whichever form servers have for it.
std::string error_message(std::string_view body);

}  // namespace fathom::app
