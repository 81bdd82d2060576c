#include "text/regex_dialect.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace fathom::text {
namespace {

constexpr std::string_view kWordMembers = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Outside a class the engine goes by an older table for these: superscripts and fractions.
constexpr std::string_view kLatinNumbers = "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
constexpr std::string_view kSpaceMembers =
    "\\t-\\r "
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr std::string_view kHexMembers = "0-9A-Fa-f";

// Names that PCRE2 knows as they are, or under another name. All others are scripts.
constexpr std::pair<std::string_view, std::string_view> kProperties[] = {
    {"Alphabetic", "Alphabetic"},
    {"Alpha", "Alphabetic"},
    {"Uppercase", "Uppercase"},
    {"Lowercase", "Lowercase"},
    {"Emoji", "Emoji"},
    {"White_Space", "White_Space"},
    {"Any", "Any"},
    {"Letter", "L"},
    {"Mark", "M"},
    {"Number", "N"},
    {"Punctuation", "P"},
    {"Symbol", "S"},
    {"Separator", "Z"},
    {"Other", "C"}};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> run() {
    while (at_ < pattern_.size()) {
      if (Status status = step(); !status.ok()) return status;
    }
    return std::move(out_);
  }

 private:
  char peek(std::size_t ahead) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  void copy(std::size_t bytes) {
    out_ += pattern_.substr(at_, bytes);
    at_ = std::min(at_ + bytes, pattern_.size());
  }
  Status refuse(std::string_view what) const {
    return invalid_argument("pattern: at byte " + std::to_string(at_) + ": " + std::string(what));
  }

  Status step() {
    switch (pattern_[at_]) {
      case '\\':
        return escape();
      case '[':
        if (in_class_ && peek(1) != ':') return refuse("a class inside a class is not supported");
        if (!in_class_) return open_class();
        copy(1);
        return {};
      case ']':
        in_class_ = false;
        copy(1);
        return {};
      case '&':
        if (in_class_ && peek(1) == '&') return refuse("&& in a class is not supported");
        copy(1);
        return {};
      case '(':
        return in_class_ || peek(1) != '?' ? one() : group();
      case '{':
        return in_class_ ? one() : repeat();
      default:
        return one();
    }
  }
  Status one() {
    copy(1);
    return {};
  }

  // A ] right after the opening is a member of the class.
  Status open_class() {
    in_class_ = true;
    copy(peek(1) == '^' ? 2 : 1);
    if (peek(0) == ']') copy(1);
    return {};
  }

  void members(std::string_view list, bool opposite, std::string_view more_outside = {}) {
    if (!in_class_) out_ += opposite ? "[^" : "[";
    out_ += list;
    if (!in_class_) (out_ += more_outside) += ']';
    at_ += 2;
  }

  Status escape() {
    const char kind = peek(1);
    const bool opposite = kind == 'W' || kind == 'S' || kind == 'H';
    if (opposite && in_class_) {
      if (kind != 'S') return refuse("\\W and \\H in a class are not supported");
      copy(2);
      return {};
    }
    switch (kind) {
      case 'w':
      case 'W':
        members(kWordMembers, opposite, kLatinNumbers);
        return {};
      case 's':
      case 'S':
        members(kSpaceMembers, opposite);
        return {};
      case 'h':
      case 'H':
        members(kHexMembers, opposite);
        return {};
      case 'u':
        out_ += "\\x{";
        at_ += 2;
        copy(4);
        out_ += '}';
        return {};
      case 'p':
      case 'P':
        property();
        return {};
      default:
        copy(2);
        return {};
    }
  }

  // \p{Han} has the characters of that script there, and those used with it as well here.
  void property() {
    const std::size_t end = pattern_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) return copy(2);
    const bool negated = peek(3) == '^';
    const std::size_t begin = at_ + (negated ? 4 : 3);
    const std::string_view name = pattern_.substr(begin, end - begin);
    out_ += pattern_.substr(at_, begin - at_);
    const auto* known = std::find_if(std::begin(kProperties), std::end(kProperties),
                                     [name](const auto& entry) { return entry.first == name; });
    if (known != std::end(kProperties)) {
      out_ += known->second;
    } else {
      if (name.size() > 2) out_ += "sc:";
      out_ += name;
    }
    out_ += '}';
    at_ = end + 1;
  }

  // (?m is there what (?s is here. Options without a colon hold for the rest of the group, over
  // its alternatives there and within this one here, so only at the very front are they the same.
  Status group() {
    std::size_t length = 2;
    std::string options;
    while (peek(length) == '-' || (peek(length) >= 'a' && peek(length) <= 'z')) {
      options += peek(length) == 'm' ? 's' : peek(length);
      ++length;
    }
    const bool is_isolated = !options.empty() && peek(length) == ')';
    if (options.empty() || (peek(length) != ':' && !is_isolated)) return one();
    if (is_isolated && at_ != 0) return refuse("options inside a pattern need a group: (?i:…)");
    out_ += "(?" + options;
    at_ += length;
    return {};
  }

  Status repeat() {
    const std::size_t end = pattern_.find('}', at_);
    const auto is_count = [](char c) { return (c >= '0' && c <= '9') || c == ','; };
    if (end == std::string_view::npos) return one();
    const std::string_view inside = pattern_.substr(at_ + 1, end - at_ - 1);
    if (inside.empty() || !std::all_of(inside.begin(), inside.end(), is_count)) return one();
    if (end + 1 < pattern_.size() && pattern_[end + 1] == '+') {
      return refuse("{m,n}+ is not supported");
    }
    out_ += inside[0] == ',' ? "{0" : "{";
    out_ += inside;
    out_ += '}';
    at_ = end + 1;
    return {};
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

Result<std::string> to_pcre2(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace fathom::text
