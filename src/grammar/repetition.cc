#include "grammar/repetition.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fathom::grammar {

namespace {

Status refused(std::size_t at, const std::string& why) {
  return invalid_argument("at byte " + std::to_string(at) + ": " + why);
}

// One group, literal or reference: how often it is repeated is known after it.
struct Group {
  std::int64_t product = 1;  // the largest product of counts within
  // References to rules: a product each, as far as this group knows it.
  std::map<std::string, std::int64_t> references;
  bool may_be_empty = true;   // the alternative that is being read
  bool one_is_empty = false;  // one of those before it may be

  void add(const Group& other) {
    product = std::max(product, other.product);
    may_be_empty = may_be_empty && other.may_be_empty;
    for (const auto& [name, weight] : other.references) {
      std::int64_t& mine = references[name];
      mine = std::max(mine, weight);
    }
  }
  void end_alternative() { one_is_empty = one_is_empty || std::exchange(may_be_empty, true); }
  void end() {
    end_alternative();
    may_be_empty = std::exchange(one_is_empty, false);
  }
  void repeat(std::int64_t count) {
    constexpr std::int64_t kLarge = kMaxRepetition * 10;
    product = std::min(product * count, kLarge);
    for (auto& [name, weight] : references) weight = std::min(weight * count, kLarge);
  }
};

// An item that takes a byte at least.
Group something() {
  Group group;
  group.may_be_empty = false;
  return group;
}

bool is_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
}

// Walks a text once. What it reads wrongly in a text that is not well formed does no harm: the
// library refuses such a text.
class Walk {
 public:
  // `empty_rules`: of a grammar, those that are known to match the empty text.
  Walk(std::string_view text, int max_depth, bool ebnf, const std::set<std::string>& empty_rules)
      : text_(text), max_depth_(max_depth), ebnf_(ebnf), empty_rules_(empty_rules) {}

  Status run() {
    open_.emplace_back();
    while (at_ < text_.size()) FATHOM_RETURN_IF_ERROR(step());
    flush();
    while (open_.size() > 1) close();
    finish_rule();
    return {};
  }
  const std::map<std::string, Group>& rules() const { return rules_; }

 private:
  Status step() {
    const char c = text_[at_];
    if (c == '\\') {
      at_ += 2;
      return item(something());
    }
    if (c == '[') return skip_class();
    if (c == '(') return open();
    if (c == ')') {
      flush();
      ++at_;
      if (open_.size() > 1) close();
      return {};
    }
    if (c == '{') return count();
    if (ebnf_) {
      if (c == '"' || c == '#' || c == '/') return skip_quoted(c);
      if (is_name(c)) return name();
    }
    ++at_;
    const bool blank = ebnf_ && std::isspace(static_cast<unsigned char>(c)) != 0;
    if (c == '*' || c == '?') last_.may_be_empty = true;
    if (c == '*' || c == '+' || c == '?' || blank) return {};
    if (c == '|') {
      flush();
      open_.back().end_alternative();
      return {};
    }
    return item(!ebnf_ && (c == '^' || c == '$') ? Group() : something());
  }

  Status open() {
    if (!ebnf_ && text_.substr(at_, 2) == "(?" && text_.substr(at_, 3) != "(?:") {
      return refused(at_, "groups that begin with (? are not supported, but for (?:");
    }
    flush();
    open_.emplace_back();
    ++at_;
    if (open_.size() > static_cast<std::size_t>(max_depth_) + 1) {
      return refused(at_ - 1, "brackets nest deeper than " + std::to_string(max_depth_));
    }
    return {};
  }

  // Sets `next` as the item that a count may follow.
  Status item(Group next) {
    flush();
    last_ = std::move(next);
    return {};
  }
  void flush() {
    open_.back().add(last_);
    last_ = {};
  }
  void close() {
    Group done = std::move(open_.back());
    open_.pop_back();
    done.end();
    last_ = std::move(done);
  }

  Status skip_class() {
    ++at_;
    if (at_ < text_.size() && text_[at_] == '^') ++at_;
    bool first = true;
    while (at_ < text_.size() && (text_[at_] != ']' || (first && !ebnf_))) {
      at_ += text_[at_] == '\\' ? 2 : 1;
      first = false;
    }
    ++at_;
    return item(something());
  }

  Status skip_quoted(char quote) {
    const std::size_t begin = at_++;
    if (quote == '#') {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      return {};
    }
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\n' && quote == '/') break;
      at_ += text_[at_] == '\\' ? 2 : 1;
    }
    ++at_;
    const std::string_view inside = text_.substr(begin + 1, std::max(at_, begin + 2) - begin - 2);
    Group quoted;
    quoted.may_be_empty = inside.empty();
    if (quote == '/') {
      FATHOM_RETURN_IF_ERROR(check_regex(inside, max_depth_, nullptr, &quoted.may_be_empty));
    }
    return item(std::move(quoted));
  }

  Status name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    const std::string word(text_.substr(begin, at_ - begin));
    std::size_t after = at_;
    while (after < text_.size() && (text_[after] == ' ' || text_[after] == '\t')) ++after;
    if (text_.substr(after, 3) == "::=") {
      flush();
      while (open_.size() > 1) close();
      flush();
      finish_rule();
      rule_ = word;
      at_ = after + 3;
      return {};
    }
    Group reference;
    reference.references[word] = 1;
    reference.may_be_empty = empty_rules_.contains(word);
    return item(std::move(reference));
  }

  void finish_rule() {
    open_.front().end();
    if (const auto [rule, added] = rules_.try_emplace(rule_, open_.front()); !added) {
      rule->second.add(open_.front());
    }
    open_.assign(1, {});
  }

  // {n}, {n,} or {n,m}; other braces are characters.
  Status count() {
    const std::size_t begin = at_;
    std::size_t end = text_.find('}', begin);
    if (end == std::string_view::npos || end - begin > 64) {
      ++at_;
      return item(something());
    }
    std::int64_t largest = 0;
    std::int64_t smallest = -1;
    std::int64_t number = 0;
    for (const char c : text_.substr(begin + 1, end - begin - 1)) {
      if (c == ',') {
        if (smallest < 0) smallest = number;
        number = 0;
      } else if (c >= '0' && c <= '9') {
        number = std::min<std::int64_t>(number * 10 + (c - '0'), kMaxRepetition + 1);
        largest = std::max(largest, number);
      } else if (c != ' ') {
        ++at_;
        return item(something());
      }
    }
    at_ = end + 1;
    if (largest > kMaxRepetition) {
      return refused(begin, "repetition of more than " + std::to_string(kMaxRepetition));
    }
    if (smallest < 0) smallest = number;
    if (last_.may_be_empty && largest > kMaxEmptyRepetition) {
      return refused(begin, "repetition of more than " + std::to_string(kMaxEmptyRepetition) +
                                " of what may be empty");
    }
    last_.may_be_empty = last_.may_be_empty || smallest == 0;
    const bool nested = last_.product > 1;
    last_.repeat(std::max<std::int64_t>(largest, 1));
    if (nested && last_.product > kMaxNestedRepetition) {
      return refused(begin, "repetitions within repetitions come to more than " +
                                std::to_string(kMaxNestedRepetition));
    }
    return {};
  }

  std::string_view text_;
  int max_depth_;
  bool ebnf_;
  const std::set<std::string>& empty_rules_;
  std::size_t at_ = 0;
  std::vector<Group> open_;
  Group last_;
  std::string rule_;
  std::map<std::string, Group> rules_;
};

// The largest product of counts at and below a rule.
class Weights {
 public:
  explicit Weights(const std::map<std::string, Group>& rules) : rules_(rules) {}

  // -1 while it is being worked out: recursion, which counts once. Deep chains of rules are walked
  // with a stack of our own.
  std::int64_t of(const std::string& start) {
    std::vector<std::pair<std::string, bool>> work{{start, false}};
    while (!work.empty()) {
      auto [name, children_done] = work.back();
      work.pop_back();
      const auto rule = rules_.find(name);
      if (rule == rules_.end()) continue;
      if (children_done) {
        std::int64_t weight = rule->second.product;
        for (const auto& [child, count] : rule->second.references) {
          const auto known = weight_.find(child);
          const std::int64_t below =
              known == weight_.end() || known->second < 0 ? 1 : known->second;
          weight = std::max(weight, std::min(count * below, kMaxRepetition * 10));
          nested_ = nested_ || (count > 1 && below > 1 && count * below > kMaxNestedRepetition);
        }
        weight_[name] = weight;
        continue;
      }
      if (!weight_.emplace(name, -1).second) continue;
      work.emplace_back(name, true);
      for (const auto& [child, count] : rule->second.references) work.emplace_back(child, false);
    }
    const auto found = weight_.find(start);
    return found == weight_.end() ? 1 : found->second;
  }
  bool nested_too_much() const { return nested_; }

 private:
  const std::map<std::string, Group>& rules_;
  std::map<std::string, std::int64_t> weight_;
  bool nested_ = false;
};

}  // namespace

Status check_regex(std::string_view regex, int max_depth, std::int64_t* product, bool* empty) {
  const std::set<std::string> no_rules;
  Walk walk(regex, max_depth, false, no_rules);
  FATHOM_RETURN_IF_ERROR(walk.run());
  if (empty != nullptr) *empty = walk.rules().begin()->second.may_be_empty;
  if (product != nullptr) *product = walk.rules().begin()->second.product;
  return {};
}

Status check_ebnf(std::string_view ebnf, int max_depth) {
  // Which rules may be empty, each walk knowing more of them.
  constexpr int kMaxWalks = 16;
  std::set<std::string> empty_rules;
  std::map<std::string, Group> rules;
  for (int walks = 0;; ++walks) {
    if (walks == kMaxWalks) {
      return invalid_argument("a rule may be empty through more than " + std::to_string(kMaxWalks) +
                              " others");
    }
    Walk walk(ebnf, max_depth, true, empty_rules);
    FATHOM_RETURN_IF_ERROR(walk.run());
    rules = walk.rules();
    const std::size_t known = empty_rules.size();
    for (const auto& [name, group] : rules) {
      if (group.may_be_empty) empty_rules.insert(name);
    }
    if (empty_rules.size() == known) break;
  }
  Weights weights(rules);
  for (const auto& [name, group] : rules) {
    weights.of(name);
    if (weights.nested_too_much()) {
      return invalid_argument("rule \"" + name +
                              "\": repetitions within repetitions come to more than " +
                              std::to_string(kMaxNestedRepetition));
    }
  }
  return {};
}

}  // namespace fathom::grammar
