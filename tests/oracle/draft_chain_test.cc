#include <algorithm>
#include <iostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/engine_runner.h"
#include "support/model_runner.h"

// A chain's drafts are those of the bare model: draft j from draft j - 1 and the draft layer's own
// normed hidden state, each a position further. A wrong one changes no answer, so what is compared
// is how many drafts were right in each step: with few tokens to draw, or a trained model, other
// drafts soon give other steps.

namespace fathom::oracle {
namespace {

using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::ModelRunner;
using Tokens = std::vector<wire::TokenId>;

struct Case {
  const char* name;
  const char* folder;
  config::Arithmetic arithmetic;
  config::KvCacheDType kv_cache_dtype;
  std::int32_t drafts;
  std::int32_t drawable;
  bool overlap;
  std::size_t requests;
  std::int32_t answer_tokens;
};

constexpr std::int32_t kMostTokens = 640;

struct Seen {
  std::vector<std::int64_t> steps;  // by right drafts
  std::int64_t without_place = 0;   // steps that were not compared
};

// Verifies answers with drafts of the bare model, one sequence and one row at a time.
class BareChains {
 public:
  explicit BareChains(const Case& the_case)
      : case_(the_case), runner_(the_case.folder, options(the_case)) {}

  // `steps`: how many tokens each step of the engine gave, the prompt's one, the others one more
  // than right drafts. The answer is as long as it may be, and nothing else ends it.
  void expect(const Tokens& prompt,
              const Tokens& answer,
              std::span<const std::size_t> steps,
              Seen& seen) {
    Tokens tokens = prompt;
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    sequence_ = runner_.add_sequence();
    hidden_ = runner_.forward(one_piece(0, {tokens.begin(), tokens.end() - 1})).hidden;
    ASSERT_EQ(steps[0], 1U);
    std::size_t first = 0;  // row without a true draft row
    std::size_t known = prompt.size() + 1;
    std::size_t rows = prompt.size();  // of the steps so far
    for (const std::size_t given : steps.subspan(1)) {
      const std::size_t left = tokens.size() - known;
      // A step ahead has no more drafts than are left when all of the step before are right.
      if (case_.overlap && left < 2 * static_cast<std::size_t>(case_.drafts) + 2) break;
      const std::size_t most = std::min(static_cast<std::size_t>(case_.drafts), left - 1);
      if (most > 0) {
        const Tokens drafts = chain(tokens, first, known, most);
        first = known - 1;
        const auto wrong = std::mismatch(drafts.begin(), drafts.end(),
                                         tokens.begin() + static_cast<std::ptrdiff_t>(known));
        // A chain does without those of its rows that lie behind its sequence's pages.
        const std::size_t pages_end = (rows + 63) / 64 * 64;
        if (known + most - 2 > pages_end) {
          ++seen.without_place;
        } else {
          EXPECT_EQ(given, 1 + static_cast<std::size_t>(wrong.first - drafts.begin()))
              << "behind " << known - prompt.size() << " tokens of " << answer.size();
          ASSERT_GE(given, 1U);
          ASSERT_LE(given, seen.steps.size());
          ++seen.steps[given - 1];
        }
      }
      rows = known + most;
      known += given;
    }
    runner_.drop_sequence(sequence_);
  }

 private:
  static test_support::RunnerOptions options(const Case& the_case) {
    test_support::RunnerOptions options;
    options.arithmetic = the_case.arithmetic;
    options.kv_cache_dtype = the_case.kv_cache_dtype;
    options.max_tokens = kMostTokens;
    options.max_positions = kMostTokens;
    options.pages = kMostTokens / config::kPageTokens;
    return options;
  }

  std::vector<ModelRunner::Piece> one_piece(std::size_t first, Tokens ids) const {
    return {{sequence_, static_cast<std::int32_t>(first), std::move(ids)}};
  }

  // The drafts of tokens[known] and after. The rows [first, known - 1) are true ones from then on,
  // each made of the main model's hidden state and the token after it; those behind are the
  // chain's.
  Tokens chain(const Tokens& tokens, std::size_t first, std::size_t known, std::size_t count) {
    const auto width = static_cast<std::size_t>(runner_.config().hidden_size);
    ModelRunner::Step step =
        runner_.draft(one_piece(first, {tokens.begin() + static_cast<std::ptrdiff_t>(first) + 1,
                                        tokens.begin() + static_cast<std::ptrdiff_t>(known)}),
                      std::span(hidden_).subspan(first * width, (known - 1 - first) * width));
    Tokens drafts = {best(step.logits.back())};
    std::size_t row = known - 1;
    while (drafts.size() < count) {
      const std::vector<float> last(step.hidden.end() - static_cast<std::ptrdiff_t>(width),
                                    step.hidden.end());
      step = runner_.draft(one_piece(row++, {drafts.back()}), last);
      drafts.push_back(best(step.logits.back()));
    }
    return drafts;
  }

  wire::TokenId best(std::span<const float> logits) const {
    return test_support::argmax(
        case_.drawable > 0 ? logits.first(static_cast<std::size_t>(case_.drawable)) : logits);
  }

  Case case_;
  ModelRunner runner_;
  int sequence_ = 0;
  std::vector<float> hidden_;  // [tokens, hidden], of the main model
};

EngineRunnerOptions engine_options(const Case& the_case) {
  EngineRunnerOptions options;
  options.arithmetic = the_case.arithmetic;
  options.kv_cache_dtype = the_case.kv_cache_dtype;
  options.threads = 2;
  options.pages = 128;
  options.engine.context_tokens = kMostTokens;
  options.engine.max_running = 8;
  options.engine.chunk_tokens = 100;
  options.engine.first_unused_token = the_case.drawable;
  options.engine.drafts = the_case.drafts;
  options.engine.overlap = the_case.overlap;
  return options;
}

std::vector<wire::GenerateRequest> random_requests(const Case& the_case, std::int32_t vocab) {
  std::mt19937 random(20251130);
  std::vector<wire::GenerateRequest> requests(the_case.requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    wire::GenerateRequest& request = requests[i];
    const std::size_t length = 10 + random() % 150;  // of one chunk or two
    while (request.prompt.size() < length) {
      request.prompt.push_back(
          static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(vocab)));
    }
    request.sampling.temperature = i % 2 == 0 ? 0 : 1;
    request.sampling.seed = random();
    request.sampling.max_new_tokens = the_case.answer_tokens;
    request.sampling.ignore_eos = true;
    request.stream = true;
  }
  return requests;
}

class DraftChain : public testing::TestWithParam<Case> {};

TEST_P(DraftChain, HasTheDraftsOfTheBareModel) {
  const Case& the_case = GetParam();
  EngineRunner engine(the_case.folder, engine_options(the_case));
  const std::vector<wire::GenerateRequest> requests =
      random_requests(the_case, engine.config().vocab_size);
  std::vector<wire::RequestId> ids;
  ids.reserve(requests.size());
  for (const wire::GenerateRequest& request : requests) ids.push_back(engine.submit(request));
  BareChains bare(the_case);
  Seen seen{std::vector<std::int64_t>(static_cast<std::size_t>(the_case.drafts) + 1)};
  for (std::size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i) + " of " +
                 std::to_string(requests[i].prompt.size()) + " tokens");
    const wire::TokenOutput output = engine.wait(ids[i]);
    ASSERT_EQ(output.finish, wire::Finish::kLength) << output.error.message();
    std::vector<std::size_t> steps;
    for (const EngineRunner::Told& told : engine.told(ids[i])) steps.push_back(told.tokens);

    bare.expect(requests[i].prompt, output.tokens, steps, seen);
    if (HasFatalFailure()) return;
  }
  std::string text;
  for (const std::int64_t steps : seen.steps) text += std::to_string(steps) + " ";
  RecordProperty("steps by right drafts", text);
  RecordProperty("steps without a place", std::to_string(seen.without_place));
  std::cout << "steps by right drafts: " << text << "and " << seen.without_place
            << " that were not compared\n";
  // Each draft of the chain has a say.
  for (const std::int64_t steps : seen.steps) EXPECT_GE(steps, 10);
  EXPECT_LT(seen.without_place, seen.steps[0] / 4);
}

constexpr const char* kTiny = FATHOM_SOURCE_DIR "/models/fathom-tiny";
constexpr const char* kMicro = FATHOM_TEST_DATA "/micro-bf16";
constexpr const char* kSlim = FATHOM_TEST_DATA "/slim-fp8";

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    DraftChain,
    testing::Values(Case{"FathomTiny", kTiny, config::Arithmetic::kExact,
                         config::KvCacheDType::kAuto, 3, 0, false, 4, 100},
                    Case{"MicroBf16", kMicro, config::Arithmetic::kDeployed,
                         config::KvCacheDType::kAuto, 3, 2, false, 20, 150},
                    Case{"MicroBf16Fp8CacheAhead", kMicro, config::Arithmetic::kDeployed,
                         config::KvCacheDType::kF8E4M3, 4, 2, true, 20, 150},
                    Case{"MicroBf16Fp8Cache", kMicro, config::Arithmetic::kDeployed,
                         config::KvCacheDType::kF8E4M3, 4, 2, false, 20, 150},
                    Case{"SlimFp8", kSlim, config::Arithmetic::kDeployed,
                         config::KvCacheDType::kAuto, 3, 2, false, 6, 80}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::oracle
