#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "support/engine_runner.h"
#include "support/model_runner.h"
#include "system/evaluation.h"
#include "text/chat_encoding.h"
#include "text/tokenizer.h"

// The bundled model's draft layer guesses as well as the model's page states when the engine asks
// it: with the hidden states, tokens and positions it was trained on. The rate of the page is that
// of all tokens. An engine verifies fewer of those that are easy: behind a right draft one token
// comes without, behind a wrong one none.

namespace fathom::oracle {
namespace {

using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::ModelRunner;

constexpr const char* kFolder = FATHOM_SOURCE_DIR "/models/fathom-tiny";
constexpr std::size_t kPart = 10;            // the normal run asks every tenth case …
constexpr std::size_t kFirst = 3;            // … from this one on …
constexpr std::ptrdiff_t kMostPrompt = 600;  // … whose prompt is not longer

// The page: 99.3 % of the evaluation set's greedy tokens in float32.
constexpr double kLeastRate = 0.985;

struct Case {
  const char* name;
  config::Arithmetic arithmetic;
  std::int32_t drafts;
  double least_rate;
};

bool all() {
  return std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
}

// As the chat endpoint encodes it: tools belong to a system message, which is made if there is
// none.
std::vector<wire::TokenId> prompt_of(const text::Tokenizer& tokenizer,
                                     const system_test::EvaluationCase& evaluation) {
  std::vector<Json> messages = *evaluation.messages.as_array();
  text::ChatEncodingOptions options;
  options.thinking = evaluation.thinking;
  if (evaluation.tools.as_array() != nullptr) {
    options.tools = evaluation.tools.as_array();
    if (*messages.front().find("role")->as_string() != "system") {
      Json system = Json::object();
      system.set("role", Json::string("system"));
      system.set("content", Json::string(""));
      messages.insert(messages.begin(), std::move(system));
    }
  }
  return tokenizer.encode(text::encode_chat(messages, options).value());
}

std::vector<wire::GenerateRequest> evaluation_requests(bool whole) {
  const auto tokenizer = text::Tokenizer::load(kFolder).value();
  std::vector<wire::GenerateRequest> requests;
  for (const auto& evaluation :
       system_test::read_evaluation(std::string(kFolder) + "/eval.jsonl")) {
    if (!whole && evaluation.number % kPart != kFirst) continue;
    wire::GenerateRequest request;
    request.prompt = prompt_of(*tokenizer, evaluation);
    if (!whole && std::ssize(request.prompt) > kMostPrompt) continue;
    request.sampling.temperature = 0;
    request.sampling.max_new_tokens = 700;
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<wire::TokenOutput> answers(const std::vector<wire::GenerateRequest>& requests,
                                       config::Arithmetic arithmetic,
                                       std::int32_t drafts) {
  EngineRunnerOptions options;
  options.arithmetic = arithmetic;
  options.threads = 2;
  options.pages = 512;
  options.engine.context_tokens = 10240;
  options.engine.max_running = 16;
  options.engine.end_tokens = {1};
  options.engine.drafts = drafts;
  EngineRunner engine(kFolder, options);
  std::vector<wire::RequestId> ids;
  ids.reserve(requests.size());
  for (const wire::GenerateRequest& request : requests) ids.push_back(engine.submit(request));
  std::vector<wire::TokenOutput> outputs;
  outputs.reserve(requests.size());
  for (const wire::RequestId id : ids) outputs.push_back(engine.wait(id));
  return outputs;
}

// Counts what speculation with one draft would verify of finished sequences whose drafts are those
// of one pass of the bare model.
class OnePass {
 public:
  explicit OnePass(config::Arithmetic arithmetic) : runner_(kFolder, options(arithmetic)) {}

  static constexpr std::size_t kMostTokens = 1024;

  wire::DraftCounts counts(const wire::GenerateRequest& request,
                           const std::vector<wire::TokenId>& answer) {
    std::vector<wire::TokenId> tokens = request.prompt;
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    const int sequence = runner_.add_sequence();
    const ModelRunner::Piece piece{sequence, 0, {tokens.begin(), tokens.end() - 1}};
    const ModelRunner::Piece next{sequence, 0, {tokens.begin() + 1, tokens.end()}};
    const ModelRunner::Step step = runner_.forward({&piece, 1});
    const std::vector<std::vector<float>> logits = runner_.draft({&next, 1}, step.hidden).logits;
    runner_.drop_sequence(sequence);

    wire::DraftCounts counts;
    std::size_t known = request.prompt.size() + 1;
    while (known < tokens.size()) {
      const bool right = test_support::argmax(logits[known - 2]) == tokens[known];
      ++counts.steps;
      ++counts.drafts;
      counts.accepted += right ? 1 : 0;
      known += right ? 2 : 1;
    }
    for (std::size_t at = request.prompt.size() + 1; at < tokens.size(); ++at) {
      ++guesses_;
      right_guesses_ += test_support::argmax(logits[at - 2]) == tokens[at] ? 1 : 0;
    }
    return counts;
  }
  // Of all answers' tokens but each first one, had each had a draft.
  double rate() const {
    return static_cast<double>(right_guesses_) / static_cast<double>(guesses_);
  }

 private:
  static test_support::RunnerOptions options(config::Arithmetic arithmetic) {
    test_support::RunnerOptions options;
    options.arithmetic = arithmetic;
    options.threads = 2;
    options.max_tokens = kMostTokens;
    options.max_positions = kMostTokens;
    options.pages = 16;
    return options;
  }

  ModelRunner runner_;
  std::int64_t guesses_ = 0;
  std::int64_t right_guesses_ = 0;
};

class DraftRate : public testing::TestWithParam<Case> {};

TEST_P(DraftRate, IsWhatThePageStatesAndTheAnswersAreTheSame) {
  if (GetParam().arithmetic != config::Arithmetic::kExact && !all()) {
    GTEST_SKIP() << "it takes a minute over code that the exact case runs; ./run test --all has it";
  }
  const std::vector<wire::GenerateRequest> requests =
      evaluation_requests(all() && GetParam().drafts == 1);
  const auto plain = answers(requests, GetParam().arithmetic, 0);
  const auto drafted = answers(requests, GetParam().arithmetic, GetParam().drafts);
  OnePass one_pass(GetParam().arithmetic);
  wire::DraftCounts counts;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    ASSERT_NE(plain[i].finish, wire::Finish::kAbort) << plain[i].error.message();
    EXPECT_EQ(drafted[i].tokens, plain[i].tokens);
    EXPECT_EQ(drafted[i].finish, plain[i].finish);
    if (GetParam().drafts == 1 &&
        requests[i].prompt.size() + plain[i].tokens.size() <= OnePass::kMostTokens) {
      const wire::DraftCounts expected = one_pass.counts(requests[i], plain[i].tokens);
      EXPECT_EQ(drafted[i].drafts.steps, expected.steps);
      EXPECT_EQ(drafted[i].drafts.accepted, expected.accepted);
    }
    counts.steps += drafted[i].drafts.steps;
    counts.drafts += drafted[i].drafts.drafts;
    counts.accepted += drafted[i].drafts.accepted;
    tokens += drafted[i].generated_tokens;
  }
  ASSERT_GT(counts.drafts, 500);
  const double rate = static_cast<double>(counts.accepted) / static_cast<double>(counts.drafts);
  std::cout << tokens << " tokens, " << counts.steps << " steps with drafts, " << counts.accepted
            << " of " << counts.drafts << " drafts accepted: " << rate << "\n";
  if (GetParam().drafts == 1) {
    std::cout << "of all tokens " << one_pass.rate() << " would be guessed\n";
  }
  RecordProperty("accepted", std::to_string(rate));
  EXPECT_GE(rate, GetParam().least_rate);
}

INSTANTIATE_TEST_SUITE_P(
    Arithmetics,
    DraftRate,
    testing::Values(Case{"Exact", config::Arithmetic::kExact, 1, kLeastRate},
                    Case{"Deployed", config::Arithmetic::kDeployed, 1, kLeastRate},
                    Case{"DeployedChains", config::Arithmetic::kDeployed, 3, 0}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::oracle
