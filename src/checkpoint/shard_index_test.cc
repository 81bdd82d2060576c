#include "checkpoint/shard_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::checkpoint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const std::string& json) {
  const Status status = parse_shard_index(json).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  return status.message();
}

TEST(ShardIndex, GroupsTensorsByFile) {
  const ShardIndex index = parse_shard_index(R"({"metadata": {"total_size": 3}, "weight_map": {
        "z": "model-2.safetensors", "c": "model-1.safetensors", "b": "model-2.safetensors"}})")
                               .value();

  ASSERT_EQ(index.shards.size(), 2U);
  EXPECT_EQ(index.shards[0].file, "model-1.safetensors");
  EXPECT_THAT(index.shards[0].tensors, ElementsAre("c"));
  EXPECT_EQ(index.shards[1].file, "model-2.safetensors");
  EXPECT_THAT(index.shards[1].tensors, ElementsAre("b", "z"));
}

TEST(ShardIndex, RefusesWhatIsNoIndex) {
  EXPECT_THAT(refusal(""), HasSubstr("not a JSON object: "));
  EXPECT_THAT(refusal("[]"), HasSubstr("not a JSON object: "));
  EXPECT_EQ(refusal("{}"), "weight_map is missing, or is not an object");
  EXPECT_EQ(refusal(R"({"weight_map": []})"), "weight_map is missing, or is not an object");
  EXPECT_EQ(refusal(R"({"weight_map": {}})"), "weight_map is empty");
  EXPECT_EQ(refusal(R"({"weight_map": {"a": "m.safetensors", "a": "m.safetensors"}})"),
            "weight_map has tensor 'a' twice");
}

TEST(ShardIndex, RefusesATensorInTwoFiles) {
  EXPECT_EQ(refusal(R"({"weight_map": {"a": "m.safetensors", "a": "n.safetensors"}})"),
            "weight_map has tensor 'a' twice");
}

TEST(ShardIndex, RefusesFilesOutsideItsFolder) {
  for (const char* file :
       {"../m.safetensors", "/etc/m.safetensors", "sub/m.safetensors", "..", "", ".safetensors",
        "model.bin", "a\\\\m.safetensors", "a\\u0000.safetensors"}) {
    const std::string json = R"({"weight_map": {"a": ")" + std::string(file) + "\"}}";

    EXPECT_THAT(refusal(json), HasSubstr("expected a name without folders that ends in "
                                         ".safetensors"))
        << json;
  }
  EXPECT_EQ(refusal(R"({"weight_map": {"a": 4}})"),
            "weight_map: tensor 'a': the file is '4', expected a name without folders that ends in "
            ".safetensors");
}

}  // namespace
}  // namespace fathom::checkpoint
