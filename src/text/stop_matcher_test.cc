#include "text/stop_matcher.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::text {

std::ostream& operator<<(std::ostream& out, const StopMatch& match) {
  return out << (match.is_regex ? "regex " : "string ") << match.index << " [" << match.text << "]";
}

namespace {

struct Stopped {
  std::string text;
  std::optional<StopMatch> match;
  bool operator==(const Stopped&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Stopped& stopped) {
  out << "[" << stopped.text << "] ";
  return stopped.match ? out << *stopped.match : out;
}

std::shared_ptr<const StopRules> rules_of(std::vector<std::string> strings,
                                          const std::vector<std::string>& regexes = {},
                                          bool keep_stop = false) {
  auto rules = StopRules::create(std::move(strings), regexes, keep_stop);
  EXPECT_TRUE(rules.ok()) << rules.status().message();
  return *rules;
}

template <class NextSize>
Stopped stop_in_pieces(const std::shared_ptr<const StopRules>& rules,
                       std::string_view text,
                       NextSize next_size) {
  StopMatcher matcher(rules);
  Stopped stopped;
  while (!text.empty() && !stopped.match) {
    const std::size_t size = std::min<std::size_t>(next_size(), text.size());
    stopped.match = matcher.push(std::string(text.substr(0, size)), stopped.text);
    text.remove_prefix(size);
  }
  if (!stopped.match) stopped.match = matcher.finish(stopped.text);
  return stopped;
}

Stopped stop_whole(const std::shared_ptr<const StopRules>& rules, std::string_view text) {
  return stop_in_pieces(rules, text, [&] { return text.size(); });
}

StopMatch string_match(std::size_t index, std::string text) {
  return {false, index, std::move(text)};
}
StopMatch regex_match(std::size_t index, std::string text) {
  return {true, index, std::move(text)};
}

TEST(StopMatcher, CutsTheTextAtTheFirstString) {
  const auto rules = rules_of({"END", "\n\n"});

  EXPECT_EQ(stop_whole(rules, "a END b\n\n"), (Stopped{"a ", string_match(0, "END")}));
  EXPECT_EQ(stop_whole(rules, "a\n\nEND"), (Stopped{"a", string_match(1, "\n\n")}));
  EXPECT_EQ(stop_whole(rules, "a EN"), (Stopped{"a EN", {}}));
  EXPECT_EQ(stop_whole(rules, ""), (Stopped{"", {}}));
  EXPECT_EQ(stop_whole(rules_of({}), "a"), (Stopped{"a", {}}));
  EXPECT_EQ(stop_whole(rules_of({""}), "a"), (Stopped{"a", {}}));
}

TEST(StopMatcher, KeepsTheStopWhenAsked) {
  EXPECT_EQ(stop_whole(rules_of({"END"}, {}, true), "a END b"),
            (Stopped{"a END", string_match(0, "END")}));
  EXPECT_EQ(stop_whole(rules_of({}, {"E.D"}, true), "a END b"),
            (Stopped{"a END", regex_match(0, "END")}));
}

TEST(StopMatcher, TheEarliestEndDecidesThenTheList) {
  EXPECT_EQ(stop_whole(rules_of({"abcd", "bc"}), "abcd"), (Stopped{"a", string_match(1, "bc")}));
  EXPECT_EQ(stop_whole(rules_of({"b", "ab"}), "xab"), (Stopped{"xa", string_match(0, "b")}));
  EXPECT_EQ(stop_whole(rules_of({"ab", "b"}), "xab"), (Stopped{"x", string_match(0, "ab")}));
  EXPECT_EQ(stop_whole(rules_of({"b"}, {"ab"}), "xab"), (Stopped{"xa", string_match(0, "b")}));
  EXPECT_EQ(stop_whole(rules_of({"c"}, {"ab"}), "xabc"), (Stopped{"x", regex_match(0, "ab")}));
  // a+ is certain at the c, which is the string.
  EXPECT_EQ(stop_whole(rules_of({"c"}, {"a+"}), "xaac"), (Stopped{"x", regex_match(0, "aa")}));
}

TEST(StopMatcher, ACharacterIsNotCutBesideExpressions) {
  EXPECT_EQ(stop_whole(rules_of({"\xC3"}), "aéb"), (Stopped{"a", string_match(0, "\xC3")}));
  EXPECT_EQ(stop_whole(rules_of({"\xC3"}, {"b"}), "aéb"), (Stopped{"aé", regex_match(0, "b")}));
  EXPECT_EQ(stop_whole(rules_of({"\xA9"}, {"b"}), "aéb"), (Stopped{"aé", regex_match(0, "b")}));
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBecomeAStop) {
  StopMatcher matcher(rules_of({"abab!", "x\n"}));
  const auto pushed = [&](std::string_view text) {
    std::string out;
    EXPECT_FALSE(matcher.push(text, out));
    return out;
  };

  EXPECT_EQ(pushed("ab"), "");
  EXPECT_EQ(pushed("ab"), "");
  EXPECT_EQ(pushed("ab"), "ab");
  EXPECT_EQ(pushed("c x"), "ababc ");
  EXPECT_EQ(pushed("yx"), "xy");
  std::string out;
  EXPECT_EQ(matcher.push("\nrest", out), string_match(1, "x\n"));
  EXPECT_EQ(out, "");
}

TEST(StopMatcher, AnExpressionMatchesOnceNoTextCanChangeIt) {
  StopMatcher matcher(rules_of({}, {R"(\bNo\b)", R"(\d+ms)"}));
  const auto pushed = [&](std::string_view text) {
    std::string out;
    EXPECT_FALSE(matcher.push(text, out));
    return out;
  };

  EXPECT_EQ(pushed("a No"), "a ");
  EXPECT_EQ(pushed("t 12"), "Not ");
  EXPECT_EQ(pushed("3m"), "");
  std::string out;
  EXPECT_EQ(matcher.push("s", out), regex_match(1, "123ms"));
}

TEST(StopMatcher, AnExpressionMatchesAtTheEnd) {
  EXPECT_EQ(stop_whole(rules_of({}, {R"(\d+)"}), "a 12"), (Stopped{"a ", regex_match(0, "12")}));
  EXPECT_EQ(stop_whole(rules_of({}, {"b$"}), "ab"), (Stopped{"a", regex_match(0, "b")}));
  EXPECT_EQ(stop_whole(rules_of({}, {"b$"}), "abc"), (Stopped{"abc", {}}));
  EXPECT_EQ(stop_whole(rules_of({}, {"a*"}), "bcd"), (Stopped{"bcd", {}}));
  EXPECT_EQ(stop_whole(rules_of({}, {"(?<=中)文+"}), "文中文文。"),
            (Stopped{"文中", regex_match(0, "文文")}));
}

TEST(StopMatcher, TheStartOfTheTextIsKnownLaterOn) {
  const std::string text(20000, 'x');
  for (const char* const regex : {"^y", "\\Ay", "(?<=^x)y", "(?<![x🙂])y", "(?<=^🙂)y"}) {
    EXPECT_EQ(stop_in_pieces(rules_of({}, {regex}), text + "y🙂y.", [] { return 7; }),
              (Stopped{text + "y🙂y.", {}}))
        << regex;
  }
}

TEST(StopMatcher, AMatchIsCutAtItsBound) {
  const std::string text = "a <" + std::string(3 * StopRegex::kMaxMatchBytes, 'x');
  const Stopped stopped = {"a ",
                           regex_match(0, "<" + std::string(StopRegex::kMaxMatchBytes - 1, 'x'))};

  EXPECT_EQ(stop_whole(rules_of({}, {"<.*"}), text), stopped);
  EXPECT_EQ(stop_in_pieces(rules_of({}, {"<.*"}), text, [] { return 100; }), stopped);
  EXPECT_EQ(stop_in_pieces(rules_of({}, {"<.*>"}), text + ">", [] { return 1000; }),
            (Stopped{text + ">", {}}));
}

TEST(StopMatcher, AnExpressionThatCostsTooMuchIsGivenUp) {
  const std::string text = std::string(3000, 'a') + "!END";
  EXPECT_EQ(stop_whole(rules_of({"END"}, {"(a+)+b"}), text),
            (Stopped{std::string(3000, 'a') + "!", string_match(0, "END")}));
}

TEST(StopMatcher, RefusesABadExpressionWithItsPlace) {
  const auto refused = [](const std::string& regex) {
    return StopRules::create({}, {"a", regex}, false).status().message();
  };

  EXPECT_EQ(refused("a(b"), "stop_regex[1]: at byte 3: missing closing parenthesis");
  EXPECT_EQ(refused(""), "stop_regex[1]: a pattern has 1 to 4096 bytes, this one has 0");
  EXPECT_EQ(refused("a\\Kb"), "stop_regex[1]: \\G, \\K and verbs, (*…), are not supported");
  EXPECT_NE(refused("\xFF"), "");
  EXPECT_NE(refused("((a{1,999}){1,999}){1,999}"), "");
  EXPECT_NE(refused(std::string(200, '(') + std::string(200, ')')), "");
  EXPECT_EQ(refused(R"((?P<x>[a-z])(?P=x)\\K)"), "");
}

// The first prefix of the text that has a stop decides, searched as simply as can be.
Stopped stop_strings_simply(const std::vector<std::string>& strings, std::string_view text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    for (std::size_t i = 0; i < strings.size(); ++i) {
      const std::string_view prefix = text.substr(0, end);
      if (!prefix.ends_with(strings[i])) continue;
      return {std::string(prefix.substr(0, end - strings[i].size())), string_match(i, strings[i])};
    }
  }
  return {std::string(text), {}};
}

std::string random_letters(std::mt19937& random, std::size_t least, std::size_t most) {
  static constexpr std::string_view kLetters[] = {"a", "a", "b", "b", "c", "1", "é", "\n"};
  std::string text;
  for (std::size_t count = least + random() % (most - least + 1); count > 0; --count) {
    text += kLetters[random() % std::size(kLetters)];
  }
  return text;
}

TEST(StopMatcher, StringsStopWhereTheSimplestSearchDoes) {
  std::mt19937 random(1);
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::string> strings(1 + random() % 3);
    for (std::string& string : strings) string = random_letters(random, 1, 4);
    const std::string text = random_letters(random, 0, 30);
    const auto rules = rules_of(strings);
    const Stopped expected = stop_strings_simply(strings, text);

    ASSERT_EQ(stop_whole(rules, text), expected);
    ASSERT_EQ(stop_in_pieces(rules, text, [] { return 1; }), expected);
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      bool first = true;
      ASSERT_EQ(stop_in_pieces(rules, text, [&] { return std::exchange(first, false) ? cut : 99; }),
                expected);
    }
  }
}

TEST(StopMatcher, CutsDoNotMatterToExpressions) {
  static constexpr const char* kRegexes[] = {
      "a+",         "a+b",      "ab|b+c", "(?<=b)c+", "\\bab\\b", "^b+",
      "c$",         "(?s)a.*b", "a.*b",   "(a|b)1",   "é+\\n",    "b(?!c)a*",
      "(a)(b)?\\1", "[^a]{3}",  "a++b",   "(?=ab)a",  "\\d"};
  std::mt19937 random(2);
  int stops = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::string> strings(random() % 2);
    for (std::string& string : strings) string = random_letters(random, 1, 3);
    std::vector<std::string> regexes(1 + random() % 3);
    for (std::string& regex : regexes) regex = kRegexes[random() % std::size(kRegexes)];
    const std::string text = random_letters(random, 0, 24);
    const auto rules = rules_of(strings, regexes);

    const Stopped expected = stop_in_pieces(rules, text, [] { return 1; });

    stops += expected.match ? 1 : 0;
    ASSERT_EQ(stop_whole(rules, text), expected) << text << " " << testing::PrintToString(regexes);
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      bool first = true;
      ASSERT_EQ(stop_in_pieces(rules, text, [&] { return std::exchange(first, false) ? cut : 99; }),
                expected)
          << text << " " << testing::PrintToString(regexes) << " cut " << cut;
    }
    ASSERT_EQ(stop_in_pieces(rules, text, [&] { return 1 + random() % 5; }), expected);
  }
  EXPECT_GT(stops, 1000);
}

}  // namespace
}  // namespace fathom::text
