#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/safetensors_file.h"
#include "system/process.h"

// The real program, started as a user would start it.

namespace fathom::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::filesystem::path kData = FATHOM_TEST_DATA;
const std::filesystem::path kTiny =
    std::filesystem::path(FATHOM_SOURCE_DIR) / "models" / "fathom-tiny";

ProcessResult generate(std::vector<std::string> args) {
  args.insert(args.begin(), "generate");
  return run_process(FATHOM_PROGRAM, args);
}

std::string comma_separated(std::span<const std::int32_t> ids) {
  std::string text;
  for (const std::int32_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

std::string chat(const std::string& question) {
  return "<｜begin▁of▁sentence｜><｜User｜>" + question + "<｜Assistant｜></think>";
}

// A private copy of a checkpoint folder, removed at the end.
class CheckpointCopy {
 public:
  explicit CheckpointCopy(const std::filesystem::path& from)
      : folder_(std::filesystem::temp_directory_path() /
                ("fathom-generate-test-" + std::to_string(getpid()))) {
    std::filesystem::copy(from, folder_, std::filesystem::copy_options::recursive);
  }
  ~CheckpointCopy() { std::filesystem::remove_all(folder_); }
  CheckpointCopy(const CheckpointCopy&) = delete;
  CheckpointCopy& operator=(const CheckpointCopy&) = delete;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

TEST(Generate, AnswersWithTheBundledModelAndStopsAtTheEnd) {
  const ProcessResult result = generate({"--prompt", chat("What is the capital of Norway?")});

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "The capital of Norway is Oslo.\n");
  EXPECT_THAT(result.err, HasSubstr("tokens/s"));
}

TEST(Generate, ContinuesIdsAsTheReferenceDoes) {
  const test_support::SafetensorsFile golden(kTiny / "golden.safetensors");
  const auto greedy = golden.ints("1.greedy");

  for (const char* threads : {"1", "2"}) {
    for (const char* chunk : {"3", "256"}) {
      const ProcessResult result = generate(
          {"--model-path", kTiny.string(), "--prompt-ids",
           comma_separated(golden.ints("1.input_ids")), "--max-new-tokens", "8", "--ignore-eos",
           "--arithmetic", "exact", "--threads", threads, "--chunked-prefill-size", chunk});

      EXPECT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(result.out, comma_separated(greedy.first(8)) + "\n");
    }
  }
}

TEST(Generate, ShowsALogProbabilityForEachToken) {
  const ProcessResult result =
      generate({"--prompt", chat("What is the capital of Norway?"), "--show-logprobs"});

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\" Oslo\"\n"));
  EXPECT_THAT(result.out, HasSubstr(" -0.0"));
}

TEST(Generate, RunsACheckpointWithoutATokenizerFromIds) {
  const test_support::SafetensorsFile golden(kData / "micro-bf16" / "golden.safetensors");
  const std::string folder = (kData / "micro-bf16").string();

  const ProcessResult ids =
      generate({folder, "--prompt-ids", comma_separated(golden.ints("7.input_ids")),
                "--max-new-tokens", "24", "--ignore-eos", "--arithmetic", "exact"});
  const ProcessResult text = generate({folder, "--prompt", "hello"});

  EXPECT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_EQ(ids.out, comma_separated(golden.ints("7.greedy")) + "\n");
  EXPECT_NE(text.exit_code, 0);
  EXPECT_THAT(text.err, HasSubstr("tokenizer.json"));
}

TEST(Generate, RefusesWhatItCannotDoInASentence) {
  const auto error_of = [](const std::vector<std::string>& args) {
    const ProcessResult result = generate(args);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    return result.err;
  };

  EXPECT_THAT(error_of({}), HasSubstr("give either --prompt or --prompt-ids"));
  EXPECT_THAT(error_of({"--prompt-ids", "1,x"}), HasSubstr("expected ids like"));
  EXPECT_THAT(error_of({"--prompt-ids", "999999"}),
              HasSubstr("token id 999999 is outside the vocabulary of 3072"));
  EXPECT_THAT(error_of({"--prompt-ids", "1", "--arithmetic", "fast"}),
              HasSubstr("--arithmetic is 'fast', expected exact or deployed"));
  EXPECT_THAT(
      error_of({"--prompt-ids", "1", "--arithmetic", "exact", "--kv-cache-dtype", "fp8_e4m3"}),
      HasSubstr("the caches of --arithmetic exact are float32"));
  EXPECT_THAT(error_of({"--prompt-ids", "1,2,3", "--context-length", "2"}),
              HasSubstr("the prompt has 3 tokens, the context 2"));
  EXPECT_THAT(error_of({"--no-such-option"}), HasSubstr("--no-such-option"));
}

TEST(Generate, NamesWhatIsWrongWithACheckpoint) {
  const CheckpointCopy copy(kData / "micro-bf16");
  const std::filesystem::path file = copy.folder() / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1000);

  const ProcessResult cut = generate({copy.folder().string(), "--prompt-ids", "1"});
  const ProcessResult missing = generate({"/no/such/folder", "--prompt-ids", "1"});

  EXPECT_NE(cut.exit_code, 0);
  EXPECT_LT(cut.exit_code, 128) << "ended by a signal";
  EXPECT_THAT(cut.err, HasSubstr("model.safetensors"));
  EXPECT_NE(missing.exit_code, 0);
  EXPECT_THAT(missing.err, HasSubstr("/no/such/folder"));
}

TEST(Program, ListsItsCommandsAndRefusesOthers) {
  const ProcessResult help = run_process(FATHOM_PROGRAM, {"--help"});
  const ProcessResult unknown = run_process(FATHOM_PROGRAM, {"fly"});
  const ProcessResult version = run_process(FATHOM_PROGRAM, {"--version"});

  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("generate"));
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("there is no command 'fly'"));
  EXPECT_THAT(version.out, StartsWith("fathom "));
}

}  // namespace
}  // namespace fathom::system_test
