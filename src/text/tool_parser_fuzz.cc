// Parses answers with calls, whole and cut. An input is a byte of options, a byte that seeds the
// cuts, and the answer.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/log.h"
#include "text/answer_testing.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fathom::text;  // NOLINT(google-build-using-namespace)
  if (size < 2) return 0;
  static const fathom::Json tools = *fathom::parse_json(
      R"([{"type":"function","function":{"name":"f","parameters":{"properties":)"
      R"({"s":{"type":"string"},"n":{"type":"integer"}}}}}])");
  fathom::configure_log({.level = fathom::LogLevel::kError});
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  AnswerParserOptions options{.tools = tools.as_array()};
  options.tool_calls = static_cast<ToolCallFormat>(data[0] % 5);
  options.reasoning = static_cast<ReasoningFormat>(data[0] / 8 % 3);
  options.forward_unknown_tools = data[0] >= 128;
  check_answer(options, text, data[1]);
  return 0;
}
