#include "config/environment.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/resolve_testing.h"

namespace fathom::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

EnvironmentValues read(const EnvironmentMap& variables) {
  const auto values = EnvironmentValues::read(environment_of(variables));
  EXPECT_TRUE(values.ok()) << values.status().message();
  return values.ok() ? *values : EnvironmentValues();
}

std::string error(const EnvironmentMap& variables) {
  return EnvironmentValues::read(environment_of(variables)).status().message();
}

TEST(Environment, TableIsCompleteAndUnique) {
  std::set<std::string_view> names;

  for (const Variable& variable : environment_variables()) {
    EXPECT_TRUE(names.insert(variable.name).second) << variable.name;
    EXPECT_FALSE(variable.help.empty()) << variable.name;
    const bool needs_note =
        variable.support != Support::kBuilt && variable.support != Support::kNotBuilt;
    EXPECT_EQ(!variable.note.empty(), needs_note) << variable.name;
  }
  for (const auto& [name, value] : seed_environment()) EXPECT_TRUE(names.contains(name)) << name;
}

TEST(Environment, ReadsTheSeedsVariables) {
  const EnvironmentValues values = read(seed_environment());

  EXPECT_EQ(values.integer("SGLANG_DISAGGREGATION_WAITING_TIMEOUT"), 80);
  EXPECT_EQ(values.integer("SGLANG_DP_ATTENTION_HANDSHAKE_PORT_DELTA"), 30);
  EXPECT_EQ(values.text("NVSHMEM_BOOTSTRAP_UID_SOCK_IFNAME"), "eth0");
  EXPECT_TRUE(values.changed("NCCL_IB_TC"));
  EXPECT_FALSE(values.is_set("MC_GID_INDEX"));
  EXPECT_THAT(values.warnings(), IsEmpty());
}

TEST(Environment, HasDefaults) {
  const EnvironmentValues values = read({{"SGLANG_LOG_MS", ""}, {"SGLANG_WARMUP_TIMEOUT", "-1"}});

  EXPECT_EQ(values.integer("SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT"), 300);
  EXPECT_EQ(values.integer("SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK"), 128);
  EXPECT_FALSE(values.is_on("SGLANG_LOG_MS"));
  EXPECT_FALSE(values.is_set("SGLANG_LOG_MS"));  // empty counts as not set
  EXPECT_TRUE(values.is_on("SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION"));
  EXPECT_TRUE(values.is_set("SGLANG_WARMUP_TIMEOUT"));
  EXPECT_FALSE(values.changed("SGLANG_WARMUP_TIMEOUT"));
}

TEST(Environment, KnowsTheWordsForOnAndOff) {
  for (const char* const on : {"1", "true", "True", "YES", "y"}) {
    EXPECT_TRUE(read({{"SGLANG_LOG_MS", on}}).is_on("SGLANG_LOG_MS")) << on;
  }
  for (const char* const off : {"0", "false", "No", "n"}) {
    EXPECT_FALSE(read({{"SGLANG_LOG_MS", off}}).is_on("SGLANG_LOG_MS")) << off;
  }
}

TEST(Environment, NamesTheVariableThatIsWrong) {
  EXPECT_EQ(error({{"SGLANG_LOG_MS", "maybe"}}),
            "environment: SGLANG_LOG_MS is 'maybe', expected 1 or 0");
  EXPECT_EQ(error({{"SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK", "1025"}}),
            "environment: SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK is '1025', expected a "
            "whole number from 1 to 1024");
  EXPECT_THAT(error({{"SGLANG_DISAGGREGATION_WAITING_TIMEOUT", "80s"}}),
              HasSubstr("a whole number, at least 1"));
  EXPECT_THAT(error({{"SGLANG_DISAGGREGATION_HEARTBEAT_INTERVAL", "1.5"}}),
              HasSubstr("a number, at least 2"));
  EXPECT_THAT(error({{"SGLANG_DISAGGREGATION_HEARTBEAT_INTERVAL", "nan"}}), HasSubstr("nan"));
}

TEST(Environment, IgnoresWhatTheLibraryIgnoresToo) {
  const EnvironmentValues values = read({{"MC_IB_TC", "256"}});

  EXPECT_EQ(values.integer("MC_IB_TC"), -1);
  EXPECT_THAT(values.warnings(), ElementsAre(HasSubstr("MC_IB_TC is '256'")));
}

}  // namespace
}  // namespace fathom::config
