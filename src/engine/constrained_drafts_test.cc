// Drafts under real grammars: the masks behind right drafts are those of a matcher that has taken
// them, and it is left where the answer is.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "grammar/compiler.h"
#include "support/answer_bits.h"
#include "support/draft_evidence.h"
#include "support/engine_runner.h"

namespace fathom::engine {
namespace {

using test_support::bits_of;
using test_support::DraftEvidence;
using test_support::DrawnWith;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using wire::ConstraintKind;
using wire::Finish;

constexpr std::int32_t kVocab = 512;

grammar::CompilerOptions vocabulary() {
  grammar::CompilerOptions options;
  options.token_bytes = {"[", "]", "true", "false", ",", "tr", "ue", "</s>"};
  options.vocab_size = kVocab;
  options.stop_tokens = {7};
  return options;
}

const std::pair<ConstraintKind, const char*> kGrammars[] = {
    {ConstraintKind::kJsonSchema,
     R"({"type": "array", "items": {"type": "boolean"}, "minItems": 20})"},
    {ConstraintKind::kRegex, "((true|false),)*"},
    {ConstraintKind::kEbnf, R"(root ::= list
list ::= "[" (item ("," item)*)? "]"
item ::= "true" | list)"}};

class ConstrainedDrafts : public testing::TestWithParam<std::pair<std::int32_t, bool>> {
 protected:
  EngineRunnerOptions options(std::int32_t drafts, bool overlap) {
    EngineRunnerOptions options;
    options.engine.context_tokens = 256;
    options.engine.max_running = 4;
    options.engine.end_tokens = {7};
    options.engine.first_unused_token = 8;
    options.engine.compiler = compiler_.get();
    options.engine.mask_threads = 2;
    options.engine.drafts = drafts;
    options.engine.overlap = overlap;
    return options;
  }

  std::unique_ptr<grammar::Compiler> compiler_ =
      std::move(grammar::Compiler::create(vocabulary())).value();
};

std::vector<wire::GenerateRequest> requests() {
  std::vector<wire::GenerateRequest> requests;
  for (const auto& [kind, text] : kGrammars) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      wire::GenerateRequest request;
      for (std::int32_t i = 0; i < 20; ++i) {
        request.prompt.push_back((i * 37 + static_cast<std::int32_t>(seed)) % kVocab);
      }
      request.sampling.temperature = seed % 4 == 0 ? 0 : 1;
      request.sampling.seed = seed;
      request.sampling.max_new_tokens = 60;
      if (seed % 3 == 0) request.sampling.presence_penalty = 0.5F;
      request.logprobs.wanted = true;
      request.logprobs.prompt_start = 20;
      request.constraint.kind = kind;
      request.constraint.text = text;
      if (seed % 2 == 0) {  // free before
        request.constraint.begins_after = 4;
        request.sampling.ignore_eos = true;
      }
      request.stream = true;
      requests.push_back(std::move(request));
    }
  }
  return requests;
}

TEST_P(ConstrainedDrafts, ChangeNoAnswer) {
  EngineRunner plain(FATHOM_TEST_DATA "/micro-bf16", options(0, false));
  EngineRunner drafting(FATHOM_TEST_DATA "/micro-bf16",
                        options(GetParam().first, GetParam().second));
  const std::vector<wire::GenerateRequest> asked = requests();
  std::vector<wire::RequestId> ids;
  std::vector<wire::RequestId> plain_ids;
  for (const wire::GenerateRequest& request : asked) {
    ids.push_back(drafting.submit(request));
    plain_ids.push_back(plain.submit(request));
  }
  DraftEvidence evidence;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    const wire::TokenOutput expected = plain.wait(plain_ids[i]);
    const wire::TokenOutput output = drafting.wait(ids[i]);
    EXPECT_NE(output.finish, Finish::kAbort) << output.error.message();
    EXPECT_EQ(output.finish, expected.finish);
    EXPECT_EQ(output.tokens, expected.tokens);
    EXPECT_EQ(bits_of(output.logprobs), bits_of(expected.logprobs));
    evidence.add(asked[i], output.tokens, drafting.told(ids[i]));
  }
  RecordProperty("tokens behind right drafts", evidence.describe());
  SCOPED_TRACE(evidence.describe());
  EXPECT_GE(evidence.with(DrawnWith::kMask), 20);
  EXPECT_GE(evidence.with(DrawnWith::kSleptMask), 20);
  EXPECT_GE(evidence.with(DrawnWith::kWokenMask), 3);
  EXPECT_GE(evidence.behind(2), GetParam().first > 1 ? 6 : 0);
}

INSTANTIATE_TEST_SUITE_P(Drafts,
                         ConstrainedDrafts,
                         testing::Values(std::pair(1, false),
                                         std::pair(4, false),
                                         std::pair(4, true)),
                         [](const auto& each) {
                           return std::string(each.param.first == 1 ? "One" : "Chain") +
                                  (each.param.second ? "Ahead" : "");
                         });

}  // namespace
}  // namespace fathom::engine
