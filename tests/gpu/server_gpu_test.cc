// The program with --device cuda, over HTTP. It lies beside this test's own program; $FATHOM_HOME
// names the folder of models/.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/cuda_device.h"
#include "base/json.h"
#include "system/evaluation.h"
#include "system/server_process.h"

namespace fathom::gpu_test {
namespace {

using system_test::ServerProcess;
using testing::HasSubstr;

// Right answers on the CPU under deployed arithmetic; the model's page states 337 for float32.
constexpr std::size_t kRightOnTheCpu = 338;
constexpr std::size_t kFewer = 2;

std::string program() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "fathom").string();
}

class GpuServer : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<config::GpuFacts> found;
    if (const Status status = cuda::find_devices(found); !status.ok()) {
      GTEST_SKIP() << status.message();
    }
    const char* const home = std::getenv("FATHOM_HOME");  // NOLINT(concurrency-mt-unsafe)
    ASSERT_NE(home, nullptr) << "set FATHOM_HOME";
    home_ = home;
  }

  // Answers of the evaluation set with `args`.
  void expect_evaluation(std::vector<std::string> args) {
    args.insert(args.begin(), {"--device", "cuda"});
    ServerProcess server(program(), args);
    ASSERT_TRUE(server.wait_until_ready());
    const auto cases = system_test::read_evaluation(home_ + "/models/fathom-tiny/eval.jsonl");
    const auto [right, misses] = judge(cases, ask_all(server.port(), cases));
    std::cout << right << " of " << cases.size() << " right\n";
    EXPECT_GE(right + kFewer, kRightOnTheCpu) << misses;
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait_exit(), 0);
  }

  std::string home_;
};

TEST_F(GpuServer, AnswersTheEvaluationSetAsWellAsTheCpu) { expect_evaluation({}); }

TEST_F(GpuServer, AnswersItWithAnFp8Cache) { expect_evaluation({"--kv-cache-dtype", "fp8_e4m3"}); }

TEST_F(GpuServer, AnswersItDeterministically) {
  expect_evaluation({"--enable-deterministic-inference"});
}

TEST_F(GpuServer, AnswersItWithoutGraphsAndOverlap) {
  expect_evaluation({"--disable-cuda-graph", "--disable-overlap-schedule"});
}

// Drafts that the seed's decode instance asks for: one a step.
const std::vector<std::string> kOneDraft{
    "--speculative-algorithm",  "EAGLE", "--speculative-num-steps",        "1",
    "--speculative-eagle-topk", "1",     "--speculative-num-draft-tokens", "2"};

TEST_F(GpuServer, DraftsAreRightAsOftenAsTheModelsPageSaysAndChangeNoAnswer) {
  const auto cases = system_test::read_evaluation(home_ + "/models/fathom-tiny/eval.jsonl");
  std::vector<std::vector<std::string>> replies;
  for (const bool deterministic : {true, false}) {
    for (const bool drafts : {false, true}) {
      std::vector<std::string> args{"--device", "cuda"};
      if (deterministic) args.emplace_back("--enable-deterministic-inference");
      if (drafts) args.insert(args.end(), kOneDraft.begin(), kOneDraft.end());
      ServerProcess server(program(), args);
      ASSERT_TRUE(server.wait_until_ready());
      replies.push_back(ask_all(server.port(), cases));
      const auto [right, misses] = judge(cases, replies.back());
      EXPECT_GE(right + kFewer, kRightOnTheCpu) << misses;
      std::cout << (deterministic ? "deterministic" : "default") << (drafts ? ", drafts: " : ": ")
                << right << " right";
      if (drafts) {
        const Json info = parse_json(server.ask("/get_server_info").body).value();
        const Json::Array& states = *info.find("internal_states")->as_array();
        const double length = states[0].find("avg_spec_accept_length")->as_double().value_or(0);
        std::cout << ", " << (length - 1) * 100 << " % of drafts accepted";
        EXPECT_GE(length - 1, 0.985);
      }
      std::cout << "\n";
    }
  }
  EXPECT_EQ(replies[0], replies[1]);
  int equal = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) equal += replies[2][i] == replies[3][i] ? 1 : 0;
  std::cout << equal << " of " << cases.size() << " default answers are equal with drafts\n";
  EXPECT_GT(equal, static_cast<int>(cases.size()) * 9 / 10);
}

// What a greedy answer was drawn from.
struct ScoredAnswer {
  std::vector<std::string> tokens;
  std::vector<double> logprob;  // of each token
  std::vector<double> margin;   // to the next best
};

ScoredAnswer ask_scored(ServerProcess& server, const system_test::EvaluationCase& evaluation) {
  Json body = parse_json(system_test::chat_request(evaluation)).value();
  body.set("logprobs", Json::boolean(true));
  body.set("top_logprobs", Json::integer(2));
  const http::Response response = server.ask("/v1/chat/completions", to_json(body));
  ScoredAnswer answer;
  EXPECT_EQ(response.status, 200) << response.body;
  if (response.status != 200) return answer;
  const Json json = parse_json(response.body).value();
  const Json& choice = json.find("choices")->as_array()->front();
  for (const Json& token : *choice.find("logprobs")->find("content")->as_array()) {
    const Json::Array& best = *token.find("top_logprobs")->as_array();
    answer.tokens.push_back(*token.find("token")->as_string());
    answer.logprob.push_back(*token.find("logprob")->as_double());
    answer.margin.push_back(*best[0].find("logprob")->as_double() -
                            *best[1].find("logprob")->as_double());
  }
  return answer;
}

std::vector<ScoredAnswer> ask_all_scored(ServerProcess& server,
                                         const std::vector<system_test::EvaluationCase>& cases) {
  std::vector<ScoredAnswer> answers(cases.size());
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (std::size_t at = next++; at < cases.size(); at = next++) {
        answers[at] = ask_scored(server, cases[at]);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  return answers;
}

// By default a product's last bits depend on its number of rows. Scores of equal beginnings differ
// by that much; where an answer with drafts goes another way, the two best candidates were closer
// than twice the largest such difference.
TEST_F(GpuServer, DraftsTurnGreedyAnswersOnlyWhereScoresAreClose) {
  const auto cases = system_test::read_evaluation(home_ + "/models/fathom-tiny/eval.jsonl");
  std::vector<std::vector<ScoredAnswer>> answers;
  for (const bool drafts : {false, true}) {
    std::vector<std::string> args{"--device", "cuda"};
    if (drafts) args.insert(args.end(), kOneDraft.begin(), kOneDraft.end());
    ServerProcess server(program(), args);
    ASSERT_TRUE(server.wait_until_ready());
    answers.push_back(ask_all_scored(server, cases));
  }
  double largest = 0;  // difference of a token's score behind equal tokens
  std::size_t compared = 0;
  std::vector<double> margins;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const ScoredAnswer& plain = answers[0][i];
    const ScoredAnswer& drafted = answers[1][i];
    ASSERT_FALSE(plain.tokens.empty());
    const auto [at, other] = std::mismatch(plain.tokens.begin(), plain.tokens.end(),
                                           drafted.tokens.begin(), drafted.tokens.end());
    const auto equal = static_cast<std::size_t>(at - plain.tokens.begin());
    compared += equal;
    for (std::size_t k = 0; k < equal; ++k) {
      largest = std::max(largest, std::abs(plain.logprob[k] - drafted.logprob[k]));
    }
    if (at == plain.tokens.end() && other == drafted.tokens.end()) continue;
    ASSERT_LT(equal, plain.margin.size()) << "case " << i << " only ends elsewhere";
    margins.push_back(plain.margin[equal]);
  }
  std::sort(margins.begin(), margins.end());
  std::cout << margins.size() << " of " << cases.size() << " answers go another way with drafts; "
            << "the largest margin where one does is " << (margins.empty() ? 0 : margins.back())
            << ", the largest difference of scores " << largest << " in " << compared
            << " tokens\n";
  EXPECT_GT(compared, 5000U);
  if (!margins.empty()) {
    EXPECT_LE(margins.back(), 2 * largest);
  }
}

TEST_F(GpuServer, TakesTheGpuByItselfAndPrintsWhereItsMemoryGoes) {
  ServerProcess server(program(), {"--cuda-graph-bs", "1", "4"});
  ASSERT_TRUE(server.wait_until_ready());
  const std::string log = server.log();
  EXPECT_THAT(log, HasSubstr("which is used; --device cpu leaves it alone"));
  EXPECT_THAT(log, HasSubstr("Capture cuda graph end."));
  EXPECT_THAT(log, HasSubstr("the device"));
  std::cout << log << "\n";
}

// Free-running: an answer goes its own way from the first token whose two best candidates are
// closer than the products' bound. How many do is told, and most must be equal; the evaluation set
// judges.
TEST_F(GpuServer, TellsHowManyGreedyAnswersAreTheCpus) {
  const auto cases = system_test::read_evaluation(home_ + "/models/fathom-tiny/eval.jsonl");
  std::vector<std::vector<std::string>> replies;
  for (const char* const device : {"cpu", "cuda"}) {
    ServerProcess server(program(), {"--device", device});
    ASSERT_TRUE(server.wait_until_ready());
    replies.push_back(ask_all(server.port(), cases));
  }
  int equal = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) equal += replies[0][i] == replies[1][i] ? 1 : 0;
  std::cout << equal << " of " << cases.size() << " greedy answers are the CPU's, word for word\n";
  EXPECT_GT(equal, static_cast<int>(cases.size()) / 2);
}

TEST_F(GpuServer, DeterministicAnswersAreTheCpus) {
  const std::string body =
      R"({"text": "Once upon a time", "sampling_params": {"temperature": 0, "max_new_tokens": 64}})";
  std::vector<std::string> texts;
  for (const char* const device : {"cpu", "cuda"}) {
    ServerProcess server(program(), {"--device", device, "--enable-deterministic-inference"});
    ASSERT_TRUE(server.wait_until_ready());
    const Json json = parse_json(server.ask("/generate", body).body).value();
    ASSERT_NE(json.find("text"), nullptr);
    texts.push_back(*json.find("text")->as_string());
  }
  EXPECT_EQ(texts[0], texts[1]);
}

TEST_F(GpuServer, RefusesWhatAGpuDoesNotCompute) {
  ServerProcess server(program(), {"--device", "cuda", "--arithmetic", "exact"});
  EXPECT_EQ(server.wait_exit(), 1);
  EXPECT_THAT(server.log(), HasSubstr("a GPU computes the deployed formats alone"));
}

TEST_F(GpuServer, SaysWhichFlagToChangeWhenMemoryDoesNotSuffice) {
  ServerProcess server(program(), {"--device", "cuda", "--mem-fraction-static", "0.0001"});
  EXPECT_EQ(server.wait_exit(), 1);
  EXPECT_THAT(server.log(), HasSubstr("raise --mem-fraction-static"));
}

}  // namespace
}  // namespace fathom::gpu_test
