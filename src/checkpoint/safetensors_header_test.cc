#include "checkpoint/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::checkpoint {
namespace {

using testing::HasSubstr;

// A file of a header and `data_bytes` bytes of data.
std::string file_of(const std::string& json, std::size_t data_bytes) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(json.size() >> (8 * i) & 0xFFU);
  return file + json + std::string(data_bytes, 'd');
}

Result<SafetensorsHeader> parse_bytes(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file.data(), file.size())));
}

Result<SafetensorsHeader> parse(const std::string& json, std::size_t data_bytes) {
  return parse_bytes(file_of(json, data_bytes));
}

std::string refusal(const std::string& json, std::size_t data_bytes) {
  const Status status = parse(json, data_bytes).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  return status.message();
}

TEST(SafetensorsHeader, ListsTensorsInTheOrderOfTheirBytes) {
  const std::string json = R"({"__metadata__": {"format": "pt"},
    "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},
    "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    "empty": {"dtype": "F8_E4M3", "shape": [0, 5], "data_offsets": [16, 16]},
    "scalar": {"dtype": "U8", "shape": [], "data_offsets": [16, 17]}}  )";

  const SafetensorsHeader header = parse(json, 17).value();

  const auto begin = static_cast<std::int64_t>(8 + json.size());
  EXPECT_EQ(header.data_begin, begin);
  ASSERT_EQ(header.tensors.size(), 4U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.tensors[1].dtype, DType::kBF16);
  EXPECT_EQ(header.tensors[1].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(header.tensors[1].begin, begin + 4);
  EXPECT_EQ(header.tensors[1].end, begin + 16);
  EXPECT_EQ(header.tensors[2].name, "empty");
  EXPECT_EQ(header.tensors[3].name, "scalar");
}

TEST(SafetensorsHeader, TakesAFileWithoutTensors) { EXPECT_TRUE(parse("{}", 0)->tensors.empty()); }

TEST(SafetensorsHeader, RefusesLengthsThatCannotBe) {
  EXPECT_EQ(parse_bytes("1234567").status().message(),
            "the file has 7 bytes, too few for a safetensors header");
  std::string longer = file_of("{}", 0);
  longer[0] = 3;
  EXPECT_EQ(parse_bytes(longer).status().message(),
            "the header's length is 3, but the file has 10 bytes");
  longer[7] = 1;
  EXPECT_EQ(parse_bytes(longer).status().message(),
            "the header's length is 72057594037927939, expected at most 100000000");
}

TEST(SafetensorsHeader, RefusesWhatIsNoHeader) {
  EXPECT_THAT(refusal("", 0), HasSubstr("the header is not a JSON object: "));
  EXPECT_THAT(refusal("{", 0), HasSubstr("the header is not a JSON object: "));
  EXPECT_THAT(refusal("[]", 0), HasSubstr("the header is not a JSON object: "));
  EXPECT_THAT(refusal("{\"a\xff\": 1}", 0), HasSubstr("the header is not a JSON object: "));
  EXPECT_EQ(refusal(R"({"a": 1})", 0),
            "tensor 'a': expected an object with dtype, shape and data_offsets");
  EXPECT_EQ(refusal(R"({"a": {"dtype": "F32", "shape": [1]}})", 4),
            "tensor 'a': expected an object with dtype, shape and data_offsets");
}

TEST(SafetensorsHeader, RefusesANameThatComesTwice) {
  EXPECT_EQ(refusal(R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                        "a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}})",
                    2),
            "the header has 'a' twice");
}

TEST(SafetensorsHeader, RefusesDTypesItDoesNotRead) {
  const auto with = [](const char* dtype) {
    return refusal(
        R"({"a": {"dtype": )" + std::string(dtype) + R"(, "shape": [1], "data_offsets": [0, 8]}})",
        8);
  };
  EXPECT_EQ(with("\"F64\""),
            "tensor 'a': dtype is 'F64', expected F32, BF16, F16, F8_E4M3, I32 or U8");
  EXPECT_EQ(with("\"bf16\""),
            "tensor 'a': dtype is 'bf16', expected F32, BF16, F16, F8_E4M3, I32 or U8");
  EXPECT_EQ(with("8"), "tensor 'a': dtype is not a string");
}

TEST(SafetensorsHeader, RefusesShapesAndOffsetsThatAreNoSizes) {
  const auto with = [](const std::string& shape, const std::string& offsets) {
    return refusal(
        R"({"a": {"dtype": "F32", "shape": )" + shape + R"(, "data_offsets": )" + offsets + "}}",
        8);
  };
  EXPECT_EQ(with("[-2]", "[0, 8]"), "tensor 'a': shape is not a list of integers, 0 or more");
  EXPECT_EQ(with("[2.0]", "[0, 8]"), "tensor 'a': shape is not a list of integers, 0 or more");
  EXPECT_EQ(with("2", "[0, 8]"), "tensor 'a': shape is not a list of integers, 0 or more");
  EXPECT_EQ(with("[2]", "[8]"), "tensor 'a': data_offsets is not a pair of integers, 0 or more");
  EXPECT_EQ(with("[2]", "[-8, 0]"),
            "tensor 'a': data_offsets is not a pair of integers, 0 or more");
  EXPECT_EQ(with("[2]", "[8, 0]"),
            "tensor 'a': data_offsets are [8, 0], but the file has 8 bytes of data");
  EXPECT_EQ(with("[3]", "[0, 12]"),
            "tensor 'a': data_offsets are [0, 12], but the file has 8 bytes of data");
  EXPECT_EQ(with("[2]", "[0, 9223372036854775807]"),
            "tensor 'a': data_offsets are [0, 9223372036854775807], but the file has 8 bytes of "
            "data");
  EXPECT_EQ(with("[1]", "[0, 8]"), "tensor 'a': data_offsets hold 8 bytes, but f32[1] takes 4");
  EXPECT_EQ(with("[4294967296, 4294967296]", "[0, 8]"),
            "tensor 'a': data_offsets hold 8 bytes, but f32[4294967296, 4294967296] takes more "
            "than 2^63");
}

TEST(SafetensorsHeader, RefusesDataThatIsNotCoveredOnce) {
  const auto with = [](const std::string& a, const std::string& b, std::size_t bytes) {
    return refusal(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": )" + a +
                       R"(}, "b": {"dtype": "U8", "shape": [4], "data_offsets": )" + b + "}}",
                   bytes);
  };
  EXPECT_EQ(with("[0, 4]", "[3, 7]", 7), "tensors 'a' and 'b' overlap");
  EXPECT_EQ(with("[0, 4]", "[0, 4]", 4), "tensors 'a' and 'b' overlap");
  EXPECT_EQ(with("[0, 4]", "[6, 10]", 10),
            "tensor 'b' begins 2 bytes after the end of the data before it");
  EXPECT_EQ(with("[4, 8]", "[8, 12]", 12),
            "tensor 'a' begins 4 bytes after the end of the data before it");
  EXPECT_EQ(with("[0, 4]", "[4, 8]", 11), "the file has 3 bytes after its last tensor");
}

TEST(SafetensorsHeader, CutsNamesThatAreNoNames) {
  const std::string message = refusal("{\"" + std::string(5000, 'n') + "\\u0007\": 1}", 0);

  EXPECT_LT(message.size(), 300U);
  EXPECT_EQ(refusal(R"({"a\nb": 1})", 0),
            "tensor 'a?b': expected an object with dtype, shape and data_offsets");
}

}  // namespace
}  // namespace fathom::checkpoint
