#include "config/flag_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "config/plan_text.h"
#include "config/resolve_testing.h"

namespace fathom::config {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(FlagDocument, TheCommittedOneIsCurrent) {
  const auto committed =
      read_small_file(std::filesystem::path(FATHOM_SOURCE_DIR) / "docs" / "flags.md", 1 << 22);

  ASSERT_TRUE(committed.ok()) << committed.status().message();
  EXPECT_TRUE(*committed == flag_document())
      << "docs/flags.md differs from the tables: run fathom flag_document > docs/flags.md";
}

TEST(FlagDocument, HelpNamesEveryFlag) {
  const std::string help = flag_help();

  for (const Flag* flag : all_flags()) {
    EXPECT_THAT(help, HasSubstr(std::string(primary_spelling(*flag))));
  }
}

TEST(PlanText, TableAndJsonTellTheSame) {
  const auto r = resolve_line(kSeedDecode, "h200x8", seed_environment());
  ASSERT_TRUE(r.ok()) << r.status().message();

  const std::string table = plan_table(r->plan);
  const Json json = plan_json(r->plan);

  EXPECT_THAT(table, HasSubstr("experts_per_rank          16\n"));
  EXPECT_THAT(table, HasSubstr("batch_sizes               1 2 3 4 5 6 8 10 12 16 24 32 64\n"));
  EXPECT_THAT(table, HasSubstr("handshake                 19408\n"));
  EXPECT_EQ(json.find("layout")->find("experts_per_rank")->as_int64(), 16);
  EXPECT_EQ(json.find("control_ports")->find("handshake")->as_int64(), 19408);
  EXPECT_EQ(json.find("graphs")->find("batch_sizes")->as_array()->size(), 13U);
}

TEST(PlanText, TableLeavesOutWhatIsNotThere) {
  const auto r = resolve_line("", "cpu");
  ASSERT_TRUE(r.ok()) << r.status().message();

  const std::string table = plan_table(r->plan);

  EXPECT_THAT(table, HasSubstr("\ncache\n"));
  for (const char* const part : {"speculation\n", "exchange\n", "handover\n", "control_ports\n"}) {
    EXPECT_THAT(table, Not(HasSubstr(part)));
  }
}

}  // namespace
}  // namespace fathom::config
