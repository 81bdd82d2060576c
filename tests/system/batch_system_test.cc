#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "system/process.h"
#include "system/server_process.h"

// `fathom batch` against a running server.
namespace fathom::system_test {
namespace {

using testing::HasSubstr;

const std::string kProgram = FATHOM_PROGRAM;

class BatchSystem : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    server() = std::make_unique<ServerProcess>(kProgram);
    ASSERT_TRUE(server()->wait_until_ready());
  }
  static void TearDownTestSuite() { server().reset(); }

  BatchSystem() {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("fathom-batch-system-" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~BatchSystem() override { std::filesystem::remove_all(folder_); }

  std::string in() const { return folder_ / "in.jsonl"; }
  std::string out() const { return folder_ / "out.jsonl"; }
  static std::string url() { return "127.0.0.1:" + std::to_string(server()->port()); }

  static std::string line(const std::string& id, int tokens) {
    return R"({"custom_id":")" + id +
           R"(","method":"POST","url":"/v1/completions","body":{"prompt":"The fox )" + id +
           R"(","temperature":0,"ignore_eos":true,"max_tokens":)" + std::to_string(tokens) + "}}\n";
  }
  void write(const std::string& text) const { std::ofstream(in(), std::ios::binary) << text; }

  ProcessResult batch(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"batch", in(), out(), "--url", url()};
    args.insert(args.end(), more.begin(), more.end());
    return run_process(kProgram, args);
  }

  std::vector<Json> results() const {
    std::vector<Json> all;
    std::ifstream file(out(), std::ios::binary);
    for (std::string text; std::getline(file, text) && !file.eof();) {  // whole lines
      Result<Json> json = parse_json(text);
      EXPECT_TRUE(json.ok()) << text;
      if (json.ok()) all.push_back(std::move(*json));
    }
    return all;
  }
  static std::string id_of(const Json& result) {
    const Json* const id = result.find("custom_id");
    return id == nullptr || !id->is_string() ? "" : *id->as_string();
  }

  // One for all tests of the suite.
  static std::unique_ptr<ServerProcess>& server() {
    static std::unique_ptr<ServerProcess> only;
    return only;
  }
  std::filesystem::path folder_;
};

TEST_F(BatchSystem, EveryLineIsAnsweredInOrder) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += line("r" + std::to_string(i), 1 + i % 7);
  write(text);
  const ProcessResult run = batch({"--ordered"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("40/40"));
  const std::vector<Json> all = results();
  ASSERT_EQ(all.size(), 40U);
  for (int i = 0; i < 40; ++i) {
    const Json& result = all[static_cast<std::size_t>(i)];
    EXPECT_EQ(id_of(result), "r" + std::to_string(i));
    const Json* const body = result.find("response")->find("body");
    EXPECT_EQ(body->find("usage")->find("completion_tokens")->as_int64(), 1 + i % 7);
  }
  // Nothing is left to do.
  const ProcessResult again = batch();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(results().size(), 40U);
}

TEST_F(BatchSystem, WrongLinesAreErrorsOfTheirOwn) {
  write(line("a", 2) + "nonsense\n\n" + line("a", 2) +
        R"({"custom_id":"b","url":"/v1/completions","body":{"prompt":"x","temperature":-1}})" +
        "\n" + line("c", 2));
  const ProcessResult run = batch({"--concurrency", "3"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("3 of 5 lines failed"));
  std::map<std::string, Json> by_id;
  std::map<std::int64_t, std::string> by_line;
  for (const Json& result : results()) {
    if (!id_of(result).empty()) by_id[id_of(result)] = result;
    const Json* const error = result.find_set("error");
    if (error != nullptr) {
      by_line[*error->find("line")->as_int64()] = *error->find("message")->as_string();
    }
  }
  ASSERT_EQ(by_id.size(), 3U);
  EXPECT_EQ(by_id["a"].find("response")->find("status_code")->as_int64(), 200);
  EXPECT_EQ(by_id["b"].find("response")->find("status_code")->as_int64(), 400);
  ASSERT_EQ(by_line.size(), 2U);
  EXPECT_THAT(by_line[2], HasSubstr("not valid JSON"));
  EXPECT_THAT(by_line[4], HasSubstr("earlier line"));
  EXPECT_EQ(batch().exit_code, 1);  // they stay failed, and are not asked again
  EXPECT_EQ(results().size(), 5U);
}

TEST_F(BatchSystem, FailuresAreSentAgainWhenAskedFor) {
  const std::string bad =
      R"({"custom_id":"b","url":"/v1/completions","body":{"prompt":"x","temperature":-1}})";
  write(line("a", 2) + bad + "\nnonsense\n" + line("c", 2));
  EXPECT_EQ(batch().exit_code, 1);
  EXPECT_EQ(results().size(), 4U);
  write(line("a", 2) + line("b", 3) + line("n", 4) + line("c", 2));  // repaired
  EXPECT_EQ(batch().exit_code, 1) << "b stays as it is";

  const ProcessResult run = batch({"--retry-failed"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("errors are dropped"));
  std::map<std::string, std::int64_t> tokens;
  for (const Json& result : results()) {
    EXPECT_FALSE(tokens.contains(id_of(result))) << id_of(result);
    const Json* const body = result.find("response")->find("body");
    tokens[id_of(result)] = *body->find("usage")->find("completion_tokens")->as_int64();
  }
  EXPECT_EQ(tokens, (std::map<std::string, std::int64_t>{{"a", 2}, {"b", 3}, {"c", 2}, {"n", 4}}));
  const ProcessResult again = batch({"--retry-failed"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(results().size(), 4U);
}

TEST_F(BatchSystem, GoesOnAfterItWasKilled) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += line("k" + std::to_string(i), 40);
  write(text);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::string server = url();
    execl(kProgram.c_str(), kProgram.c_str(), "batch", in().c_str(), out().c_str(), "--url",
          server.c_str(), "--concurrency", "4", static_cast<char*>(nullptr));
    _exit(127);
  }
  while (results().empty() && waitpid(child, nullptr, WNOHANG) == 0) {
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const std::size_t before = results().size();
  EXPECT_GE(before, 1U);
  // What a kill in the middle of a write may leave.
  std::ofstream(out(), std::ios::binary | std::ios::app) << "{\"id\":\"batch_req";

  const ProcessResult run = batch();
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("already; going on"));
  std::map<std::string, int> times;
  for (const Json& result : results()) ++times[id_of(result)];
  EXPECT_EQ(times.size(), 60U);
  for (const auto& [id, count] : times) EXPECT_EQ(count, 1) << id;
}

TEST_F(BatchSystem, AServerThatIsAwayIsNamed) {
  write(line("a", 1));
  const ProcessResult run = run_process(kProgram, {"batch", in(), out(), "--url", "127.0.0.1:9"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("no server answers at http://127.0.0.1:9"));
  EXPECT_EQ(run_process(kProgram, {"batch", in()}).exit_code, 2);
}

}  // namespace
}  // namespace fathom::system_test
