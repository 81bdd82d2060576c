// The bundled model's evaluation set (models/fathom-tiny/README.md) through the OpenAI API.

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "system/evaluation.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

constexpr int kClients = 16;       // at once
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

// The reply's content; says why in it when there is none.
std::string ask(http::Client& client, const EvaluationCase& evaluation) {
  http::Request request;
  request.method = "POST";
  request.target = "/v1/chat/completions";
  request.headers.add("Content-Type", "application/json");
  request.body = chat_request(evaluation);
  const Result<http::Response> response = client.send(request);
  if (!response.ok()) return "failed: " + response.status().message();
  if (response->status != 200) return "refused: " + response->body;
  const Json json = parse_json(response->body).value();
  const Json* const content =
      json.find("choices")->as_array()->front().find("message")->find("content");
  return content->as_string() == nullptr ? "" : *content->as_string();
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

  std::vector<std::string> replies(cases.size());
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> clients;
  clients.reserve(kClients);
  const std::uint16_t port = server.port();
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      http::Client client({"127.0.0.1", port, ""});
      for (std::size_t at = next++; at < cases.size(); at = next++) {
        replies[at] = ask(client, cases[at]);
      }
    });
  }
  for (std::thread& client : clients) client.join();

  std::map<std::string, std::string> misses;  // by task
  std::size_t right = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (is_right(cases[i], replies[i])) {
      ++right;
    } else {
      misses[cases[i].task] += "\n  case " + std::to_string(cases[i].number) + ", expected " +
                               cases[i].kind + " " + to_json(cases[i].expected) + ", was " +
                               to_json(Json::string(replies[i]));
    }
  }
  std::string list;
  for (const auto& [task, lines] : misses) list.append("\n").append(task).append(":").append(lines);
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
