// The bundled model's evaluation set (models/fathom-tiny/README.md) through the OpenAI API.

#include <algorithm>
#include <cstdlib>

#include <gtest/gtest.h>

#include "system/evaluation.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

constexpr std::size_t kPart = 10;  // the normal run asks every tenth case …
constexpr std::size_t kFirst = 3;  // … from this one on

// Right answers of the whole set in float32, by the model's page.
constexpr std::size_t kCases = 346;
constexpr std::size_t kPublishedRight = 337;

struct Case {
  const char* name;
  const char* arithmetic;
  std::size_t fewer;  // right answers than the page states, at most
};

bool whole_set() {
  return std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
}

class Evaluation : public testing::TestWithParam<Case> {};

TEST_P(Evaluation, IsAnsweredAsWellAsThePageStates) {
  std::vector<EvaluationCase> cases =
      read_evaluation(FATHOM_SOURCE_DIR "/models/fathom-tiny/eval.jsonl");
  ASSERT_EQ(cases.size(), kCases);
  if (!whole_set()) {
    std::erase_if(cases, [](const EvaluationCase& one) { return one.number % kPart != kFirst; });
  }
  ServerProcess server(FATHOM_PROGRAM, {"--arithmetic", GetParam().arithmetic});
  ASSERT_TRUE(server.wait_until_ready());

  const std::vector<std::string> replies = ask_all(server.port(), cases);
  const auto [right, list] = judge(cases, replies);
  // Of a part the page states nothing: in proportion, rounded up, and the same allowance.
  const std::size_t published_wrong =
      (cases.size() * (kCases - kPublishedRight) + kCases - 1) / kCases;
  EXPECT_LE(cases.size() - right, published_wrong + GetParam().fewer) << list;
  std::cout << right << " of " << cases.size() << " right under " << GetParam().arithmetic << list
            << "\n";
  RecordProperty("right", static_cast<int>(right));
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);
}

INSTANTIATE_TEST_SUITE_P(Arithmetics,
                         Evaluation,
                         testing::Values(Case{"Exact", "exact", 2},
                                         Case{"Deployed", "deployed", 5}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::system_test
