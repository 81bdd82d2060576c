#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "config/seed_commands_testing.h"
#include "system/process.h"

// `fathom launch_server` up to where serving begins, started as a user would start it.

namespace fathom::system_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

const std::filesystem::path kSource = FATHOM_SOURCE_DIR;
const std::string kRealConfig = (kSource / "tests" / "data" / "real-config.json").string();

ProcessResult launch(std::vector<std::string> args, const char* command = "launch_server") {
  args.insert(args.begin(), command);
  return run_process(FATHOM_PROGRAM, args);
}

// One of the deployment's commands on the model's config.json alone, for another machine.
std::vector<std::string> dry_run(std::string_view line) {
  std::vector<std::string> args = config::split_words(line);
  for (const char* const more :
       {"--model-path", kRealConfig.c_str(), "--dry-run", "--for-machine", "h200x8"}) {
    args.emplace_back(more);
  }
  return args;
}

TEST(LaunchServer, DryRunOfTheSeedsPrefillPrintsThePlan) {
  const ProcessResult result = launch(dry_run(config::kSeedPrefill));

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, IsEmpty());
  EXPECT_THAT(result.out, StartsWith("server_args=ServerArgs("));
  EXPECT_THAT(result.out, HasSubstr("disaggregation_mode='prefill'"));
  EXPECT_THAT(result.out, HasSubstr("  experts_per_rank          32\n"));
  EXPECT_THAT(result.out, HasSubstr("  chunk_tokens              8192\n"));
  EXPECT_THAT(result.out, HasSubstr("  request_slots             512\n"));
  EXPECT_THAT(result.out, HasSubstr("warning: not built yet: --disaggregation-mode prefill: "));
  EXPECT_THAT(result.out, HasSubstr("warning: --trust-remote-code: no need: "));
}

TEST(LaunchServer, DryRunOfEveryCommandPrintsOneJsonObject) {
  for (const std::string_view line :
       {config::kSeedPrefill, config::kSeedDecode, config::kNewerPrefill, config::kNewerDecode}) {
    std::vector<std::string> args = dry_run(line);
    args.emplace_back("--json");

    const ProcessResult result = launch(args);

    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto json = parse_json(result.out);
    ASSERT_TRUE(json.ok()) << json.status().message();
    const bool prefill = line.find("prefill --disaggregation-ib") != std::string_view::npos;
    const Json& arguments = *json->find("server_args");
    EXPECT_EQ(arguments.find("tp_size")->as_int64(), prefill ? 8 : 16);
    EXPECT_EQ(arguments.find("ep_size")->as_int64(), prefill ? 8 : 16);
    EXPECT_EQ(arguments.find("chunked_prefill_size")->as_int64(), prefill ? 8192 : 512);
    EXPECT_EQ(arguments.find("page_size")->as_int64(), 64);
    const Json& plan = *json->find("plan");
    EXPECT_EQ(plan.find("limits")->find("max_running")->as_int64(), 64);
    EXPECT_EQ(plan.find("limits")->find("aux_entries")->as_int64(), prefill ? 128 : 2048);
    EXPECT_EQ(plan.find("speculation")->find("verify_tokens")->as_int64(), 128);
    EXPECT_EQ(plan.find("graphs")->find("enabled")->as_bool(), !prefill);
    EXPECT_FALSE(json->find("warnings")->as_array()->empty());
  }
}

TEST(LaunchServer, DryRunNeedsNoFlagsAtAll) {
  const ProcessResult result = launch({"--dry-run"});

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("  served_model_name         fathom-tiny\n"));
  EXPECT_THAT(result.out, HasSubstr("  device                    cpu\n"));
  EXPECT_THAT(result.out, Not(HasSubstr("warning: not built yet")));
}

// The program of a tree without the CUDA language has no plug-in beside it.
TEST(LaunchServer, SaysWhatIsMissingForAGpu) {
  const ProcessResult result = launch({"--device", "cuda"});

  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, StartsWith("fathom launch_server: --device cuda: this program came "
                                     "without the CUDA plug-in"));
  EXPECT_THAT(result.err, HasSubstr("--device cpu runs without one"));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
}

TEST(LaunchServer, ServeTakesTheModelAsItsFirstWord) {
  const ProcessResult result = launch({kRealConfig, "--dry-run"}, "serve");

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("  layers                    61\n"));
}

TEST(LaunchServer, TakesFlagsAndMachineFromFiles) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("fathom-launch-test-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "flags.yaml") << "port: 1234\ntp-size: 2\nserved-model-name: from-file\n";
  std::ofstream(folder / "machine.json")
      << R"({"processors": 3, "host_memory_mib": 1024, "cgroup_memory_mib": 512})";

  const ProcessResult result =
      launch({"--config", (folder / "flags.yaml").string(), "--tp", "1", "--dry-run",
              "--for-machine", (folder / "machine.json").string()});
  std::filesystem::remove_all(folder);

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("  port                      1234\n"));
  EXPECT_THAT(result.out, HasSubstr("  served_model_name         from-file\n"));
  EXPECT_THAT(result.out, HasSubstr("  tensor_parallel           1\n"));
  EXPECT_THAT(result.out, HasSubstr("  threads                   3\n"));
}

TEST(LaunchServer, MistakesOnTheCommandLineExitWithTwo) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"--nonsense"},
                                             {"--port", "x"},
                                             {"--disagg", "prefill"},
                                             {"--disaggregation-mode", "both"},
                                             {"--config", "/nowhere/flags.yaml"}}) {
    const ProcessResult result = launch(args);

    EXPECT_EQ(result.exit_code, 2) << args[0];
    EXPECT_THAT(result.err, AllOf(StartsWith("usage: fathom launch_server"),
                                  HasSubstr("fathom launch_server: error: ")));
    EXPECT_THAT(result.out, IsEmpty());
  }
}

TEST(LaunchServer, WhatIsNotBuiltYetFailsTheStart) {
  const ProcessResult result =
      launch({"--tp", "2", "--enable-http2", "--api-key", "secret", "--dp", "1"});

  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("fathom launch_server: not built yet: --tp-size 2: "));
  EXPECT_THAT(result.err, HasSubstr("fathom launch_server: not built yet: --enable-http2"));
  EXPECT_THAT(result.out + result.err, Not(HasSubstr("secret")));
}

TEST(LaunchServer, SettingsInConflictFailTheStart) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"--dry-run", "--tp", "8", "--dp", "3"},
           {"--dry-run", "--arithmetic", "exact", "--kv-cache-dtype", "bf16"},
           {"--dry-run", "--model-path", "/nowhere"},
           {"--dry-run", "--for-machine", "abacus"},
           {"--for-machine", "cpu"}}) {
    const ProcessResult result = launch(args);

    EXPECT_EQ(result.exit_code, 1) << args[1];
    EXPECT_THAT(result.err, StartsWith("fathom launch_server: "));
    EXPECT_THAT(result.out, IsEmpty());
  }
}

TEST(LaunchServer, HelpListsEveryFlag) {
  const ProcessResult result = launch({"--help"});

  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("--tensor-parallel-size, --tp-size INT"));
  EXPECT_THAT(result.out, HasSubstr("--dsa-topk-backend"));
}

}  // namespace
}  // namespace fathom::system_test
