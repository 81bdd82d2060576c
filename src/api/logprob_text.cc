#include "api/logprob_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "api/json_writer.h"

namespace fathom::api {

namespace {

std::string token_text(const text::Tokenizer& tokenizer, wire::TokenId id) {
  return tokenizer.decode(std::array{id});
}

// The members of one chat entry, up to what only whole entries have.
void write_token(JsonWriter& writer,
                 const text::Tokenizer& tokenizer,
                 wire::TokenId id,
                 float logprob) {
  writer.string("token", token_text(tokenizer, id)).begin_array("bytes");
  for (const char byte : tokenizer.token_bytes(id)) {
    writer.integer(static_cast<unsigned char>(byte));
  }
  writer.end_array().key("logprob").real(logprob);
}

void write_triple(JsonWriter& writer,
                  const text::Tokenizer* tokenizer,
                  wire::TokenId id,
                  float logprob) {
  writer.begin_array().real(logprob).integer(id);
  if (tokenizer != nullptr) {
    writer.string(token_text(*tokenizer, id));
  } else {
    writer.null();
  }
  writer.end_array();
}

void append_lists(std::string& out,
                  const text::Tokenizer* tokenizer,
                  std::span<const wire::PositionLogprobs> positions,
                  std::vector<wire::TokenLogprob> wire::PositionLogprobs::*list) {
  for (const wire::PositionLogprobs& position : positions) {
    if (!out.empty()) out += ',';
    JsonWriter writer(out);
    const std::vector<wire::TokenLogprob>& tokens = position.*list;
    if (tokens.empty()) {
      writer.null();
      continue;
    }
    writer.begin_array();
    for (const wire::TokenLogprob& token : tokens) {
      write_triple(writer, tokenizer, token.id, token.logprob);
    }
    writer.end_array();
  }
}

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
  }));
}

void write_top(JsonWriter& writer,
               const text::Tokenizer& tokenizer,
               const std::vector<wire::TokenLogprob>& tokens) {
  std::vector<std::string> seen;
  writer.begin_object();
  for (const wire::TokenLogprob& token : tokens) {
    std::string text = token_text(tokenizer, token.id);
    if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
    writer.text_key(text).real(token.logprob);
    seen.push_back(std::move(text));
  }
  writer.end_object();
}

}  // namespace

void append_chat_logprobs(std::string& out,
                          const text::Tokenizer& tokenizer,
                          std::span<const wire::PositionLogprobs> positions) {
  JsonWriter writer(out);
  writer.begin_array();
  for (const wire::PositionLogprobs& position : positions) {
    writer.begin_object();
    write_token(writer, tokenizer, position.id, position.logprob);
    writer.begin_array("top_logprobs");
    for (const wire::TokenLogprob& token : position.top) {
      writer.begin_object();
      write_token(writer, tokenizer, token.id, token.logprob);
      writer.end_object();
    }
    writer.end_array().end_object();
  }
  writer.end_array();
}

void append_completion_logprobs(std::string& out,
                                const text::Tokenizer& tokenizer,
                                std::span<const wire::PositionLogprobs> positions,
                                bool with_top,
                                std::size_t& characters) {
  JsonWriter writer(out);
  writer.begin_object().begin_array("text_offset");
  for (const wire::PositionLogprobs& position : positions) {
    writer.integer(static_cast<std::int64_t>(characters));
    characters += count_characters(token_text(tokenizer, position.id));
  }
  writer.end_array().begin_array("token_logprobs");
  for (const wire::PositionLogprobs& position : positions) writer.real(position.logprob);
  writer.end_array().begin_array("tokens");
  for (const wire::PositionLogprobs& position : positions) {
    writer.string(token_text(tokenizer, position.id));
  }
  writer.end_array().begin_array("top_logprobs");
  if (with_top) {
    for (const wire::PositionLogprobs& position : positions) {
      // Nothing precedes the first position of a prompt.
      if (std::isnan(position.logprob)) {
        writer.null();
      } else {
        write_top(writer, tokenizer, position.top);
      }
    }
  }
  writer.end_array().end_object();
}

void append_native_logprobs(std::string& out,
                            const text::Tokenizer* tokenizer,
                            std::span<const wire::PositionLogprobs> positions) {
  for (const wire::PositionLogprobs& position : positions) {
    if (!out.empty()) out += ',';
    JsonWriter writer(out);
    write_triple(writer, tokenizer, position.id, position.logprob);
  }
}

void append_native_top_logprobs(std::string& out,
                                const text::Tokenizer* tokenizer,
                                std::span<const wire::PositionLogprobs> positions) {
  append_lists(out, tokenizer, positions, &wire::PositionLogprobs::top);
}

void append_native_asked_logprobs(std::string& out,
                                  const text::Tokenizer* tokenizer,
                                  std::span<const wire::PositionLogprobs> positions) {
  append_lists(out, tokenizer, positions, &wire::PositionLogprobs::asked);
}

}  // namespace fathom::api
