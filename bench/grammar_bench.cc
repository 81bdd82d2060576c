// Constrained decoding: a mask per token, and compilation, with DeepSeek-V3.2's vocabulary of
// 129,280.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <time.h>

#include "grammar/grammar_testing.h"
#include "text/tokenizer.h"

namespace {

using fathom::grammar::Kind;
using fathom::grammar::Source;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMasks = 4000;
constexpr double kMaxMicroseconds = 3e6;  // of masks of one case

// Of this process: compilation has a thread of its own.
double processor_ms() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

double microseconds(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

fathom::grammar::CompilerOptions vocabulary() {
  const auto tokenizer = std::move(fathom::text::Tokenizer::load(FATHOM_BENCH_VOCABULARY)).value();
  fathom::grammar::CompilerOptions options;
  for (fathom::text::TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
    options.token_bytes.emplace_back(tokenizer->is_added(id) ? "" : tokenizer->token_bytes(id));
  }
  options.vocab_size = 129280;
  options.stop_tokens = {*tokenizer->find_token("<｜end▁of▁sentence｜>")};
  return options;
}

// An order with lists of parts, as structured output has them; 5 KB.
std::string large_schema() {
  std::string parts;
  for (int i = 0; i < 24; ++i) {
    const std::string n = std::to_string(i);
    parts += (i > 0 ? "," : "") +
             ("\"field_" + n + R"(":{"type":"object","properties":{"name_)" + n) +
             R"(":{"type":"string","description":"what it is called"},"count":{"type":"integer",)" +
             R"("minimum":0},"state":{"enum":["new","open","done"]}},"required":["count"]})";
  }
  return R"({"type":"object","properties":{)" + parts + "}}";
}

struct Case {
  const char* name;
  Source source;
};

}  // namespace

int main() {
  const auto begin = Clock::now();
  const auto options = vocabulary();
  const auto compiler = std::move(fathom::grammar::Compiler::create(options)).value();
  std::printf("vocabulary of %d: %.0f ms\n", options.vocab_size, microseconds(begin) / 1000);
  const std::vector<Case> cases{
      {"any JSON object", {Kind::kJsonSchema, R"({"type":"object"})"}},
      {"small schema",
       {Kind::kJsonSchema,
        R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},)"
        R"("tags":{"type":"array","items":{"type":"string"}}},"required":["name","age"]})"}},
      {"enums, pattern",
       {Kind::kJsonSchema, R"({"type":"object","properties":{"colour":{"enum":["red","green"]},)"
                           R"("code":{"type":"string","pattern":"^[A-Z]{2}[0-9]{4}$"},)"
                           R"("note":{"type":"string"}},"required":["colour","code","note"]})"}},
      {"string, maxLength 20", {Kind::kJsonSchema, R"({"type":"string","maxLength":20})"}},
      {"string, maxLength 500", {Kind::kJsonSchema, R"({"type":"string","maxLength":500})"}},
      {"schema of 5 KB", {Kind::kJsonSchema, large_schema()}},
      {"regex", {Kind::kRegex, "(yes|no), [a-z ]{1,80}\\."}},
  };
  std::printf("%-26s %8s %12s %10s %10s %10s %12s\n", "", "bytes", "compile ms", "mask us",
              "p99 us", "max us", "accept us");
  for (const Case& one : cases) {
    std::vector<double> compile;
    std::shared_ptr<const fathom::grammar::Grammar> grammar;
    for (int i = 0; i < 3; ++i) {
      // A blank more each time, so that the cache does not know it.
      Source source = one.source;
      if (source.kind == Kind::kJsonSchema)
        source.text += std::string(static_cast<std::size_t>(i), ' ');
      if (source.kind != Kind::kJsonSchema && i > 0) break;
      const double start = processor_ms();
      grammar = fathom::grammar::compiled(*compiler, source);
      compile.push_back(processor_ms() - start);
    }
    std::sort(compile.begin(), compile.end());
    std::vector<double> masks;
    double accept = 0;
    double spent = 0;
    std::mt19937 random(1);
    std::vector<std::uint32_t> mask(fathom::grammar::mask_words(options.vocab_size));
    while (masks.size() < kMasks && spent < kMaxMicroseconds) {
      const auto matcher = grammar->new_matcher();
      while (!matcher->finished() && masks.size() < kMasks && spent < kMaxMicroseconds) {
        auto start = Clock::now();
        matcher->fill_mask(mask);
        masks.push_back(microseconds(start));
        spent += masks.back();
        // The next allowed token from a random place on.
        std::size_t id = random() % static_cast<std::size_t>(options.vocab_size);
        while ((mask[id / 32] >> (id % 32) & 1U) == 0) {
          id = (id + 1) % static_cast<std::size_t>(options.vocab_size);
        }
        start = Clock::now();
        matcher->accept(static_cast<fathom::grammar::TokenId>(id));
        accept += microseconds(start);
      }
    }
    std::sort(masks.begin(), masks.end());
    std::printf("%-26s %8zu %12.1f %10.1f %10.1f %10.1f %12.1f\n", one.name, one.source.text.size(),
                compile[compile.size() / 2], masks[masks.size() / 2],
                masks[masks.size() * 99 / 100], masks.back(),
                accept / static_cast<double>(masks.size()));
  }
  return 0;
}
