#include "text/bpe.h"

#include <chrono>
#include <map>
#include <random>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::text {
namespace {

using ::testing::ElementsAre;

// A vocabulary of the 256 bytes (id = byte) and merges given as pairs of strings.
class Vocabulary {
 public:
  explicit Vocabulary(const std::vector<std::pair<std::string, std::string>>& merges) {
    for (TokenId byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
    for (const auto& [left, right] : merges) {
      if (tokens.find(left + right) < 0) add(left + right);
      list.push_back({tokens.find(left), tokens.find(right), tokens.find(left + right)});
    }
  }

  void add(const std::string& bytes) {
    const TokenId id = tokens.size();
    ASSERT_TRUE(tokens.add(id, bytes));
    ASSERT_TRUE(tokens.make_findable(id));
  }

  std::vector<TokenId> encode(std::string_view piece,
                              Bpe::WholePiece whole = Bpe::WholePiece::kWhenReached) const {
    auto bpe = Bpe::create(tokens, list, whole);
    EXPECT_TRUE(bpe.ok());
    Bpe::Scratch scratch;
    std::vector<TokenId> ids;
    (*bpe)->encode(piece, scratch, ids);
    return ids;
  }

  TokenTable tokens;
  std::vector<Merge> list;
};

// What the definition says, one merge at a time over the whole piece.
std::vector<TokenId> merge_by_definition(const std::vector<Merge>& merges, std::string_view piece) {
  std::map<std::pair<TokenId, TokenId>, std::size_t> ranks;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    ranks[{merges[rank].left, merges[rank].right}] = rank;
  }
  std::vector<TokenId> ids;
  for (const char c : piece) ids.push_back(static_cast<unsigned char>(c));
  while (true) {
    std::size_t best = merges.size();
    std::size_t place = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto at = ranks.find({ids[i], ids[i + 1]});
      if (at == ranks.end() || at->second >= best) continue;
      best = at->second;
      place = i;
    }
    if (best == merges.size()) return ids;
    ids[place] = merges[best].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

TEST(Bpe, TheLowestRankMergesFirstAndTheLeftmostOfEquals) {
  const Vocabulary words({{"b", "c"}, {"a", "b"}, {"a", "a"}});

  EXPECT_THAT(words.encode("abc"), ElementsAre('a', 256));
  EXPECT_THAT(words.encode("abab"), ElementsAre(257, 257));
  EXPECT_THAT(words.encode("aaa"), ElementsAre(258, 'a'));
  EXPECT_THAT(words.encode(""), ElementsAre());
}

TEST(Bpe, AWholePieceIsATokenOnlyIfMergingLeadsThere) {
  Vocabulary words({{"b", "c"}, {"a", "b"}});
  words.add("abc");

  EXPECT_THAT(words.encode("abc"), ElementsAre('a', 256));
  EXPECT_THAT(words.encode("abc", Bpe::WholePiece::kAlways), ElementsAre(258));
  EXPECT_THAT(words.encode("abcx", Bpe::WholePiece::kAlways), ElementsAre('a', 256, 'x'));
}

TEST(Bpe, AByteWithoutATokenIsRefused) {
  TokenTable tokens;
  for (TokenId byte = 0; byte < 255; ++byte) {
    const char text = static_cast<char>(byte);
    ASSERT_TRUE(tokens.add(byte, {&text, 1}));
    ASSERT_TRUE(tokens.make_findable(byte));
  }

  const Status refused = Bpe::create(tokens, {}, Bpe::WholePiece::kWhenReached).status();

  EXPECT_EQ(refused.message(), "no token for byte 255");
}

TEST(Bpe, EqualsItsDefinitionForShortAndLongPieces) {
  std::mt19937 random(3);  // NOLINT(bugprone-random-generator-seed)
  for (int step = 0; step < 300; ++step) {
    std::vector<std::pair<std::string, std::string>> merges;
    std::vector<std::string> known = {"a", "b", "c"};
    for (int i = 0; i < 30; ++i) {
      const std::string& left = known[random() % known.size()];
      const std::string& right = known[random() % known.size()];
      if (left.size() + right.size() > 12) continue;
      merges.emplace_back(left, right);
      known.push_back(left + right);
    }
    const Vocabulary words(merges);
    for (const std::size_t size : {1U, 2U, 5U, 31U, 32U, 33U, 127U, 128U, 129U, 200U}) {
      std::string piece;
      while (piece.size() < size) piece += static_cast<char>('a' + random() % 3);

      ASSERT_EQ(words.encode(piece), merge_by_definition(words.list, piece)) << step << piece;
    }
  }
}

// A quadratic loop would take minutes here.
TEST(Bpe, AMillionEqualBytesTakeAMoment) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::string token = "="; token.size() < 64; token += token)
    merges.emplace_back(token, token);
  const Vocabulary words(merges);
  const std::string piece(1 << 20, '=');
  const auto start = std::chrono::steady_clock::now();

  const std::vector<TokenId> ids = words.encode(piece);

  EXPECT_EQ(ids, std::vector<TokenId>((1 << 20) / 64, words.tokens.find(std::string(64, '='))));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

// Work is counted, not timed: what is taken from the queues grows like the piece.
TEST(Bpe, TheWorkOfALongPieceIsProportionalToItsSize) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::string token = "="; token.size() < 64; token += token)
    merges.emplace_back(token, token);
  merges.insert(merges.end(), {{"a", "b"}, {"ab", "c"}, {"b", "a"}, {"c", "c"}, {"abc", "a"}});
  const Vocabulary words(merges);
  const auto bpe = Bpe::create(words.tokens, words.list, Bpe::WholePiece::kWhenReached);
  ASSERT_TRUE(bpe.ok());
  std::mt19937 random(6);  // NOLINT(bugprone-random-generator-seed)
  std::string mixed;
  while (mixed.size() < 400000) mixed += static_cast<char>('a' + random() % 3);
  for (const std::string& text : {std::string(400000, '='), mixed}) {
    for (const std::size_t size : {text.size() / 4, text.size() / 2, text.size()}) {
      Bpe::Scratch scratch;
      std::vector<TokenId> ids;

      (*bpe)->encode(std::string_view(text).substr(0, size), scratch, ids);

      EXPECT_LE(scratch.entries, 3 * size);
      EXPECT_GE(scratch.entries, size / 4);  // the count counts
    }
  }
}

TEST(TokenTable, KeepsBytesByIdAndIdsByBytes) {
  TokenTable tokens;
  ASSERT_TRUE(tokens.add(7, "seven"));
  ASSERT_TRUE(tokens.add(3, ""));
  ASSERT_TRUE(tokens.make_findable(7));

  EXPECT_FALSE(tokens.add(7, "again"));
  EXPECT_EQ(tokens.size(), 8);
  EXPECT_EQ(tokens.bytes(7), "seven");
  EXPECT_TRUE(tokens.contains(3));
  EXPECT_FALSE(tokens.contains(5));
  EXPECT_FALSE(tokens.contains(-1));
  EXPECT_EQ(tokens.bytes(100), "");
  EXPECT_EQ(tokens.find("seven"), 7);
  EXPECT_EQ(tokens.find("six"), -1);
  EXPECT_EQ(tokens.longest(), 5U);
}

}  // namespace
}  // namespace fathom::text
