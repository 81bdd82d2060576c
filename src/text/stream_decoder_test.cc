#include "text/stream_decoder.h"

#include <random>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "text/test_tokenizer.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

// Byte tokens with id = byte; 256 is "<think>", 257 the special "<eos>".
std::unique_ptr<Tokenizer> byte_tokenizer() {
  return make_tokenizer({.added_tokens = R"([{"id":256,"content":"<think>","special":false},)"
                                         R"({"id":257,"content":"<eos>","special":true}])"});
}

TEST(StreamDecoder, HandsOutACharacterWithItsLastByte) {
  const auto tokenizer = byte_tokenizer();
  StreamDecoder decoder(*tokenizer);
  std::string out;

  for (const TokenId id : {0xF0, 0x9F, 0x98}) decoder.push(id, out);
  EXPECT_EQ(out, "");
  EXPECT_EQ(decoder.pending_bytes(), 3U);
  decoder.push(0x80, out);

  EXPECT_EQ(out, "😀");
  EXPECT_EQ(decoder.pending_bytes(), 0U);
}

TEST(StreamDecoder, SkipsSpecialTokensAloneAndOnlyOnRequest) {
  const auto tokenizer = byte_tokenizer();
  std::string all;
  std::string skipped;
  StreamDecoder decoder(*tokenizer);
  StreamDecoder skipping(*tokenizer, /*skip_special_tokens=*/true);

  for (const int id : {int{'a'}, 256, 257, 300, -5}) {
    decoder.push(id, all);
    skipping.push(id, skipped);
  }

  EXPECT_EQ(all, "a<think><eos>");
  EXPECT_EQ(skipped, "a<think>");
}

TEST(StreamDecoder, FlushEndsAnUnfinishedCharacterAndStartsAfresh) {
  const auto tokenizer = byte_tokenizer();
  StreamDecoder decoder(*tokenizer);
  std::string out;

  decoder.push(0xE4, out);
  decoder.flush(out);
  decoder.push('x', out);
  decoder.flush(out);

  EXPECT_EQ(out, "\uFFFDx");
}

// What was pushed before leaves nothing behind but the fixed few bytes of the object, so no push
// can cost more because of it.
static_assert(std::is_trivially_copyable_v<StreamDecoder> && sizeof(StreamDecoder) <= 32);

TEST(StreamDecoder, HandsOutExactlyTheWholeCharactersSoFar) {
  TestTokenizer parts{
      .merges = {{"a", "a"}, {"ä", "¸"}, {"Ń", "ä"}, {"ð", "Ł"}, {"ĺ", "Ģ"}, {"Ġ", "ä"}}};
  const auto tokenizer = make_tokenizer(parts);
  std::mt19937 random(7);  // NOLINT(bugprone-random-generator-seed)
  for (int step = 0; step < 2000; ++step) {
    const std::string text = random_text(random, 12) + "中 中a" + random_text(random, 12);
    StreamDecoder decoder(*tokenizer);
    std::string bytes;
    std::string out;
    for (const TokenId id : tokenizer->encode(text)) {
      std::string piece;
      bytes += tokenizer->token_bytes(id);

      decoder.push(id, piece);

      ASSERT_EQ(valid_utf8_prefix(piece), piece.size()) << step;
      out += piece;
      ASSERT_EQ(out, bytes.substr(0, valid_utf8_prefix(bytes))) << step;
      ASSERT_EQ(decoder.pending_bytes(), bytes.size() - out.size()) << step;
    }
    decoder.flush(out);
    ASSERT_EQ(out, text) << step;
  }
}

TEST(StreamDecoder, AllPiecesTogetherAreWhatDecodeMakes) {
  const auto tokenizer = byte_tokenizer();
  std::mt19937 random(4);  // NOLINT(bugprone-random-generator-seed)
  for (int step = 0; step < 2000; ++step) {
    std::vector<TokenId> ids;
    for (unsigned i = 0; i < random() % 20; ++i) {
      ids.push_back(static_cast<TokenId>(random() % 260));
    }
    for (const bool skip : {false, true}) {
      StreamDecoder decoder(*tokenizer, skip);
      std::string out;
      for (const TokenId id : ids) decoder.push(id, out);
      decoder.flush(out);

      ASSERT_EQ(out, tokenizer->decode(ids, skip)) << step;
    }
  }
}

}  // namespace
}  // namespace fathom::text
