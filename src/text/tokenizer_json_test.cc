#include "text/tokenizer_json.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/test_tokenizer.h"

namespace fathom::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string refusal(const TestTokenizer& parts) {
  const std::string json = json_of(parts);
  const auto result = Tokenizer::from_json({.tokenizer = json});
  if (result.ok()) return "accepted";
  EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
  return result.status().message();
}

std::string refusal_of(std::string_view json) {
  return Tokenizer::from_json({.tokenizer = json}).status().message();
}

TEST(TokenizerJson, WhatIsNotATokenizerIsRefused) {
  EXPECT_THAT(refusal_of(""), StartsWith("tokenizer.json: not valid JSON: "));
  EXPECT_THAT(refusal_of("{\"model\":"), StartsWith("tokenizer.json: not valid JSON: "));
  EXPECT_EQ(refusal_of("[]"), "tokenizer.json: the file: wanted an object, found an array");
  EXPECT_EQ(refusal_of("{}"), "tokenizer.json: model: missing");
  EXPECT_EQ(refusal_of(R"({"model":3})"),
            "tokenizer.json: model: wanted an object, found a number");
  EXPECT_THAT(refusal_of(std::string(2000, '[')), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal_of("{\"model\":{\"type\":\"\xFF\"}}"), HasSubstr("not valid JSON"));
}

TEST(TokenizerJson, OtherFamiliesAreRefusedByName) {
  EXPECT_EQ(refusal({.normalizer = R"({"type":"NFKC"})"}),
            "tokenizer.json: normalizer.type: \"NFKC\" is not supported, only byte-level BPE is "
            "(no normalizer, or an empty Sequence)");
  EXPECT_THAT(refusal({.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFC"}]})"}),
              HasSubstr("normalizer.normalizers[0].type: \"NFC\""));
  EXPECT_THAT(refusal({.pre_tokenizer = R"({"type":"Metaspace","replacement":"_"})"}),
              HasSubstr("pre_tokenizer.type: \"Metaspace\" is not supported"));
  EXPECT_THAT(refusal({.pre_tokenizer = "null"}), HasSubstr("pre_tokenizer: no ByteLevel step"));
  EXPECT_THAT(refusal({.decoder = R"({"type":"WordPiece"})"}),
              HasSubstr("decoder.type: \"WordPiece\""));
  EXPECT_THAT(refusal({.decoder = "null"}), HasSubstr("decoder: missing"));
  EXPECT_THAT(refusal({.post_processor = R"({"type":"BertProcessing"})"}),
              HasSubstr("post_processor.type: \"BertProcessing\""));
  EXPECT_THAT(refusal({.model_settings = R"("type":"Unigram",)"}),
              HasSubstr("model.type: \"Unigram\""));
  EXPECT_THAT(refusal({.model_settings = R"("byte_fallback":true,)"}),
              HasSubstr("model.byte_fallback: \"true\""));
  EXPECT_THAT(refusal({.model_settings = R"("end_of_word_suffix":"</w>",)"}),
              HasSubstr("model.end_of_word_suffix: \"</w>\""));
  EXPECT_THAT(refusal({.model_settings = R"("dropout":0.5,)"}), HasSubstr("model.dropout"));
}

TEST(TokenizerJson, NothingMayFollowByteLevel) {
  EXPECT_THAT(refusal({.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[)"
                                        R"({"type":"ByteLevel"},{"type":"Digits"}]})"}),
              HasSubstr("pre_tokenizer.pretokenizers[1]: \"Digits\" comes after ByteLevel"));
}

TEST(TokenizerJson, ABrokenPatternNamesItsStep) {
  EXPECT_THAT(
      refusal({.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":)"
                                R"({"Regex":"("},"behavior":"Isolated"},{"type":"ByteLevel"}]})"}),
      StartsWith("tokenizer.json: pre_tokenizer: split step 0: pattern: at byte 1: "));
  EXPECT_THAT(refusal({.pre_tokenizer = R"({"type":"Split","pattern":{"Regex":"a"},)"
                                        R"("behavior":"Sideways"})"}),
              HasSubstr("pre_tokenizer.behavior: \"Sideways\" is not a behaviour"));
}

TEST(TokenizerJson, VocabularyEntriesAreChecked) {
  EXPECT_THAT(refusal({.more_vocab = R"(,"zz":-1)"}),
              HasSubstr("model.vocab[\"zz\"]: id: wanted an id in [0, 2097152), found -1"));
  EXPECT_THAT(refusal({.more_vocab = R"(,"zz":9000000000)"}), HasSubstr("found 9000000000"));
  EXPECT_THAT(refusal({.more_vocab = R"(,"zz":1.5)"}),
              HasSubstr("wanted a token id, found a number"));
  EXPECT_THAT(refusal({.more_vocab = R"(,"zz":3)"}),
              HasSubstr("model.vocab[\"zz\"]: id 3 belongs to another token already"));
  EXPECT_THAT(refusal({.more_vocab = R"(,"zz":300,"zz":301)"}),
              HasSubstr("model.vocab[\"zz\"]: the token is listed twice"));
  EXPECT_THAT(refusal_of(R"({"model":{"vocab":{"a":0},"merges":[]},"decoder":{"type":"ByteLevel"},)"
                         R"("pre_tokenizer":{"type":"ByteLevel"}})"),
              HasSubstr("model.vocab: no token for byte 0"));
}

TEST(TokenizerJson, MergesAreChecked) {
  const std::string json = json_of({.merges = {{"a", "b"}}});
  const auto with_merge = [&json](std::string_view merge) {
    std::string changed = json;
    changed.replace(changed.find("\"a b\""), 5, merge);
    return refusal_of(changed);
  };

  EXPECT_THAT(with_merge(R"("ab")"),
              HasSubstr("model.merges[0]: wanted two tokens and a space between, found \"ab\""));
  EXPECT_THAT(with_merge(R"("a qq")"), HasSubstr("model.merges[0]: \"qq\" is not in model.vocab"));
  EXPECT_THAT(with_merge(R"("a c")"), HasSubstr("\"ac\", the result, is not in model.vocab"));
  EXPECT_THAT(with_merge(R"("a 中")"), HasSubstr("is not spelled in the byte-level alphabet"));
  EXPECT_THAT(with_merge(R"(["a"])"), HasSubstr("wanted a string or two strings in an array"));
  EXPECT_EQ(with_merge(R"(["a","b"])"), "");
}

TEST(TokenizerJson, AddedTokensAreChecked) {
  EXPECT_THAT(refusal({.added_tokens = R"([{"id":256}])"}),
              HasSubstr("added_tokens[0].content: missing"));
  EXPECT_THAT(refusal({.added_tokens = R"([{"content":"x"}])"}),
              HasSubstr("added_tokens[0].id: missing"));
  EXPECT_THAT(refusal({.added_tokens = R"([{"id":5,"content":"<x>"}])"}),
              HasSubstr("added_tokens[0]: id 5 of \"<x>\" belongs to"));
  EXPECT_THAT(refusal({.added_tokens = R"([{"id":300,"content":"a"}])"}),
              HasSubstr("\"a\" has id 300, but 97 in model.vocab"));
  EXPECT_THAT(refusal({.added_tokens = R"([{"id":300,"content":"<x>","lstrip":1}])"}),
              HasSubstr("added_tokens[0].lstrip: wanted a boolean, found a number"));
}

TEST(TokenizerJson, LongTextIsCutInMessages) {
  const std::string message =
      refusal({.model_settings = "\"type\":\"" + std::string(999, 'x') + "\","});

  EXPECT_LT(message.size(), 200U);
}

TEST(TokenizerJson, ConfigurationGivesTheEndsOfASequence) {
  const std::string json =
      json_of({.added_tokens = R"([{"id":256,"content":"<s>","special":true},)"
                               R"({"id":257,"content":"</s>","special":true}])"});
  const auto tokenizer = Tokenizer::from_json(
      {.tokenizer = json,
       .tokenizer_config = R"({"bos_token":{"__type":"AddedToken","content":"<s>"},)"
                           R"("eos_token":"</s>","pad_token":"<unknown>","add_bos_token":true})",
       .generation_config = R"({"bos_token_id":9,"eos_token_id":[300,257]})",
       .config = R"({"eos_token_id":1})"});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();

  EXPECT_EQ((*tokenizer)->bos_id(), 256);
  EXPECT_EQ((*tokenizer)->pad_id(), std::nullopt);
  EXPECT_THAT((*tokenizer)->eos_ids(), ElementsAre(1, 257, 300));
}

TEST(TokenizerJson, BrokenConfigurationNamesItsFile) {
  const std::string json = json_of({});

  EXPECT_EQ(Tokenizer::from_json({.tokenizer = json, .tokenizer_config = R"({"bos_token":1})"})
                .status()
                .message(),
            "tokenizer_config.json: bos_token: wanted a string, found a number");
  EXPECT_EQ(
      Tokenizer::from_json({.tokenizer = json, .generation_config = R"({"eos_token_id":"x"})"})
          .status()
          .message(),
      "generation_config.json: eos_token_id: wanted a token id, found a string");
  EXPECT_EQ(Tokenizer::from_json({.tokenizer = json, .config = R"({"eos_token_id":[0,-1]})"})
                .status()
                .message(),
            "config.json: eos_token_id[1]: wanted an id in [0, 2097152), found -1");
}

TEST(TokenizerLoad, ReadsAFolderOrTheFileAlone) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "fathom_tokenizer_load";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.json") << json_of({});
  std::ofstream(folder / "generation_config.json") << R"({"eos_token_id":7})";

  const auto from_folder = Tokenizer::load(folder);
  const auto from_file = Tokenizer::load(folder / "tokenizer.json");
  std::filesystem::remove(folder / "tokenizer.json");
  const Status refused = Tokenizer::load(folder).status();
  std::filesystem::remove_all(folder);

  ASSERT_TRUE(from_folder.ok()) << from_folder.status().message();
  ASSERT_TRUE(from_file.ok()) << from_file.status().message();
  EXPECT_THAT((*from_folder)->eos_ids(), ElementsAre(7));
  EXPECT_THAT((*from_file)->eos_ids(), ElementsAre());
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_THAT(refused.message(), HasSubstr("tokenizer.json: No such file"));
}

}  // namespace
}  // namespace fathom::text
