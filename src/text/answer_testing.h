#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "text/answer_parser.h"

namespace fathom::text {

// What the pieces of an answer say together.
struct ToldAnswer {
  struct Call {
    std::string name = {};
    std::string arguments = {};
    bool complete = false;
    bool operator==(const Call&) const = default;
  };
  std::string reasoning = {};
  std::string content = {};
  std::vector<Call> calls = {};
  bool operator==(const ToldAnswer&) const = default;
};

// Joins pieces and checks that they come in the order that AnswerParser promises.
inline ToldAnswer join_pieces(std::span<const AnswerPiece> pieces) {
  using Kind = AnswerPiece::Kind;
  ToldAnswer told;
  bool in_call = false;
  for (const AnswerPiece& piece : pieces) {
    FATHOM_CHECK(piece.kind == Kind::kCallEnd || !piece.text.empty());
    switch (piece.kind) {
      case Kind::kReasoning:
        told.reasoning += piece.text;
        in_call = false;
        break;
      case Kind::kContent:
        told.content += piece.text;
        in_call = false;
        break;
      case Kind::kCallBegin:
        told.calls.push_back({piece.text, "", false});
        in_call = true;
        break;
      case Kind::kCallArguments:
        FATHOM_CHECK(in_call);
        told.calls.back().arguments += piece.text;
        break;
      case Kind::kCallEnd:
        FATHOM_CHECK(in_call);
        told.calls.back().complete = true;
        in_call = false;
        break;
    }
    if (piece.kind >= Kind::kCallBegin) {
      FATHOM_CHECK(piece.call + 1 == static_cast<std::int32_t>(told.calls.size()));
    }
  }
  return told;
}

// Checks that the calls which are complete are those whose arguments are JSON.
inline void check_arguments(const ToldAnswer& told) {
  for (const ToldAnswer::Call& call : told.calls) {
    const Result<Json> arguments = parse_json(call.arguments);
    FATHOM_CHECK_MSG(call.complete == (arguments.ok() && arguments->is_object()), call.arguments);
  }
}

// Parses `text` in pieces of the sizes that `next_size()` gives.
template <class NextSize>
ToldAnswer parse_in_pieces(const AnswerParserOptions& options,
                           std::string_view text,
                           NextSize next_size) {
  AnswerParser parser(options);
  std::vector<AnswerPiece> pieces;
  while (!text.empty()) {
    const std::size_t size = std::min<std::size_t>(next_size(), text.size());
    // A copy, so that a parser that looked behind its piece would be caught.
    parser.push(std::string(text.substr(0, size)), pieces);
    text.remove_prefix(size);
  }
  parser.finish(pieces);
  ToldAnswer told = join_pieces(pieces);
  check_arguments(told);
  return told;
}

inline ToldAnswer parse_whole(const AnswerParserOptions& options, std::string_view text) {
  return parse_in_pieces(options, text, [&] { return text.size(); });
}

// Parses `text` whole, byte by byte and in random pieces, checks that all tell the same, and
// returns it.
inline ToldAnswer check_answer(const AnswerParserOptions& options,
                               std::string_view text,
                               std::uint32_t seed) {
  ToldAnswer told = parse_whole(options, text);
  FATHOM_CHECK(parse_in_pieces(options, text, [] { return 1; }) == told);
  std::minstd_rand random(seed);
  FATHOM_CHECK(parse_in_pieces(options, text, [&] { return 1 + random() % 9; }) == told);
  return told;
}

}  // namespace fathom::text
