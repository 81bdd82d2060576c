#include "app/inspect.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "make_checkpoint/presets.h"
#include "make_checkpoint/random_checkpoint.h"

namespace fathom::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

Outcome inspect(const std::vector<std::string>& args) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = run_inspect(args, out, err);
  return {code, out.str(), err.str()};
}

const std::string kRealConfig = FATHOM_SOURCE_DIR "/tests/data/real-config.json";

// The line of a text report that starts with `name`, its runs of spaces made one.
std::string line_of(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string joined;
    for (std::string word; words >> word;) joined += (joined.empty() ? "" : " ") + word;
    if (joined.rfind(name, 0) == 0) return joined;
  }
  return "no line '" + name + "'";
}

TEST(Inspect, CountsThePublishedModel) {
  const Outcome shown = inspect({kRealConfig, "--tp", "16", "--dp", "16", "--ep", "16"});

  EXPECT_EQ(shown.code, 0);
  EXPECT_EQ(shown.err, "");
  EXPECT_EQ(line_of(shown.out, "attention "), "attention 732 11,413,547,008 11,416,715,104");
  EXPECT_EQ(line_of(shown.out, "main model"),
            "main model 90,854 671,877,944,064 674,032,381,632 627.74 GiB");
  EXPECT_EQ(line_of(shown.out, "all"), "all 92,425 685,355,329,792 689,471,107,200 642.12 GiB");
  EXPECT_EQ(line_of(shown.out, "activated parameters"),
            "activated parameters a token: 36.55 G, 37.48 G with the output head, 38.40 G with "
            "head and embedding");
  EXPECT_EQ(line_of(shown.out, "bf16"), "bf16 1,152 132 1,284 78,324 79,608");
  EXPECT_EQ(line_of(shown.out, "fp8_e4m3"), "fp8_e4m3 656 132 788 48,068 48,856");
  EXPECT_EQ(line_of(shown.out, "exact"), "exact 2,304 512 2,816 171,776 174,592");
  EXPECT_EQ(line_of(shown.out, "bytes"), "bytes ranks 0-15");
  EXPECT_THAT(shown.out, HasSubstr(" 60,843,241,152\n"));
  EXPECT_THAT(shown.out, HasSubstr(" 1,159,782,848\n"));
  EXPECT_EQ(line_of(shown.out, "routed experts of a layer"), "routed experts of a layer 16");
}

TEST(Inspect, PrintsTheSameNumbersAsJson) {
  const Outcome shown = inspect(
      {kRealConfig, "--json", "--tp-size=16", "--data-parallel-size", "16", "--ep-size", "16"});

  EXPECT_EQ(shown.code, 0);
  EXPECT_THAT(shown.out,
              AllOf(HasSubstr(R"("layers":61,"moe_layers":58,"draft_layers":1)"),
                    HasSubstr(R"("all":{"tensors":92425,"parameters":685355329792,)"
                              R"("scales":41591584,"bytes":689471107200})"),
                    HasSubstr(R"("main_bytes":48068,"all_bytes":48856)"),
                    HasSubstr(R"("first_rank":0,"last_rank":15,"routed_experts_per_layer":16)"),
                    HasSubstr(R"("bytes":60843241152)"), Not(HasSubstr(R"("files")"))));
}

TEST(Inspect, GroupsRanksThatHoldEquallyMuch) {
  // The published configuration with one token more, which the last of four ranks gets.
  const std::string folder =
      testing::TempDir() + "fathom_inspect_config." + std::to_string(::getpid());
  std::filesystem::create_directories(folder);
  std::ifstream real(kRealConfig);
  std::string text{std::istreambuf_iterator<char>(real), {}};
  text.replace(text.find("129280"), 6, "129281");
  std::ofstream(folder + "/config.json") << text;
  const Outcome uneven = inspect({folder, "--config-only", "--tp", "4"});
  std::filesystem::remove_all(folder);

  EXPECT_EQ(uneven.code, 0) << uneven.err;
  EXPECT_EQ(line_of(uneven.out, "bytes"), "bytes ranks 0-2 rank 3");
}

TEST(Inspect, ReadsTheFilesOfACheckpoint) {
  const std::string folder = testing::TempDir() + "fathom_inspect." + std::to_string(::getpid());
  make_checkpoint::RandomCheckpointOptions options;
  options.files = 3;
  options.draft_copies = false;
  ASSERT_TRUE(make_checkpoint::write_random_checkpoint(make_checkpoint::preset("micro").value(),
                                                       options, folder)
                  .ok());

  const Outcome whole = inspect({folder, "--verify"});
  std::filesystem::resize_file(folder + "/model-00002-of-00003.safetensors", 1000);
  const Outcome cut = inspect({folder});
  const Outcome config_only = inspect({folder, "--config-only"});
  std::filesystem::remove_all(folder);

  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_THAT(whole.out, HasSubstr("3 files, 225 tensors"));
  EXPECT_THAT(whole.out, Not(HasSubstr("draft copies")));
  EXPECT_EQ(cut.code, 1);
  EXPECT_THAT(cut.err, AllOf(HasSubstr("fathom inspect: "),
                             HasSubstr("model-00002-of-00003.safetensors: the header's length")));
  EXPECT_EQ(config_only.code, 0);
  EXPECT_THAT(config_only.out, HasSubstr("sizes as the published format stores it"));
}

TEST(Inspect, RefusesWhatDoesNotFit) {
  const Outcome layout = inspect({kRealConfig, "--tp", "8", "--dp", "3"});
  EXPECT_EQ(layout.code, 2);
  EXPECT_EQ(layout.err,
            "fathom inspect: --tensor-parallel-size is 8, expected a multiple of "
            "--data-parallel-size 3\n");
  EXPECT_EQ(inspect({kRealConfig, "--tp", "99999999999"}).code, 2);
  EXPECT_EQ(inspect({kRealConfig, "--tp", "-1"}).code, 2);
  EXPECT_EQ(inspect({kRealConfig, "--no-such-option"}).code, 2);
  EXPECT_EQ(inspect({"/no/such/folder"}).code, 1);
  EXPECT_EQ(inspect({"/no/such/folder"}).err,
            "fathom inspect: /no/such/folder/config.json: there is no such file\n");
  const Outcome help = inspect({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("--tensor-parallel-size"));
}

}  // namespace
}  // namespace fathom::app
