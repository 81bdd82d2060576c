#include "checkpoint/writer.h"

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/shard_index.h"

namespace fathom::checkpoint {
namespace {

TEST(SafetensorsWriter, WritesWhatTheParserReads) {
  const TestFolder folder;
  folder.write_tensors("a.safetensors", {floats("x\"y\\z", {2}, {1.5F, -2.0F}),
                                         filled("codes", DType::kF8E4M3, {3, 5}, 0x38)});

  const auto file = MappedFile::open(folder.path() / "a.safetensors").value();
  const SafetensorsHeader header = parse_safetensors_header(file->bytes()).value();

  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.data_begin % 64, 0);
  EXPECT_EQ(header.tensors[0].name, "x\"y\\z");
  EXPECT_EQ(header.tensors[1].dtype, DType::kF8E4M3);
  float second = 0;
  std::memcpy(&second, file->bytes().data() + header.data_begin + 4, 4);
  EXPECT_EQ(second, -2.0F);
  EXPECT_EQ(file->bytes().back(), std::byte{0x38});
}

TEST(SafetensorsWriter, NamesTheFileItCannotWrite) {
  const auto refused = SafetensorsWriter::create("/no/such/folder/a.safetensors", {});

  EXPECT_EQ(refused.status().code(), Code::kUnavailable);
  EXPECT_EQ(refused.status().message(), "/no/such/folder/a.safetensors: cannot be written");
}

TEST(ShardIndexJson, WritesWhatTheParserReads) {
  const std::string json = shard_index_json({{"a", "1.safetensors"}, {"b", "2.safetensors"}}, 12);

  const ShardIndex index = parse_shard_index(json).value();

  ASSERT_EQ(index.shards.size(), 2U);
  EXPECT_EQ(index.shards[1].tensors.front(), "b");
}

}  // namespace
}  // namespace fathom::checkpoint
