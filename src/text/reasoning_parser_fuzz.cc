// Parses answers with thoughts, whole and cut. An input is a byte of options, a byte that seeds the
// cuts, and the answer.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/answer_testing.h"
#include "text/chat_markers.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fathom::text;  // NOLINT(google-build-using-namespace)
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  AnswerParserOptions options;
  options.reasoning = static_cast<ReasoningFormat>(data[0] % 3);
  options.starts_thinking = (data[0] & 4) != 0;
  options.stream_reasoning = (data[0] & 8) != 0;
  check_answer(options, text, data[1]);

  options.separate_reasoning = false;
  FATHOM_CHECK(check_answer(options, text, data[1]) == (ToldAnswer{.content = std::string(text)}));

  const bool has_marker = text.find(kThink) != std::string_view::npos ||
                          text.find(kEndThink) != std::string_view::npos ||
                          text.find("<tool_call>") != std::string_view::npos;
  if (has_marker) return 0;
  options.separate_reasoning = true;
  const ToldAnswer told = check_answer(options, text, data[1]);
  FATHOM_CHECK(told.reasoning + told.content == text);
  return 0;
}
