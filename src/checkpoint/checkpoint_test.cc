#include "checkpoint/checkpoint.h"

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint_testing.h"

namespace fathom::checkpoint {
namespace {

using testing::HasSubstr;
using Kind = TensorSpec::Kind;

// What the tests' model expects: a norm, an FP8 or BF16 matrix, a plain matrix, an optional copy.
std::vector<TensorSpec> expected() {
  return {{"norm.weight", {3}, Kind::kVector, false},
          {"proj.weight", {130, 4}, Kind::kMatrix, false},
          {"gate.weight", {2, 3}, Kind::kPlainMatrix, false},
          {"copy.weight", {2, 3}, Kind::kPlainMatrix, true}};
}

std::vector<TestTensor> tensors() {
  return {floats("norm.weight", {3}, {1, 2, 3}),
          filled("proj.weight", DType::kF8E4M3, {130, 4}, 0x38),
          floats("proj.weight_scale_inv", {2, 1}, {0.5F, 0.25F}),
          filled("gate.weight", DType::kBF16, {2, 3})};
}

Result<std::unique_ptr<Checkpoint>> open_with(const TestFolder& folder,
                                              const std::vector<TestTensor>& stored) {
  folder.write_tensors("model.safetensors", stored);
  return Checkpoint::open(folder.path(), expected());
}

// The refusal, without the folder's name.
std::string refusal(const TestFolder& folder, const std::vector<TestTensor>& stored) {
  const Status status = open_with(folder, stored).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message().find(folder.path().string()), 0U) << status.message();
  return status.message().substr(folder.path().string().size());
}

TEST(Checkpoint, ShowsTensorsWhereTheyLie) {
  const TestFolder folder;
  const auto opened = open_with(folder, tensors());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const Checkpoint& checkpoint = **opened;

  const WeightView norm = checkpoint.weight("norm.weight");
  const WeightView proj = checkpoint.weight("proj.weight");

  EXPECT_EQ(norm.values.describe(), "f32[3]");
  EXPECT_EQ(static_cast<const float*>(norm.values.data)[2], 3);
  EXPECT_FALSE(norm.scales.present());
  EXPECT_EQ(proj.values.describe(), "f8_e4m3[130, 4]");
  EXPECT_EQ(*proj.values.row<std::uint8_t>(129), 0x38);
  EXPECT_EQ(proj.scales.describe(), "f32[2, 1]");
  EXPECT_EQ(*proj.scales.row<float>(1), 0.25F);
  EXPECT_TRUE(checkpoint.has("gate.weight"));
  EXPECT_FALSE(checkpoint.has("copy.weight"));
  EXPECT_FALSE(checkpoint.has("proj.weight_scale_inv"));
  EXPECT_EQ(checkpoint.data_bytes(), 12 + 520 + 8 + 12);
  EXPECT_EQ(checkpoint.stored_tensors(), 4);
  EXPECT_EQ(checkpoint.files(), 1);
  EXPECT_TRUE(checkpoint.health().ok());
  checkpoint.prefetch("proj.weight");
}

TEST(Checkpoint, CopiesATensorWhoseBytesAreNotAligned) {
  const TestFolder folder;
  const auto opened = Checkpoint::open(
      (folder.write_tensors("model.safetensors",
                            {filled("odd", DType::kF8E4M3, {1, 1}, 0x38),
                             floats("odd_scale_inv", {1, 1}, {2}), floats("norm", {2}, {5, 6})}),
       folder.path()),
      {{"odd", {1, 1}, Kind::kMatrix, false}, {"norm", {2}, Kind::kVector, false}});
  ASSERT_TRUE(opened.ok()) << opened.status().message();

  const WeightView norm = (*opened)->weight("norm");

  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(norm.values.data) % 4, 0U);
  EXPECT_EQ(static_cast<const float*>(norm.values.data)[1], 6);
  EXPECT_EQ(static_cast<const float*>((*opened)->weight("odd").scales.data)[0], 2);
}

TEST(Checkpoint, TakesAMatrixWithoutQuantisation) {
  const TestFolder folder;
  std::vector<TestTensor> stored = tensors();
  stored[1] = filled("proj.weight", DType::kBF16, {130, 4});
  stored.erase(stored.begin() + 2);

  const auto opened = open_with(folder, stored);

  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_FALSE((*opened)->weight("proj.weight").scales.present());
}

TEST(Checkpoint, RefusesMissingAndUnexpectedTensors) {
  const TestFolder folder;
  std::vector<TestTensor> stored = tensors();
  stored.pop_back();
  EXPECT_EQ(refusal(folder, stored), ": tensor 'gate.weight' is missing");
  stored.erase(stored.begin());
  EXPECT_EQ(refusal(folder, stored), ": 2 tensors are missing, the first of them 'gate.weight'");

  stored = tensors();
  stored.push_back(filled("extra", DType::kF32, {1}));
  EXPECT_EQ(refusal(folder, stored),
            "/model.safetensors: tensor 'extra' is not a part of this model");
  stored.push_back(filled("norm.weight_scale_inv", DType::kF32, {1}));
  EXPECT_EQ(refusal(folder, stored),
            "/model.safetensors: 2 tensors are not a part of this model, the first of them "
            "'extra'");
}

TEST(Checkpoint, RefusesOtherShapesAndDTypes) {
  const TestFolder folder;
  const auto with = [&](std::size_t which, TestTensor tensor) {
    std::vector<TestTensor> stored = tensors();
    stored[which] = std::move(tensor);
    return refusal(folder, stored);
  };
  EXPECT_EQ(with(0, filled("norm.weight", DType::kF32, {4})),
            "/model.safetensors: tensor 'norm.weight': shape is [4], expected [3]");
  EXPECT_EQ(with(0, filled("norm.weight", DType::kF32, {1, 3})),
            "/model.safetensors: tensor 'norm.weight': shape is [1, 3], expected [3]");
  EXPECT_EQ(with(0, filled("norm.weight", DType::kF8E4M3, {3})),
            "/model.safetensors: tensor 'norm.weight': dtype is f8_e4m3, expected f32, bf16 or "
            "f16");
  EXPECT_EQ(with(1, filled("proj.weight", DType::kU8, {130, 4})),
            "/model.safetensors: tensor 'proj.weight': dtype is u8, expected f32, bf16, f16 or "
            "f8_e4m3");
  EXPECT_EQ(with(3, filled("gate.weight", DType::kF8E4M3, {2, 3})),
            "/model.safetensors: tensor 'gate.weight': dtype is f8_e4m3, expected f32, bf16 or "
            "f16");
}

TEST(Checkpoint, ChecksAnOptionalTensorThatIsThere) {
  const TestFolder folder;
  std::vector<TestTensor> stored = tensors();
  stored.push_back(filled("copy.weight", DType::kBF16, {2, 3}));
  EXPECT_TRUE((*open_with(folder, stored))->has("copy.weight"));

  stored.back() = filled("copy.weight", DType::kBF16, {3, 2});
  EXPECT_EQ(refusal(folder, stored),
            "/model.safetensors: tensor 'copy.weight': shape is [3, 2], expected [2, 3]");
}

TEST(Checkpoint, RefusesScalesThatDoNotBelong) {
  const TestFolder folder;
  std::vector<TestTensor> stored = tensors();
  stored[2] = filled("proj.weight_scale_inv", DType::kF32, {1, 2});
  EXPECT_EQ(refusal(folder, stored),
            "/model.safetensors: tensor 'proj.weight_scale_inv': shape is [1, 2], expected [2, 1]");
  stored[2] = filled("proj.weight_scale_inv", DType::kBF16, {2, 1});
  EXPECT_EQ(refusal(folder, stored),
            "/model.safetensors: tensor 'proj.weight_scale_inv': dtype is bf16, expected f32");
  stored.erase(stored.begin() + 2);
  EXPECT_EQ(refusal(folder, stored),
            "/model.safetensors: tensor 'proj.weight': dtype is f8_e4m3, but "
            "'proj.weight_scale_inv' is missing");
  stored = tensors();
  stored[1] = filled("proj.weight", DType::kBF16, {130, 4});
  EXPECT_EQ(refusal(folder, stored),
            "/model.safetensors: tensor 'proj.weight': dtype is bf16, but there is "
            "'proj.weight_scale_inv'");
}

TEST(Checkpoint, NamesAFolderOrFileThatIsNotThere) {
  const TestFolder folder;
  const std::string path = folder.path().string();
  EXPECT_EQ(Checkpoint::open(folder.path() / "no", {}).status().message(),
            path + "/no: there is no such folder");
  EXPECT_EQ(Checkpoint::open(folder.path(), {}).status().message(),
            path + ": has neither model.safetensors.index.json nor model.safetensors");
  std::filesystem::create_directory(folder.path() / "model.safetensors");
  EXPECT_EQ(Checkpoint::open(folder.path(), {}).status().message(),
            path + "/model.safetensors: this is a folder, expected a file");
}

TEST(Checkpoint, NamesAFileThatIsCutShort) {
  const TestFolder folder;
  folder.write_tensors("model.safetensors", tensors());
  const std::filesystem::path file = folder.path() / "model.safetensors";

  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  EXPECT_EQ(Checkpoint::open(folder.path(), expected()).status().message(),
            file.string() +
                ": tensor 'gate.weight': data_offsets are [540, 552], but the file has 551 bytes "
                "of data");
  std::filesystem::resize_file(file, 0);
  EXPECT_EQ(Checkpoint::open(folder.path(), expected()).status().message(),
            file.string() + ": the file is empty");
}

// Two shards and an index that places `tensor` of the tests in `file`.
class ShardedCheckpoint : public testing::Test {
 protected:
  ShardedCheckpoint() {
    const std::vector<TestTensor> all = tensors();
    folder_.write_tensors("m-1.safetensors", {all[0], all[2]});
    folder_.write_tensors("m-2.safetensors", {all[1], all[3]});
  }

  std::string open_with(const std::vector<IndexEntry>& entries) {
    folder_.write_text("model.safetensors.index.json", shard_index_json(entries, 0));
    const Status status = Checkpoint::open(folder_.path(), expected()).status();
    if (status.ok()) return "";
    return status.message().substr(folder_.path().string().size());
  }

  std::vector<IndexEntry> entries_ = {{"norm.weight", "m-1.safetensors"},
                                      {"proj.weight_scale_inv", "m-1.safetensors"},
                                      {"proj.weight", "m-2.safetensors"},
                                      {"gate.weight", "m-2.safetensors"}};
  TestFolder folder_;
};

TEST_F(ShardedCheckpoint, FindsAMatrixAndItsScalesInTwoFiles) {
  ASSERT_EQ(open_with(entries_), "");

  const auto opened = Checkpoint::open(folder_.path(), expected()).value();

  EXPECT_EQ(opened->files(), 2);
  EXPECT_EQ(*opened->weight("proj.weight").scales.row<float>(0), 0.5F);
}

TEST_F(ShardedCheckpoint, RefusesAnIndexThatDisagreesWithItsFiles) {
  std::vector<IndexEntry> wrong = entries_;
  wrong[0].file = "m-2.safetensors";
  EXPECT_EQ(
      open_with(wrong),
      "/m-1.safetensors: tensor 'norm.weight' is in this file, but the index does not place it "
      "here");
  wrong = entries_;
  wrong.push_back({"absent", "m-2.safetensors"});
  EXPECT_EQ(open_with(wrong),
            "/m-2.safetensors: tensor 'absent' is not in this file, where the index places it");
  wrong = entries_;
  wrong[2].file = wrong[3].file = "m-3.safetensors";
  EXPECT_EQ(open_with(wrong), "/m-3.safetensors: there is no such file");
  wrong = entries_;
  wrong[2].file = "../m-2.safetensors";
  EXPECT_THAT(open_with(wrong),
              HasSubstr("/model.safetensors.index.json: weight_map: tensor 'proj.weight'"));
  folder_.write_text("model.safetensors.index.json", "{");
  EXPECT_THAT(Checkpoint::open(folder_.path(), expected()).status().message(),
              HasSubstr("/model.safetensors.index.json: not a JSON object"));
}

TEST(Checkpoint, TellsOfAFileThatShrankWhileOpen) {
  const TestFolder folder;
  const std::int64_t rows = 4 * ::sysconf(_SC_PAGESIZE);
  const std::vector<TensorSpec> specs = {{"a", {rows, 1}, Kind::kPlainMatrix, false},
                                         {"b", {rows, 1}, Kind::kPlainMatrix, false}};
  folder.write_tensors("model.safetensors", {filled("a", DType::kBF16, {rows, 1}, 1),
                                             filled("b", DType::kBF16, {rows, 1}, 1)});
  const auto checkpoint = Checkpoint::open(folder.path(), specs).value();
  ASSERT_TRUE(checkpoint->health().ok());

  const std::filesystem::path file = folder.path() / "model.safetensors";
  const std::uintmax_t kept = std::filesystem::file_size(file) - static_cast<std::uintmax_t>(rows);
  std::filesystem::resize_file(file, kept);

  EXPECT_EQ(*checkpoint->weight("b").values.row<volatile std::uint16_t>(rows - 1), 0);
  EXPECT_EQ(*checkpoint->weight("a").values.row<volatile std::uint16_t>(rows - 1), 0x0101);
  EXPECT_EQ(checkpoint->health().code(), Code::kUnavailable);
  EXPECT_EQ(checkpoint->health().message(),
            file.string() + ": tensor 'b' can no longer be read from byte " + std::to_string(kept) +
                " on: the file was cut short or its disk failed");
}

}  // namespace
}  // namespace fathom::checkpoint
