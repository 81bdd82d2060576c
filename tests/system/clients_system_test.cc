#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "system/process.h"
#include "system/server_process.h"

// The packages that people use as clients, against a running server. What they ask is in Python
// (tests/clients); here is one test for each of their cases.
namespace fathom::system_test {
namespace {

const std::string kKey = "a-key-for-the-tests";

// What one script's cases said: empty for "pass".
using Outcomes = std::map<std::string, std::string>;

class ClientServer {
 public:
  ClientServer()
      : folder_(std::filesystem::path(testing::TempDir()) /
                ("fathom-clients-" + std::to_string(getpid()))),
        server_(FATHOM_PROGRAM,
                {"--api-key", kKey, "--reasoning-parser", "auto", "--tool-call-parser", "auto",
                 "--file-storage-path", folder_.string()}) {
    ready_ = server_.wait_until_ready();
  }
  ~ClientServer() { std::filesystem::remove_all(folder_); }
  ClientServer(const ClientServer&) = delete;
  ClientServer& operator=(const ClientServer&) = delete;

  Outcomes run(const std::string& script) {
    if (!ready_) return {};
    const std::string url = "http://127.0.0.1:" + std::to_string(server_.port());
    const ProcessResult result =
        run_process(FATHOM_PYTHON, {std::string(FATHOM_CLIENTS) + "/" + script, url, kKey}, 400);
    Outcomes outcomes;
    std::string ran;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t colon = line.find(':');
      if (line.starts_with("ran ")) ran = line.substr(4);
      if (line.starts_with("pass ")) outcomes[line.substr(5)] = "";
      if (line.starts_with("fail ")) {
        outcomes[line.substr(5, colon - 5)] = line.substr(std::min(colon, line.size()));
      }
    }
    if (outcomes.empty() || ran != std::to_string(outcomes.size())) {
      outcomes["the script"] = "it ended early: " + result.out + result.err;
    }
    return outcomes;
  }

 private:
  std::filesystem::path folder_;
  ServerProcess server_;
  bool ready_ = false;
};

// One server for all clients, each script run once.
class Clients : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ClientServer server;
    for (const char* const script :
         {"openai_client.py", "anthropic_client.py", "readme_examples.py"}) {
      outcomes()[script] = server.run(script);
    }
  }

  // By script.
  static std::map<std::string, Outcomes>& outcomes() {
    static std::map<std::string, Outcomes> only;
    return only;
  }
};

// Every command and program of the README's section on clients.
TEST_F(Clients, Readme) {
  EXPECT_GT(outcomes()["readme_examples.py"].size(), 3U);
  for (const auto& [name, failure] : outcomes()["readme_examples.py"]) {
    EXPECT_EQ(failure, "") << name;
  }
}

TEST_F(Clients, OpenAi) {
  EXPECT_GT(outcomes()["openai_client.py"].size(), 1U);
  for (const auto& [name, failure] : outcomes()["openai_client.py"]) {
    EXPECT_EQ(failure, "") << name;
  }
}

TEST_F(Clients, Anthropic) {
  EXPECT_GT(outcomes()["anthropic_client.py"].size(), 1U);
  for (const auto& [name, failure] : outcomes()["anthropic_client.py"]) {
    EXPECT_EQ(failure, "") << name;
  }
}

}  // namespace
}  // namespace fathom::system_test
