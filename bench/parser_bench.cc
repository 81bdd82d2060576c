// What splitting an answer costs: one-token pieces of plain text, of a call's long string, and of
// thoughts, and the search for stops in plain text. Figures and method: docs/benchmarks.md.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/json.h"
#include "text/answer_parser.h"
#include "text/stop_matcher.h"

namespace {

using namespace fathom::text;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kTokenBytes = 4;

std::string prose(std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    text += "The quick brown fox, as ever, jumps over the lazy dog; if (a < b) return;\n";
  }
  return text;
}

// Parses `text` again and again, in pieces of `piece` bytes.
void parse(benchmark::State& state,
           const AnswerParserOptions& options,
           std::string_view text,
           std::size_t piece) {
  std::vector<AnswerPiece> pieces;
  for ([[maybe_unused]] auto _ : state) {
    AnswerParser parser(options);
    for (std::size_t at = 0; at < text.size(); at += piece) {
      pieces.clear();
      parser.push(text.substr(at, piece), pieces);
      benchmark::DoNotOptimize(pieces.data());
    }
    pieces.clear();
    parser.finish(pieces);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

void content(benchmark::State& state) {
  parse(state,
        {.reasoning = ReasoningFormat::kDeepSeekV3, .tool_calls = ToolCallFormat::kDeepSeekV32},
        prose(1 << 16), static_cast<std::size_t>(state.range(0)));
}

void thoughts(benchmark::State& state) {
  parse(state, {.reasoning = ReasoningFormat::kDeepSeekR1}, prose(1 << 16),
        static_cast<std::size_t>(state.range(0)));
}

void call_string(benchmark::State& state) {
  const std::string text =
      "<｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"s\" string=\"true\">" + prose(1 << 16) +
      "</｜DSML｜parameter></｜DSML｜invoke>";
  parse(state, {.tool_calls = ToolCallFormat::kDeepSeekV32, .forward_unknown_tools = true}, text,
        static_cast<std::size_t>(state.range(0)));
}

void call_json(benchmark::State& state) {
  std::string text = "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"list\": [0";
  while (text.size() < 1 << 16) text += ", 12.5, \"some words\", {\"a\": true}";
  text += "]}<｜tool▁call▁end｜>";
  parse(state, {.tool_calls = ToolCallFormat::kDeepSeekV31, .forward_unknown_tools = true}, text,
        static_cast<std::size_t>(state.range(0)));
}

void stops(benchmark::State& state, const std::vector<std::string>& regexes) {
  const auto rules = StopRules::create({"\n\n", "END", "<stop>", "###"}, regexes, false);
  const std::string text = prose(1 << 16);
  const auto piece = static_cast<std::size_t>(state.range(0));
  std::string out;
  for ([[maybe_unused]] auto _ : state) {
    StopMatcher matcher(*rules);
    for (std::size_t at = 0; at < text.size(); at += piece) {
      out.clear();
      benchmark::DoNotOptimize(matcher.push(std::string_view(text).substr(at, piece), out));
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

void stop_strings(benchmark::State& state) { stops(state, {}); }
void stop_regex(benchmark::State& state) { stops(state, {R"(\bstep \d+:)"}); }

BENCHMARK(content)->Arg(kTokenBytes)->Arg(1 << 16);
BENCHMARK(thoughts)->Arg(kTokenBytes)->Arg(1 << 16);
BENCHMARK(call_string)->Arg(kTokenBytes)->Arg(1 << 16);
BENCHMARK(call_json)->Arg(kTokenBytes)->Arg(1 << 16);
BENCHMARK(stop_strings)->Arg(kTokenBytes)->Arg(1 << 16);
BENCHMARK(stop_regex)->Arg(kTokenBytes)->Arg(1 << 16);

}  // namespace

BENCHMARK_MAIN();
