// Our tokenizer beside the Hugging Face package, on random texts and on random tokenizer.json
// files.

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "oracle/tokenizer_peer.h"
#include "oracle/tokenizer_texts.h"
#include "text/stream_decoder.h"
#include "text/test_tokenizer.h"
#include "text/tokenizer.h"

namespace fathom::text {
namespace {

// NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables here
int count(int normal, int all) { return std::getenv("FATHOM_TEST_ALL") == nullptr ? normal : all; }

std::string file_of(const std::string& name) {
  return std::string(FATHOM_TEST_DATA) + "/text/tokenizer/" + name + "_tokenizer.json";
}

std::vector<std::string_view> added_contents(const Tokenizer& tokenizer) {
  std::vector<std::string_view> contents;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.is_added(id)) contents.push_back(tokenizer.token_bytes(id));
  }
  return contents;
}

// Ids in no order, so that their bytes are mostly no valid UTF-8.
std::vector<TokenId> random_ids(std::mt19937& random, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  for (auto left = random() % 12; left > 0; --left) {
    // Few bytes in a token make it likely that a character is spread over several.
    const unsigned limit = random() % 3 == 0 ? 260U : static_cast<unsigned>(tokenizer.vocab_size());
    ids.push_back(static_cast<TokenId>(random() % limit));
  }
  return ids;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool skip) {
  StreamDecoder decoder(tokenizer, skip);
  std::string text;
  for (const TokenId id : ids) decoder.push(id, text);
  decoder.flush(text);
  return text;
}

// Compares everything that the peer said with what `tokenizer` says.
void compare(const Tokenizer& tokenizer, const PeerQuestion& question, const PeerAnswer& answer) {
  ASSERT_EQ(answer.refused, "");
  ASSERT_EQ(answer.encoded.size(), question.texts.size());
  for (std::size_t i = 0; i < question.texts.size(); ++i) {
    ASSERT_EQ(tokenizer.encode(question.texts[i], {.add_special_tokens = question.special}),
              answer.encoded[i])
        << "text " << i << ": " << json_string(question.texts[i]);
  }
  for (std::size_t i = 0; i < answer.decoded.size(); ++i) {
    const bool is_given = i >= answer.encoded.size();
    const auto& ids = is_given ? question.ids[i - answer.encoded.size()] : answer.encoded[i];
    ASSERT_EQ(tokenizer.decode(ids), answer.decoded[i]) << ::testing::PrintToString(ids);
    ASSERT_EQ(tokenizer.decode(ids, true), answer.skipped[i]) << ::testing::PrintToString(ids);
    ASSERT_EQ(streamed(tokenizer, ids, false), answer.decoded[i]);
    ASSERT_EQ(streamed(tokenizer, ids, true), answer.skipped[i]);
  }
}

class Vocabularies : public ::testing::TestWithParam<const char*> {};

TEST_P(Vocabularies, EncodeAndDecodeLikeThePeer) {
  const std::string file = file_of(GetParam());
  const auto loaded = Tokenizer::load(file);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const Tokenizer& tokenizer = **loaded;
  const std::vector<std::string_view> markers = added_contents(tokenizer);
  std::mt19937 random(11);  // NOLINT(bugprone-random-generator-seed)
  PeerQuestion question{.tokenizer = file};
  const int texts = count(5000, 50000);
  for (int i = 0; i < texts; ++i) {
    question.texts.push_back(random_mixture(random, markers));
    if (i % 5 == 0) question.ids.push_back(random_ids(random, tokenizer));
  }

  const std::vector<PeerAnswer> answers = ask_peer({question});

  compare(tokenizer, question, answers.front());
}

// The peer takes no such text: bytes in are bytes out.
TEST_P(Vocabularies, KeepEveryByteOfDamagedText) {
  const auto loaded = Tokenizer::load(file_of(GetParam()));
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const std::vector<std::string_view> markers = added_contents(**loaded);
  std::mt19937 random(12);  // NOLINT(bugprone-random-generator-seed)
  const int texts = count(5000, 50000);
  for (int i = 0; i < texts; ++i) {
    const std::string text = random_damage(random, random_mixture(random, markers));
    for (const bool match : {false, true}) {
      const std::vector<TokenId> ids = (*loaded)->encode(text, {.match_added_tokens = match});

      ASSERT_EQ(bytes_of(**loaded, ids), text) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(TestData,
                         Vocabularies,
                         ::testing::Values("deepseek_v32", "gpt2", "tiny_bytelevel"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace fathom::text
