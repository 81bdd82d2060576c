#include "grammar/trial.h"

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <random>
#include <utility>

#include "grammar/compiler.h"

namespace fathom::grammar {

namespace {

constexpr int kSteps = 12;             // of a walk
constexpr std::size_t kFewTokens = 8;  // a part of the vocabulary with fewer says nothing
// What does not depend on the vocabulary may cost so much.
constexpr std::int64_t kLeastCompileNs = 1'000'000'000;
constexpr std::int64_t kLeastStepNs = 5'000'000;
// A part shares fewer beginnings of tokens than the whole and so costs more than its share.
constexpr std::int64_t kMargin = 2;

Status too_slow(const std::string& what) {
  return invalid_argument("the grammar is too slow: " + what +
                          "; repetitions that can match the same text in many ways cost most");
}

// The dearest mask of a walk over allowed tokens, or the first one above `limit`.
std::int64_t dearest_mask(const xgrammar::CompiledGrammar& compiled,
                          std::int32_t tokens,
                          std::int64_t limit) {
  xgrammar::GrammarMatcher matcher(compiled);
  std::vector<std::int32_t> mask((static_cast<std::size_t>(tokens) + 31) / 32);
  auto size = static_cast<std::int64_t>(mask.size());
  DLTensor tensor{};
  tensor.data = mask.data();
  tensor.device = {kDLCPU, 0};
  tensor.ndim = 1;
  tensor.dtype = {kDLInt, 32, 1};
  tensor.shape = &size;
  std::mt19937 random(1);
  std::int64_t dearest = 0;
  for (int step = 0; step < kSteps && !matcher.IsTerminated() && dearest <= limit; ++step) {
    const std::int64_t begin = processor_ns();
    matcher.FillNextTokenBitmask(&tensor);
    dearest = std::max(dearest, processor_ns() - begin);
    const auto allowed = [&mask](std::size_t id) {
      return (static_cast<std::uint32_t>(mask[id / 32]) >> (id % 32) & 1U) != 0;
    };
    const auto count = static_cast<std::size_t>(tokens);
    const std::size_t first = random() % count;
    std::size_t tried = 0;
    while (tried < count && !allowed((first + tried) % count)) ++tried;
    if (tried == count) break;
    // What a token costs does not depend on the vocabulary; too_slow() tells.
    if (!matcher.AcceptToken(static_cast<std::int32_t>((first + tried) % count))) break;
  }
  return dearest;
}

}  // namespace

std::int64_t processor_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Trial::Trial(const std::vector<std::string>& vocabulary,
             const std::vector<std::int32_t>& stop_tokens) {
  for (const std::int64_t of : {1024, 64}) {
    std::vector<std::string> part;
    for (std::size_t id = 0; id < vocabulary.size(); id += static_cast<std::size_t>(of)) {
      // Not always those of the same remainder, which a vocabulary in some order would feel.
      const std::size_t other =
          std::min(id + part.size() % static_cast<std::size_t>(of), vocabulary.size() - 1);
      if (!vocabulary[other].empty()) part.push_back(vocabulary[other]);
    }
    if (part.size() < kFewTokens || stop_tokens.empty()) continue;
    part.emplace_back();
    const auto stop = static_cast<std::int32_t>(part.size()) - 1;
    samples_.push_back(
        {of, xgrammar::TokenizerInfo(part, xgrammar::VocabType::RAW, static_cast<int>(part.size()),
                                     std::vector<std::int32_t>{stop})});
  }
}

Status Trial::run(const xgrammar::Grammar& grammar) const {
  for (const Sample& sample : samples_) {
    xgrammar::GrammarCompiler compiler(sample.vocabulary, /*max_threads=*/1,
                                       /*cache_enabled=*/false);
    const std::int64_t begin = processor_ns();
    const xgrammar::CompiledGrammar compiled = compiler.CompileGrammar(grammar);
    if (processor_ns() - begin > std::max(kMargin * kMaxCompileNs / sample.of, kLeastCompileNs)) {
      return too_slow("it would take more than " + std::to_string(kMaxCompileNs / 1'000'000'000) +
                      " s to compile");
    }
    const std::int64_t limit = std::max(kMargin * kMaxStepNs / sample.of, kLeastStepNs);
    if (dearest_mask(compiled, sample.vocabulary.GetVocabSize(), limit) > limit) {
      return too_slow("a token would take more than " + std::to_string(kMaxStepNs / 1'000'000) +
                      " ms");
    }
  }
  return {};
}

}  // namespace fathom::grammar
