#include "text/tokenizer.h"

#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/stream_decoder.h"
#include "text/test_tokenizer.h"

namespace fathom::text {
namespace {

using ::testing::ElementsAre;

// "he" 256, "ll" 257, "hell" 258, "Ġw" 259, and two markers.
TestTokenizer hello_parts() {
  return {.merges = {{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"Ġ", "w"}},
          .added_tokens = R"([{"id":260,"content":"<s>","special":true},)"
                          R"({"id":261,"content":"<t>","special":false}])"};
}

TEST(Tokenizer, MergesInsideThePiecesOnly) {
  TestTokenizer parts = hello_parts();

  EXPECT_THAT(make_tokenizer(parts)->encode("hello w"), ElementsAre(258, 'o', 259));
  parts.pre_tokenizer =
      R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"el"},)"
      R"("behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]})";
  EXPECT_THAT(make_tokenizer(parts)->encode("hello"), ElementsAre('h', 'e', 'l', 'l', 'o'));
}

TEST(Tokenizer, ByteLevelSplitsLikeGpt2UnlessToldNotTo) {
  TestTokenizer parts{.merges = {{"a", "1"}}};

  EXPECT_THAT(make_tokenizer(parts)->encode("a1"), ElementsAre(256));
  parts.pre_tokenizer = R"({"type":"ByteLevel"})";
  EXPECT_THAT(make_tokenizer(parts)->encode("a1"), ElementsAre('a', '1'));
}

TEST(Tokenizer, DigitsCutEachDigitOrEachNumber) {
  TestTokenizer parts{.merges = {{"1", "2"}, {"a", "1"}}};
  const auto with_digits = [&parts](const std::string& individual) {
    parts.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[{"type":"Digits",)"
                          R"("individual_digits":)" +
                          individual + R"(},{"type":"ByteLevel","use_regex":false}]})";
    return make_tokenizer(parts)->encode("a12");
  };

  EXPECT_THAT(with_digits("true"), ElementsAre('a', '1', '2'));
  EXPECT_THAT(with_digits("false"), ElementsAre('a', 256));
}

TEST(Tokenizer, APrefixSpaceGoesWhereNoneIs) {
  TestTokenizer parts = hello_parts();
  parts.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":true})";
  const auto tokenizer = make_tokenizer(parts);

  EXPECT_THAT(tokenizer->encode("w"), ElementsAre(259));
  EXPECT_THAT(tokenizer->encode(" w w"), ElementsAre(259, 259));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre());
}

TEST(Tokenizer, AddedTokensAreMatchedUnlessToldNotTo) {
  const auto tokenizer = make_tokenizer(hello_parts());

  EXPECT_THAT(tokenizer->encode("a<s><t>"), ElementsAre('a', 260, 261));
  EXPECT_THAT(tokenizer->encode("<s>", {.match_added_tokens = false}), ElementsAre('<', 's', '>'));
  EXPECT_TRUE(tokenizer->is_special(260));
  EXPECT_FALSE(tokenizer->is_special(261));
  EXPECT_TRUE(tokenizer->is_added(261));
  EXPECT_FALSE(tokenizer->is_added('a'));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{'a', 260, 261, 999}), "a<s><t>");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{'a', 260, 261}, true), "a<t>");
}

TEST(Tokenizer, TokensAreLookedUpByTheirBytes) {
  const auto tokenizer = make_tokenizer(hello_parts());

  EXPECT_EQ(tokenizer->find_token(" w"), 259);
  EXPECT_EQ(tokenizer->find_token("<t>"), 261);
  EXPECT_EQ(tokenizer->find_token("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer->token_bytes(259), " w");
  EXPECT_EQ(tokenizer->vocab_size(), 262);
}

TEST(Tokenizer, SpecialTokensGoAroundATextOnceAndOnRequest) {
  TestTokenizer parts = hello_parts();
  parts.post_processor =
      R"({"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",)"
      R"("single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},)"
      R"({"SpecialToken":{"id":"<t>","type_id":0}}],"special_tokens":{)"
      R"("<s>":{"id":"<s>","ids":[260],"tokens":["<s>"]},)"
      R"("<t>":{"id":"<t>","ids":[261],"tokens":["<t>"]}}}]})";
  const auto tokenizer = make_tokenizer(parts);

  EXPECT_THAT(tokenizer->encode("a"), ElementsAre('a'));
  EXPECT_THAT(tokenizer->encode("a", {.add_special_tokens = true}), ElementsAre(260, 'a', 261));
  EXPECT_THAT(tokenizer->encode("<s>a", {.add_special_tokens = true}), ElementsAre(260, 'a', 261));
}

TEST(Tokenizer, TheConfigurationsFlagDecidesOverTheTemplate) {
  const std::string json = json_of(hello_parts());
  const auto with_flag = [&json](std::string_view config) {
    const auto tokenizer = Tokenizer::from_json({.tokenizer = json, .tokenizer_config = config});
    EXPECT_TRUE(tokenizer.ok());
    return (*tokenizer)->encode("a", {.add_special_tokens = true});
  };

  EXPECT_THAT(with_flag(R"({"bos_token":"<s>","add_bos_token":true})"), ElementsAre(260, 'a'));
  EXPECT_THAT(with_flag(R"({"bos_token":"<s>","add_bos_token":false})"), ElementsAre('a'));
  EXPECT_THAT(with_flag(R"({"bos_token":"<s>"})"), ElementsAre('a'));
}

TEST(Tokenizer, EveryBytePatternComesBack) {
  TestTokenizer parts = hello_parts();
  std::mt19937 random(5);  // NOLINT(bugprone-random-generator-seed)
  const std::string unknown_regex =
      R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+|\\d"},)"
      R"("behavior":"MergedWithNext"},{"type":"ByteLevel"}]})";
  for (const std::string& pre_tokenizer : {deepseek_pre_tokenizer(), unknown_regex}) {
    parts.pre_tokenizer = pre_tokenizer;
    const auto tokenizer = make_tokenizer(parts);
    for (int step = 0; step < 3000; ++step) {
      std::string text = random_text(random, 20);
      for (unsigned i = 0; i < random() % 6; ++i) {
        const auto byte = static_cast<char>(random() % 256);
        text.insert(text.begin() + static_cast<std::ptrdiff_t>(random() % (text.size() + 1)), byte);
      }

      const std::vector<TokenId> ids = tokenizer->encode(text);

      ASSERT_EQ(bytes_of(*tokenizer, ids), text) << step;
    }
  }
}

TEST(Tokenizer, EncodesTheSameFromManyThreads) {
  TestTokenizer parts = hello_parts();
  parts.pre_tokenizer = deepseek_pre_tokenizer();
  const auto tokenizer = make_tokenizer(parts);
  std::string text;
  for (int i = 0; i < 200; ++i) text += "hello w<s> 123 中文\xFF";
  const std::vector<TokenId> wanted = tokenizer->encode(text);
  std::vector<std::vector<TokenId>> found(4);

  std::vector<std::thread> threads;
  threads.reserve(found.size());
  for (auto& ids : found) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  for (std::thread& thread : threads) thread.join();

  for (const auto& ids : found) EXPECT_EQ(ids, wanted);
}

}  // namespace
}  // namespace fathom::text
