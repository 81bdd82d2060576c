#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer.h"
#include "api/call.h"
#include "api/json_writer.h"
#include "api/response_items.h"
#include "api/sample_state.h"
#include "text/tokenizer.h"

namespace fathom::api {

// What a response says beside its answer.
struct ResponseFacts {
  std::string id;
  std::int64_t created = 0;  // unix seconds
  // The request's settings as every response repeats them: members of a JSON object, without its
  // braces.
  std::string settings;
  bool stream = false;
  bool cache_report = false;
  bool logprobs = false;
};

// The answer of /v1/responses, one sample: a response object or, as a stream, the events that build
// it, numbered from 0: response.created, response.in_progress, then for each item its beginning,
// its pieces and its end, then the whole response once more.
//
// The log-probabilities of a message are those of the tokens from the end of the thoughts, or of
// the call before, to the message's last text, and of the token that ended the answer. Contract and
// threads: as Reply.
class ResponsesReply final : public Reply {
 public:
  ResponsesReply(ResponseFacts facts,
                 const text::Tokenizer& tokenizer,
                 const std::shared_ptr<const AnswerOptions>& options);

  bool take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) override;
  std::int32_t answer_tokens(std::uint32_t /*index*/) const override {
    return state_.generated_tokens();
  }
  void close(std::string& events) override;
  std::string body() override;
  // The event response.failed.
  void fail(const Refusal& refusal, ErrorForm form, std::string& events) override;

 private:
  void keep_logprobs();
  void take_event(const AnswerEvent& event, std::string& events);
  void open_item(const AnswerEvent& event, std::string& events);
  void add_text(const AnswerEvent& event, std::string& events);
  // Closes the item that is open, if any.
  void close_item(OutputItem::State state, std::string& events);
  void finish_items(std::string& events);

  // An event is begin_event(), its own members, end_event().
  JsonWriter begin_event(std::string& events, std::string_view type);
  static void end_event(JsonWriter& writer, std::string& events);
  // One about the item that is open: "item_id" and "output_index" are there already.
  JsonWriter begin_item_event(std::string& events, std::string_view type);
  void append_item_event(std::string& events, std::string_view type);
  void append_part_event(std::string& events, std::string_view type);
  void append_response_event(std::string& events,
                             std::string_view type,
                             std::string_view status,
                             const Refusal* error = nullptr);
  void append_response(JsonWriter& writer, std::string_view status, const Refusal* error) const;
  void append_usage(JsonWriter& writer) const;
  // "completed", "incomplete", "cancelled".
  std::string_view final_status() const;

  OutputItem& open() { return items_.back(); }

  ResponseFacts facts_;
  const text::Tokenizer* tokenizer_;
  SampleState state_;
  AnswerDelta delta_;  // kept for its memory
  std::vector<OutputItem> items_;
  bool is_open_ = false;                         // the last item
  std::vector<wire::PositionLogprobs> waiting_;  // of tokens whose text was not told yet
  std::int64_t sequence_ = 0;
};

}  // namespace fathom::api
