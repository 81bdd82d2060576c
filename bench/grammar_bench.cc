// Constrained decoding: a mask per token, compilation, and the masks of a step of many answers,
// with DeepSeek-V3.2's vocabulary of 129,280.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <time.h>

#include "grammar/grammar_testing.h"
#include "grammar/mask_filler.h"
#include "text/tokenizer.h"

namespace {

using fathom::grammar::CompilerOptions;
using fathom::grammar::Grammar;
using fathom::grammar::Kind;
using fathom::grammar::Matcher;
using fathom::grammar::Source;
using fathom::grammar::TokenId;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMasks = 4000;
constexpr double kMaxMicroseconds = 3e6;  // of masks of one case
constexpr std::size_t kSteps = 60;

// Of this process: compilation has a thread of its own.
double processor_ms() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

double microseconds(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

CompilerOptions vocabulary() {
  const auto tokenizer = std::move(fathom::text::Tokenizer::load(FATHOM_BENCH_VOCABULARY)).value();
  CompilerOptions options;
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
    parts += i > 0 ? ",\"field_" : "\"field_";
    parts += n;
    parts += R"(":{"type":"object","properties":{"name_)";
    parts += n;
    parts += R"(":{"type":"string","description":"what it is called"},"count":{"type":"integer",)"
             R"("minimum":0},"state":{"enum":["new","open","done"]}},"required":["count"]})";
  }
  return R"({"type":"object","properties":{)" + parts + "}}";
}

struct Case {
  const char* name;
  Source source;
};

// The next allowed token from a random place on.
TokenId next_token(std::span<const std::uint32_t> mask, std::int32_t vocab, std::mt19937& random) {
  std::size_t id = random() % static_cast<std::size_t>(vocab);
  while ((mask[id / 32] >> (id % 32) & 1U) == 0) id = (id + 1) % static_cast<std::size_t>(vocab);
  return static_cast<TokenId>(id);
}

// Answers that are at different places of their grammar, an answer that ends begins anew.
class Answers {
 public:
  Answers(std::shared_ptr<const Grammar> grammar, std::int32_t vocab, std::size_t count)
      : grammar_(std::move(grammar)),
        vocab_(vocab),
        words_(fathom::grammar::mask_words(vocab)),
        masks_(words_ * count),
        random_(2) {
    for (std::size_t i = 0; i < count; ++i) {
      matchers_.push_back(grammar_->new_matcher());
      rows_.push_back({nullptr, {}, {masks_.data() + i * words_, words_}, 0, 0});
    }
  }

  // Microseconds that the masks of a step take.
  double step(fathom::grammar::MaskFiller& filler) {
    for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i].matcher = matchers_[i].get();
    const auto begin = Clock::now();
    filler.fill(rows_);
    const double spent = microseconds(begin);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      matchers_[i]->accept(next_token(rows_[i].masks, vocab_, random_));
      if (matchers_[i]->finished()) matchers_[i] = grammar_->new_matcher();
    }
    return spent;
  }

 private:
  std::shared_ptr<const Grammar> grammar_;
  std::int32_t vocab_;
  std::size_t words_;
  std::vector<std::uint32_t> masks_;
  std::vector<std::unique_ptr<Matcher>> matchers_;
  std::vector<fathom::grammar::MaskRows> rows_;
  std::mt19937 random_;
};

// The same steps with every number of threads.
void print_steps(const Case& one,
                 const std::shared_ptr<const Grammar>& grammar,
                 std::int32_t vocab) {
  constexpr std::size_t kRows[] = {1, 2, 8, 64};
  for (const std::size_t rows : kRows) {
    std::printf("%-26s %8zu", one.name, rows);
    for (const int threads : {1, 2, 4}) {
      fathom::grammar::MaskFiller filler(vocab, threads);
      Answers answers(grammar, vocab, rows);
      std::vector<double> steps;
      double spent = 0;
      while (steps.size() < kSteps && spent < kMaxMicroseconds) {
        steps.push_back(answers.step(filler));
        spent += steps.back();
      }
      std::sort(steps.begin(), steps.end());
      std::printf(" %11.0f %9.0f", steps[steps.size() / 2],
                  spent / static_cast<double>(steps.size()));
    }
    std::printf("\n");
  }
}

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
  std::vector<std::shared_ptr<const Grammar>> grammars;
  for (const Case& one : cases) {
    std::vector<double> compile;
    std::shared_ptr<const Grammar> grammar;
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
        const TokenId id = next_token(mask, options.vocab_size, random);
        start = Clock::now();
        matcher->accept(id);
        accept += microseconds(start);
      }
    }
    std::sort(masks.begin(), masks.end());
    std::printf("%-26s %8zu %12.1f %10.1f %10.1f %10.1f %12.1f\n", one.name, one.source.text.size(),
                compile[compile.size() / 2], masks[masks.size() / 2],
                masks[masks.size() * 99 / 100], masks.back(),
                accept / static_cast<double>(masks.size()));
    grammars.push_back(std::move(grammar));
  }
  std::printf("\nmasks of a step, us: median and mean of %zu steps\n%-26s %8s", kSteps, "",
              "answers");
  for (const char* threads : {"1 thread", "2 threads", "4 threads"}) {
    std::printf(" %11s %9s", threads, "mean");
  }
  std::printf("\n");
  for (std::size_t i = 0; i < cases.size(); ++i) {
    print_steps(cases[i], grammars[i], options.vocab_size);
  }
  return 0;
}
