// Published and computed vectors for real vocabularies (tests/data/text.tar.xz).

#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include "text/pattern_scanner.h"
#include "text/stream_decoder.h"
#include "text/test_sha256.h"
#include "text/test_tokenizer.h"
#include "text/tokenizer.h"

namespace fathom::text {
namespace {

using simdjson::dom::element;

std::string data_path(const std::string& name) {
  return std::string(FATHOM_TEST_DATA) + "/text/" + name;
}

std::string contents(const std::string& name) {
  std::ifstream in(data_path(name), std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

// One tokenizer per file for the whole program.
const Tokenizer& tokenizer(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Tokenizer>> loaded;
  std::unique_ptr<Tokenizer>& entry = loaded[name];
  if (entry == nullptr) {
    auto result = Tokenizer::load(data_path("tokenizer/" + name + "_tokenizer.json"));
    FATHOM_CHECK_MSG(result.ok(), result.status().message());
    entry = std::move(*result);
  }
  return *entry;
}

const Tokenizer& deepseek() { return tokenizer("deepseek_v32"); }

std::vector<TokenId> ids_of(const element& list) {
  std::vector<TokenId> ids;
  for (const element id : list.get_array()) ids.push_back(static_cast<TokenId>(std::int64_t(id)));
  return ids;
}

void expect_encodings(const Tokenizer& tokenizer, const std::string& vectors) {
  simdjson::dom::parser parser;
  for (const element entry : parser.load(data_path("vectors/" + vectors)).get_array()) {
    const std::string text(entry["text"]);
    const std::vector<TokenId> wanted = ids_of(entry["ids"]);

    EXPECT_EQ(tokenizer.encode(text), wanted) << text;
    EXPECT_EQ(tokenizer.decode(wanted), text);
  }
}

TEST(DeepSeekVectors, EncodeAndDecode) { expect_encodings(deepseek(), "encode_vectors.json"); }

TEST(Gpt2Vectors, EncodeAndDecode) {
  expect_encodings(tokenizer("gpt2"), "gpt2_encode_vectors.json");
}

TEST(DeepSeekVectors, PiecesBeforeMerging) {
  simdjson::dom::parser parser;
  for (const element entry :
       parser.load(data_path("vectors/pretokenize_vectors.json")).get_array()) {
    const std::string text(entry["text"]);
    std::vector<std::string_view> wanted;
    for (const element piece : entry["pieces"].get_array()) wanted.emplace_back(piece);
    std::vector<std::string_view> pieces;

    scan_deepseek(text, pieces);

    EXPECT_EQ(pieces, wanted) << text;
  }
}

TEST(DeepSeekVectors, LongPrompts) {
  simdjson::dom::parser parser;
  for (const element entry :
       parser.load(data_path("vectors/long_encode_checks.json")).get_array()) {
    const std::string file(entry["file"]);
    const std::vector<TokenId> ids = deepseek().encode(contents(file));

    ASSERT_EQ(ids.size(), std::uint64_t(entry["num_ids"])) << file;
    EXPECT_EQ(std::vector<TokenId>(ids.begin(), ids.begin() + 32), ids_of(entry["first32"]));
    EXPECT_EQ(std::vector<TokenId>(ids.end() - 32, ids.end()), ids_of(entry["last32"]));
    std::string joined;
    for (const TokenId id : ids) joined += (joined.empty() ? "" : ",") + std::to_string(id);
    EXPECT_EQ(sha256_hex(joined), std::string(entry["sha256_of_ids_joined_by_comma"])) << file;
    EXPECT_EQ(deepseek().decode(ids), contents(file)) << file;
  }
}

int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(hex_digit(hex[i]) * 16 + hex_digit(hex[i + 1]));
  }
  return bytes;
}

TEST(DeepSeekVectors, StreamedText) {
  simdjson::dom::parser parser;
  for (const element entry :
       parser.load(data_path("vectors/stream_detok_vectors.json")).get_array()) {
    StreamDecoder decoder(deepseek());
    for (const element step : entry["steps"].get_array()) {
      const auto id = static_cast<TokenId>(std::int64_t(step["id"]));
      std::string text;

      decoder.push(id, text);

      EXPECT_EQ(deepseek().token_bytes(id), from_hex(std::string_view(step["bytes"])));
      EXPECT_EQ(text, std::string(step["emit"])) << std::string(entry["text"]) << " at " << id;
    }
  }
}

TEST(DeepSeekTokenizer, KnowsItsMarkers) {
  EXPECT_EQ(deepseek().vocab_size(), 128815);
  EXPECT_EQ(deepseek().find_token("<｜begin▁of▁sentence｜>"), 0);
  EXPECT_EQ(deepseek().find_token("</think>"), 128799);
  EXPECT_EQ(deepseek().find_token("｜DSML｜"), std::nullopt);
  EXPECT_TRUE(deepseek().is_special(1));
  EXPECT_FALSE(deepseek().is_special(128799));
  EXPECT_EQ(deepseek().decode(std::vector<TokenId>{19923, 129000, 1}, true), "Hello");
}

TEST(DeepSeekTokenizer, LoadsInAMoment) {
  const std::string json = contents("tokenizer/deepseek_v32_tokenizer.json");
  const auto start = std::chrono::steady_clock::now();

  const auto loaded = Tokenizer::from_json({.tokenizer = json});

  ASSERT_TRUE(loaded.ok());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  RecordProperty("load_ms", static_cast<int>(took.count() * 1000));
  EXPECT_LT(took.count(), 5.0);
}

// With a quadratic step any of these would take minutes.
TEST(DeepSeekTokenizer, LongPiecesStayCheap) {
  std::string mixed;
  for (unsigned i = 0; mixed.size() < (1U << 20); ++i) mixed += static_cast<char>('a' + i * i % 23);
  std::string han;
  while (han.size() < (1U << 20)) han += "的一是不了人我在有他这中大来上国";
  const auto start = std::chrono::steady_clock::now();

  for (const std::string& text :
       {mixed, han, std::string(1 << 20, ' '), std::string(1 << 20, '='),
        std::string(1 << 20, '\n'), std::string(1 << 20, '<'), std::string(1 << 20, '\xFF')}) {
    const std::vector<TokenId> ids = deepseek().encode(text);
    EXPECT_EQ(bytes_of(deepseek(), ids), text);
  }

  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(TinyTokenizer, EncodesBytes) {
  const Tokenizer& tiny = tokenizer("tiny_bytelevel");

  EXPECT_EQ(tiny.vocab_size(), 257);
  EXPECT_EQ(tiny.find_token("<|endoftext|>"), 256);
  EXPECT_EQ(tiny.decode(tiny.encode("Hi 中<|endoftext|>")), "Hi 中<|endoftext|>");
}

}  // namespace
}  // namespace fathom::text
