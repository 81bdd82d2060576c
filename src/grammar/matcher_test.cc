#include <random>

#include <gtest/gtest.h>

#include "base/json.h"
#include "grammar/compiler.h"
#include "grammar/grammar_testing.h"

namespace fathom::grammar {
namespace {

const std::vector<std::string> kWords{"{\"", "\":", "\",", "true", "tru", "  ",   "\n\n", "ab",
                                      "a\"", "12",  "}}",  "-1",   "é",   "\xc3", "aa",   "aab"};

class Matchers : public testing::Test {
 protected:
  bool takes_all(const Grammar& grammar, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      if (!takes(grammar, options_, text)) {
        ADD_FAILURE() << "not taken: " << text;
        return false;
      }
    }
    return true;
  }
  bool takes_none(const Grammar& grammar, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      if (takes(grammar, options_, text)) {
        ADD_FAILURE() << "taken: " << text;
        return false;
      }
    }
    return true;
  }
  std::shared_ptr<const Grammar> make(Kind kind, const std::string& text) {
    return compiled(*compiler_, {kind, text});
  }

  CompilerOptions options_ = byte_vocabulary(kWords);
  std::unique_ptr<Compiler> compiler_ = std::move(Compiler::create(options_)).value();
};

const std::vector<Source> kSources{
    {Kind::kJsonSchema, "{}"},
    {Kind::kJsonSchema, R"({"type":"object","properties":{"ab":{"type":"integer"},
      "b":{"type":"array","items":{"type":"boolean"},"maxItems":3}},"required":["ab"]})"},
    {Kind::kJsonSchema, R"({"type":"string","minLength":1,"maxLength":4})"},
    {Kind::kJsonSchema,
     R"({"anyOf":[{"type":"number","minimum":-2.5,"maximum":12},{"enum":["a",true]}]})"},
    {Kind::kRegex, "(a|aab){2,5}[0-9é]*x?"},
    {Kind::kEbnf, "root ::= \"(\" root \")\" | [ab]+\n"},
    {Kind::kStructuralTag, R"({"type":"structural_tag","format":{"type":"triggered_tags",
      "triggers":["aa"],"tags":[{"type":"tag","begin":"aab","content":{"type":"json_schema",
      "json_schema":{"type":"boolean"}},"end":"x"}]}})"}};

// Bytes of a character that begins so; 0: none does.
std::size_t character_bytes(int first) {
  if (first < 0x80) return 1;
  if (first < 0xC0) return 0;
  return first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF8 ? 4 : 0;
}

// The JSON parser says what is UTF-8.
bool is_utf8(const std::string& text) { return parse_json("\"" + text + "\"").ok(); }

// Whether `matcher` takes these bytes one after the other; it is left as it was.
bool takes_bytes(Matcher& matcher, const std::string& bytes) {
  std::int32_t taken = 0;
  while (static_cast<std::size_t>(taken) < bytes.size() &&
         matcher.accept(static_cast<unsigned char>(bytes[static_cast<std::size_t>(taken)]))) {
    ++taken;
  }
  matcher.rollback(taken);
  return static_cast<std::size_t>(taken) == bytes.size();
}

bool takes_token(Matcher& matcher, TokenId token) {
  if (!matcher.accept(token)) return false;
  matcher.rollback(1);
  return true;
}

// The tokens whose bytes are taken one after the other by a matcher that never made a mask.
std::vector<bool> tried_one_by_one(Matcher& matcher, const CompilerOptions& options) {
  std::vector<bool> out(static_cast<std::size_t>(options.vocab_size));
  for (std::size_t id = 0; id < options.token_bytes.size(); ++id) {
    const std::string& bytes = options.token_bytes[id];
    const auto token = static_cast<TokenId>(id);
    out[id] = token == options.stop_tokens[0] ? takes_token(matcher, token)
                                              : !bytes.empty() && takes_bytes(matcher, bytes);
  }
  return out;
}

void expect_masks_agree(const Source& source,
                        const Grammar& grammar,
                        const CompilerOptions& options,
                        std::mt19937& random) {
  const auto matcher = grammar.new_matcher();
  const auto tried = grammar.new_matcher();
  for (int step = 0; step < 40; ++step) {
    const std::vector<bool> mask = allowed(*matcher, options.vocab_size);
    ASSERT_EQ(mask, tried_one_by_one(*tried, options)) << source.text << ", step " << step;
    std::vector<TokenId> choices;
    for (std::size_t id = 0; id < mask.size(); ++id) {
      if (mask[id]) choices.push_back(static_cast<TokenId>(id));
    }
    ASSERT_FALSE(choices.empty());
    const TokenId next = choices[random() % choices.size()];
    ASSERT_TRUE(matcher->accept(next));
    if (matcher->finished()) break;
    for (const char c : options.token_bytes[static_cast<std::size_t>(next)]) {
      ASSERT_TRUE(tried->accept(static_cast<unsigned char>(c)));
    }
  }
}

// A token is allowed exactly where its bytes are taken.
TEST_F(Matchers, MasksAgreeWithBytesTriedOneByOne) {
  std::mt19937 random(1);
  for (const Source& source : kSources) {
    const auto grammar = compiled(*compiler_, source);
    for (int walk = 0; walk < 4; ++walk) expect_masks_agree(source, *grammar, options_, random);
  }
}

TEST_F(Matchers, RollbackComesBackToTheSameMasks) {
  std::mt19937 random(2);
  for (const Source& source : kSources) {
    const auto matcher = compiled(*compiler_, source)->new_matcher();
    std::vector<std::vector<bool>> masks;
    for (int step = 0; step < 60 && !matcher->finished(); ++step) {
      masks.push_back(allowed(*matcher, options_.vocab_size));
      TokenId next = 0;
      do {
        next = static_cast<TokenId>(random() % masks.back().size());
      } while (!masks.back()[static_cast<std::size_t>(next)]);
      ASSERT_TRUE(matcher->accept(next));
      const auto back = static_cast<std::int32_t>(random() % (masks.size() + 1));
      if (random() % 3 == 0) {
        matcher->rollback(back);
        masks.resize(masks.size() - static_cast<std::size_t>(back));
        EXPECT_FALSE(back > 0 && matcher->finished());
        if (back > 0) {
          matcher->rollback(0);
          masks.push_back(allowed(*matcher, options_.vocab_size));
          masks.pop_back();
        }
      }
    }
    while (!masks.empty()) {
      matcher->rollback(1);
      EXPECT_EQ(allowed(*matcher, options_.vocab_size), masks.back()) << source.text;
      masks.pop_back();
    }
  }
}

TEST_F(Matchers, StopTokensEndACompleteAnswerOnly) {
  const auto matcher = make(Kind::kRegex, "a+")->new_matcher();
  const TokenId stop = options_.stop_tokens[0];

  EXPECT_FALSE(matcher->accept(stop));
  EXPECT_TRUE(matcher->accept('a'));
  EXPECT_FALSE(matcher->accept('b'));
  EXPECT_FALSE(matcher->accept(-1));
  EXPECT_FALSE(matcher->accept(options_.vocab_size));
  EXPECT_FALSE(matcher->accept(stop - 1)) << "a token without text";
  EXPECT_TRUE(matcher->accept(stop));
  EXPECT_TRUE(matcher->finished());
  EXPECT_FALSE(matcher->accept('a'));
  const std::vector<bool> mask = allowed(*matcher, options_.vocab_size);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), true), 0);

  matcher->rollback(1);
  EXPECT_FALSE(matcher->finished());
  EXPECT_TRUE(matcher->accept('a'));
}

TEST_F(Matchers, AGrammarThatCannotGoOnLetsTheAnswerEnd) {
  const auto matcher = make(Kind::kEbnf, "root ::= \"a\" x\nx ::= x \"b\"\n")->new_matcher();
  ASSERT_TRUE(matcher->accept('a'));

  const std::vector<bool> mask = allowed(*matcher, options_.vocab_size);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), true), 1);
  EXPECT_TRUE(matcher->accept(options_.stop_tokens[0]));
  EXPECT_TRUE(matcher->finished());

  // The same without a mask of its own: drafts were taken, and taken back.
  matcher->rollback(2);
  EXPECT_FALSE(matcher->accept(options_.stop_tokens[0]));
  EXPECT_TRUE(matcher->accept('a'));
  EXPECT_TRUE(matcher->accept(options_.stop_tokens[0]));
  EXPECT_TRUE(matcher->finished());
}

// Every step takes longer than allowed here.
TEST_F(Matchers, ASlowStepCountsWhileItsTokenStays) {
  options_.max_step_ns = -1;
  compiler_ = std::move(Compiler::create(options_)).value();
  const auto matcher = make(Kind::kRegex, "ab*")->new_matcher();
  EXPECT_FALSE(matcher->too_slow());
  EXPECT_FALSE(matcher->accept('x'));
  EXPECT_FALSE(matcher->too_slow()) << "a wrong draft, not taken";
  EXPECT_TRUE(matcher->accept('a'));
  EXPECT_TRUE(matcher->too_slow());
  matcher->rollback(1);
  EXPECT_FALSE(matcher->too_slow()) << "a wrong draft, taken back";

  EXPECT_TRUE(matcher->accept('a'));
  EXPECT_TRUE(matcher->accept('b'));
  matcher->rollback(1);
  EXPECT_TRUE(matcher->too_slow()) << "the first of two stays";
  matcher->rollback(1);
  EXPECT_FALSE(matcher->too_slow());

  allowed(*matcher, options_.vocab_size);
  EXPECT_TRUE(matcher->accept('a'));
  matcher->rollback(1);
  EXPECT_TRUE(matcher->too_slow()) << "the mask before the draft was slow, too";
}

TEST_F(Matchers, JsonMayHaveBlanksButNotWithoutEnd) {
  const auto grammar = make(Kind::kJsonSchema, R"({"type":"object"})");
  takes_all(*grammar, {"{}", "\n\n{ }", "{\"a\" :\n\t[1,\r\n 2]}", std::string(20, ' ') + "{}"});
  takes_none(*grammar,
             {"[]", "{} ", std::string(21, ' ') + "{}", "{" + std::string(21, '\n') + "}"});
}

TEST_F(Matchers, SchemasMeanWhatTheDraftSays) {
  const auto one = make(Kind::kJsonSchema, R"({"type":"object","properties":{
      "name":{"type":"string","pattern":"^[a-z]{2}$"},"n":{"type":["integer","null"]},
      "kind":{"type":"string","enum":["x/y","é",3]},"next":{"$ref":"#/$defs/a~1b"}},
      "required":["name","n"],"$defs":{"a/b":{"type":"array","items":{"$ref":"#/$defs/a~1b"}}}})");
  takes_all(*one, {R"({"name":"ab","n":null})", R"({"name":"ab","n":-5,"kind":"x/y"})",
                   R"({"name":"ab","n":0,"next":[[],[[]]]})"});
  takes_none(*one,
             {R"({"name":"ab"})", R"({"name":"abc","n":1})", R"({"name":"ab","n":1,"kind":3})",
              R"({"name":"ab","n":1,"more":1})", R"({"name":"ab","n":1,"next":[1]})"});
  const auto two = make(Kind::kJsonSchema, R"({"type":"string","minLength":2,"maxLength":3})");
  takes_all(*two, {"\"ab\"", "\"éüx\""});
  takes_none(*two, {"\"a\"", "\"abcd\"", "\"a\tb\"", "\"a\\q\""});
  const auto longer = make(Kind::kJsonSchema, R"({"type":"string","maxLength":300})");
  takes_all(*longer, {"\"\"", "\"é中\"", "\"" + std::string(300, 'x') + "\""});
  takes_none(*longer, {"\"" + std::string(301, 'x') + "\"", "\"a\tb\"", "\"a\\q\"", "\"a\"b\"",
                       std::string("\"\0\"", 3)});
  const auto three = make(Kind::kJsonSchema, R"({"type":"array"})");
  takes_all(*three, {"[]", "[1,\"a\",{\"b\":[null]}]"});
  const auto four = make(Kind::kJsonSchema, R"({"type":"string","format":"date-time"})");
  takes_all(*four, {"\"2025-02-28T23:59:59Z\"", "\"2025-12-01T00:00:00.5+02:00\""});
  takes_none(*four, {"\"2025-02-30T00:00:00Z\"", "\"2025-02-28\""});
}

TEST_F(Matchers, RegexAndGrammarsMatchTheWholeAnswer) {
  const auto regex = make(Kind::kRegex, "(yes|no) [0-9]{1,3}");
  takes_all(*regex, {"yes 1", "no 123"});
  takes_none(*regex, {"yes", "yes 1234", " yes 1"});
  const auto ebnf = make(Kind::kEbnf, "root ::= expr\nexpr ::= [0-9]+ (\"+\" expr)?\n");
  takes_all(*ebnf, {"1", "1+22+3"});
  takes_none(*ebnf, {"+", "1+"});
}

TEST_F(Matchers, BothFormsOfStructuralTagsWork) {
  const auto older = make(Kind::kStructuralTag, R"({"type":"structural_tag","structures":
      [{"begin":"<f>","schema":{"type":"integer"},"end":"</f>"}],"triggers":["<f"]})");
  takes_all(*older, {"", "text", "text <f>1</f> more"});
  takes_none(*older, {"<f>x</f>", "<f>1"});
}

TEST_F(Matchers, MasksHoldToUtf8) {
  const auto grammar = make(Kind::kRegex, "[^a]{1,3}");
  const auto start = allowed(*grammar->new_matcher(), options_.vocab_size);
  for (int first = 0x80; first < 256; ++first) {
    bool any = false;
    std::vector<bool> expected(256);
    for (int second = 0x80; second < 0xC0 && character_bytes(first) > 0; ++second) {
      std::string text{static_cast<char>(first), static_cast<char>(second)};
      text.append(character_bytes(first) - 2, '\x80');
      expected[static_cast<std::size_t>(second)] = is_utf8(text);
      any = any || is_utf8(text);
    }
    ASSERT_EQ(start[static_cast<std::size_t>(first)], any) << first;
    if (!any) continue;
    const auto matcher = grammar->new_matcher();
    ASSERT_TRUE(matcher->accept(first));
    auto mask = allowed(*matcher, options_.vocab_size);
    mask.resize(256);
    EXPECT_EQ(mask, expected) << first;
    // Taken back, the narrowing of the second byte is gone.
    matcher->rollback(1);
    EXPECT_EQ(allowed(*matcher, options_.vocab_size), start);
  }
}

TEST_F(Matchers, TokensOfSeveralBytesHoldToUtf8) {
  const std::vector<std::string> words{"b\xed",    "\xa0\x80",  "\x9f\xbf",
                                       "\xed\xa0", "c\xf0\x8f", "\xf0\x90"};
  const CompilerOptions options = byte_vocabulary(words);
  auto compiler = std::move(Compiler::create(options)).value();
  const auto matcher = compiled(*compiler, {Kind::kRegex, "[^a]*"})->new_matcher();
  const auto words_of = [&] {
    const auto mask = allowed(*matcher, options.vocab_size);
    return std::vector<bool>(mask.begin() + 256, mask.begin() + 256 + 6);
  };
  EXPECT_EQ(words_of(), (std::vector<bool>{true, false, false, false, false, true}));
  ASSERT_TRUE(matcher->accept(256));
  EXPECT_EQ(words_of(), (std::vector<bool>{false, false, true, false, false, false}));
}

TEST_F(Matchers, AnyJsonOfARandomWalkParses) {
  std::mt19937 random(3);
  const auto grammar = make(Kind::kJsonSchema, "{}");
  for (int i = 0; i < 50; ++i) {
    const auto matcher = grammar->new_matcher();
    const auto text = random_walk(*matcher, options_, random, 40);
    ASSERT_TRUE(text.has_value());
    const auto value = parse_json(*text, {.max_depth = 2000});
    EXPECT_TRUE(value.ok()) << value.status().message() << "\n" << *text;
  }
}

}  // namespace
}  // namespace fathom::grammar
