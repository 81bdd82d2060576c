#include "app/inspect.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/writer.h"
#include "config/model_config.h"
#include "model/tensor_sums.h"
#include "model/tensor_table.h"

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

const std::string kMicro = FATHOM_TEST_DATA "/micro-bf16";

class TemporaryFolder {
 public:
  TemporaryFolder() : path_(testing::TempDir() + "fathom_inspect." + std::to_string(::getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The weights of the folder's configuration, all zero, without the optional ones.
void write_zeros_without_copies(const std::string& folder) {
  const config::ModelConfig config = config::load_model_config(folder).value();
  const model::StoredDType dtype_of = model::published_dtypes(config);
  std::vector<checkpoint::SafetensorsWriter::Tensor> tensors;
  for (const checkpoint::TensorSpec& spec : model::expected_tensors(config)) {
    if (!spec.optional) tensors.push_back({spec.name, dtype_of(spec), spec.shape});
  }
  auto writer =
      checkpoint::SafetensorsWriter::create(folder + "/model.safetensors", tensors).value();
  for (const auto& tensor : tensors) {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(tensor.bytes()));
    ASSERT_TRUE(writer.write(zeros).ok());
  }
  ASSERT_TRUE(writer.finish().ok());
}

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
  const TemporaryFolder folder;
  std::ifstream real(kRealConfig);
  std::string text{std::istreambuf_iterator<char>(real), {}};
  text.replace(text.find("129280"), 6, "129281");
  std::ofstream(folder.path() + "/config.json") << text;
  const Outcome uneven = inspect({folder.path(), "--config-only", "--tp", "4"});

  EXPECT_EQ(uneven.code, 0) << uneven.err;
  EXPECT_EQ(line_of(uneven.out, "bytes"), "bytes ranks 0-2 rank 3");
}

TEST(Inspect, ReadsTheFilesOfACheckpoint) {
  const Outcome shown = inspect({kMicro, "--verify"});

  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("1 file, 227 tensors"));
  EXPECT_THAT(shown.out, HasSubstr("weights not quantised"));
  EXPECT_EQ(line_of(shown.out, "draft copies"),
            "draft copies of embedding and head 2 131,072 262,144");
}

TEST(Inspect, CountsOnlyWhatTheFilesHave) {
  const TemporaryFolder folder;
  std::filesystem::copy(kMicro + "/config.json", folder.path());
  write_zeros_without_copies(folder.path());

  const Outcome shown = inspect({folder.path(), "--verify"});

  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("1 file, 225 tensors"));
  EXPECT_THAT(shown.out, Not(HasSubstr("draft copies")));
}

TEST(Inspect, LeavesTheWeightsAloneWhenAskedTo) {
  const TemporaryFolder folder;
  std::filesystem::copy(kMicro + "/config.json", folder.path());
  std::ofstream(folder.path() + "/model.safetensors") << "no tensors";

  const Outcome whole = inspect({folder.path()});
  const Outcome config_only = inspect({folder.path(), "--config-only"});

  EXPECT_EQ(whole.code, 1);
  EXPECT_THAT(whole.err, AllOf(HasSubstr("fathom inspect: "),
                               HasSubstr("/model.safetensors: the header's length is")));
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
