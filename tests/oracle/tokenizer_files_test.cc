// Random tokenizer.json files of the byte-level BPE family, ours beside the Hugging Face package.

#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "oracle/tokenizer_peer.h"
#include "oracle/tokenizer_texts.h"
#include "text/test_tokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

// No token here is spelled in the byte alphabet alone unless it is ASCII: the peer would decode "é"
// to one byte, we give it back as it is.
constexpr std::string_view kContents[] = {"<a>", "<a><",       "<b>", "ab", "a",   "the",
                                          " x",  "中",         "\n",  "1",  "ф>",  "<s>",
                                          "  ",  "<|im_end|>", "_",   "x ", "'s'", "<｜a｜>"};
constexpr std::string_view kPatterns[] = {
    "\\\\p{N}", "\\\\s+", "\\\\p{N}{1,3}", "[a-c]+", "a|b", "\\\\w+", "\\\\W", "(?i:AB)|x",
    "\\\\s+(?!\\\\S)|\\\\s+", "[\\\\w']+", "[^\\\\s\\\\w]+", "\\\\S", "\\\\d", "\\\\p{Han}+", "x*",
    "(?=b)", "[\\\\p{L}\\\\p{M}]+", "\\\\h", "^a", "b$",
    // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one pattern
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+",
    "'(?i:[sdmt]|ll|ve|re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}+|\\\\p{N}{1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]++[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]|\\\\s+(?!\\\\S)|\\\\s+"};
constexpr std::string_view kStrings[] = {"a", "ab", " ", ".", "中", "\\n", "--"};
constexpr std::string_view kBehaviors[] = {"Isolated", "Removed", "MergedWithPrevious",
                                           "MergedWithNext", "Contiguous"};
constexpr std::string_view kFragments[] = {
    "a",       "b", "ab", "abc",    "A",  " ",    " ",   "  ",   "\n",   "\r\n",
    "\t",      "1", "12", "1234",   "'s", "'S",   "'re", "中",   "中文", "é",
    "e\u0301", "-", "--", ".",      "x",  "_",    "the", " the", "ſ",    "\u00A0",
    "\u180E",  "²", "½",  "\u200D", "💥",  "\x01", "がか"};

// Characters that the regex engine of unknown patterns does not know yet.
bool holds_new_characters(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_trusted(text.data() + at);
    if (is_new_in_unicode_15(c.value)) return true;
    at += c.size;
  }
  return false;
}

class Files {
 public:
  explicit Files(unsigned seed) : random_(seed) {}

  // A tokenizer.json.
  TestTokenizer next() {
    TestTokenizer parts{.merges = {{"a", "b"},
                                   {"ab", "c"},
                                   {"Ġ", "a"},
                                   {"Ġ", "Ġ"},
                                   {"1", "2"},
                                   {"12", "3"},
                                   {"t", "h"},
                                   {"th", "e"},
                                   {"Ġ", "the"},
                                   {"'", "s"},
                                   {"ä", "¸"},
                                   {"ä¸", "Ń"},
                                   {"Ã", "©"},
                                   {"b", "c"},
                                   {"-", "-"}}};
    std::shuffle(parts.merges.begin() + 9, parts.merges.end(), random_);
    parts.paired_merges = coin();
    if (coin()) parts.model_settings += R"("type":"BPE",)";
    if (coin()) parts.model_settings += R"("ignore_merges":)" + flag() + ',';
    if (coin())
      parts.model_settings += R"("unk_token":null,"fuse_unk":false,"byte_fallback":false,)";
    if (coin()) parts.model_settings += R"("dropout":null,"continuing_subword_prefix":"",)";
    if (coin()) parts.normalizer = R"({"type":"Sequence","normalizers":[]})";
    parts.pre_tokenizer = pre_tokenizer();
    parts.more_vocab = R"(,"abcx":271,"ĠtheĠ":272)";  // only ignore_merges reaches them
    parts.added_tokens = added_tokens();
    parts.decoder = R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true})";
    parts.post_processor = post_processor();
    return parts;
  }

  std::string text() {
    std::string text;
    if (below(4) == 0) {
      do text = random_mixture(random_, kContents);
      while (holds_new_characters(text));
      return text;
    }
    for (std::size_t left = below(14); left > 0; --left) {
      text += below(3) == 0 ? pick(kContents) : pick(kFragments);
    }
    return text;
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }
  bool coin() { return below(2) == 0; }
  std::string flag() { return coin() ? "true" : "false"; }
  template <class T, std::size_t kSize>
  std::string pick(const T (&list)[kSize]) {
    return std::string(list[below(kSize)]);
  }

  std::string split() {
    const std::string pattern = coin() ? R"({"Regex":")" + pick(kPatterns) + R"("})"
                                       : R"({"String":")" + pick(kStrings) + R"("})";
    return R"({"type":"Split","pattern":)" + pattern + R"(,"behavior":")" + pick(kBehaviors) +
           R"(","invert":)" + (below(4) == 0 ? "true" : "false") + "}";
  }
  std::string step() {
    switch (below(8)) {
      case 0:
        return R"({"type":"Digits","individual_digits":)" + flag() + "}";
      case 1:
        return R"({"type":"Punctuation","behavior":")" + pick(kBehaviors) + R"("})";
      case 2:
        return coin() ? R"({"type":"Whitespace"})" : R"({"type":"WhitespaceSplit"})";
      default:
        return split();
    }
  }
  std::string pre_tokenizer() {
    std::string last = R"({"type":"ByteLevel","add_prefix_space":)" + flag();
    last += R"(,"trim_offsets":)" + flag();
    if (coin()) last += R"(,"use_regex":)" + flag();
    last += "}";
    if (below(6) == 0) return last;
    if (below(6) == 0) return deepseek_pre_tokenizer();
    std::string steps;
    for (std::size_t left = below(4); left > 0; --left) steps += step() + ",";
    return R"({"type":"Sequence","pretokenizers":[)" + steps + last + "]}";
  }
  // Ids follow the vocabulary's without a gap: the peer gives them out anew.
  std::string added_tokens() {
    std::vector<std::string> contents(std::begin(kContents), std::end(kContents));
    std::shuffle(contents.begin(), contents.end(), random_);
    contents.resize(below(7));
    std::string list;
    int id = 273;
    for (const std::string& content : contents) {
      if (content.size() == 1) continue;  // is in the vocabulary
      if (content == "ab" || content == "the" || content == "  " || content == "中") continue;
      if (!list.empty()) list += ',';
      list += R"({"id":)" + std::to_string(id++) + R"(,"content":)" + json_string(content);
      for (const char* key : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
        list += std::string(",\"") + key + "\":" + (below(3) == 0 ? "true" : "false");
      }
      list += '}';
    }
    return '[' + list + ']';
  }
  std::string post_processor() {
    constexpr std::string_view kByteLevel =
        R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false})";
    if (coin()) return std::string(kByteLevel);
    std::string text = R"({"Sequence":{"id":"A","type_id":0}})";
    const std::string marker = R"({"SpecialToken":{"id":"m","type_id":0}})";
    if (coin()) text = marker + "," + text;
    if (coin()) text += "," + marker;
    std::string processor =
        R"({"type":"TemplateProcessing","single":[)" + text +
        R"(],"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],)"
        R"("special_tokens":{"m":{"id":"m","ids":[192,245],"tokens":["À","õ"]}}})";
    if (coin()) return processor;
    return R"({"type":"Sequence","processors":[)" + std::string(kByteLevel) + "," + processor +
           "]}";
  }

  std::mt19937 random_;
};

// Whether all is equal; the first text that differs is reported.
bool equals_the_peer(const PeerQuestion& question, const PeerAnswer& answer) {
  EXPECT_EQ(answer.refused, "") << question.tokenizer;
  const auto ours = Tokenizer::from_json({.tokenizer = question.tokenizer});
  EXPECT_TRUE(ours.ok()) << ours.status().message();
  if (!ours.ok() || !answer.refused.empty()) return false;
  for (std::size_t k = 0; k < question.texts.size(); ++k) {
    const std::vector<TokenId>& wanted = answer.encoded[k];
    const auto ids = (*ours)->encode(question.texts[k], {.add_special_tokens = question.special});
    const std::string decoded = (*ours)->decode(wanted);
    const std::string skipped = (*ours)->decode(wanted, true);
    EXPECT_EQ(ids, wanted) << json_string(question.texts[k]);
    EXPECT_EQ(decoded, answer.decoded[k]);
    EXPECT_EQ(skipped, answer.skipped[k]);
    if (ids != wanted || decoded != answer.decoded[k] || skipped != answer.skipped[k]) return false;
  }
  return true;
}

TEST(TokenizerFiles, MakeTheIdsThatThePeerMakes) {
  Files files(21);
  std::vector<TestTokenizer> parts;
  std::vector<PeerQuestion> questions;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables here
  const int wanted = std::getenv("FATHOM_TEST_ALL") == nullptr ? 300 : 3000;
  for (int i = 0; i < wanted; ++i) {
    parts.push_back(files.next());
    PeerQuestion question{.tokenizer = json_of(parts.back()), .special = i % 2 == 0};
    for (int k = 0; k < 40; ++k) question.texts.push_back(files.text());
    questions.push_back(std::move(question));
  }

  const std::vector<PeerAnswer> answers = ask_peer(questions);

  int failures = 0;
  for (std::size_t i = 0; i < questions.size() && failures < 5; ++i) {
    SCOPED_TRACE("file " + std::to_string(i) + ": " + parts[i].pre_tokenizer + "\n" +
                 parts[i].added_tokens + parts[i].model_settings);
    if (!equals_the_peer(questions[i], answers[i])) ++failures;
  }
}

}  // namespace
}  // namespace fathom::text
