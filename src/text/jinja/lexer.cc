#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "text/jinja/strings.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace fathom::text::jinja {

namespace {

constexpr std::string_view kBlockBegin = "{%";
constexpr std::string_view kBlockEnd = "%}";
constexpr std::string_view kVariableEnd = "}}";
constexpr std::string_view kCommentEnd = "#}";

std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), rest_(source_) {}

  Result<std::vector<Token>> run() {
    while (failure_.ok() && !rest_.empty()) read_data();
    if (!failure_.ok()) return failure_;
    add(TokenKind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  void fail(const std::string& message) {
    if (failure_.ok()) {
      failure_ = invalid_argument("line " + std::to_string(line_) + ": " + message);
    }
  }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }
  void skip(std::size_t bytes) {
    line_ += static_cast<int>(
        std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(bytes), '\n'));
    line_starting_ = bytes > 0 && rest_[bytes - 1] == '\n';
    rest_.remove_prefix(bytes);
  }
  std::size_t space_at(std::size_t at) const {
    return rest_.size() - at - strip(rest_.substr(at), true, false).size();
  }
  bool at(std::size_t place, std::string_view text) const {
    return rest_.substr(std::min(place, rest_.size())).starts_with(text);
  }

  void add_data(std::string_view data, char sign, bool can_lstrip);
  void read_data();
  bool read_raw(std::size_t begin);
  void read_comment();
  void read_tag(TokenKind begin, TokenKind end_kind, std::string_view end);
  // Bytes of the end of a tag with what it swallows; 0 when there is none here.
  std::size_t tag_end(std::size_t place, std::string_view end, bool block) const;
  void read_token();
  void read_string();
  void read_number();
  void read_name();
  void read_operator();
  void append_escape(std::string_view text, std::size_t& i, std::string& out);

  std::string source_;
  std::string_view rest_;
  int line_ = 1;
  bool line_starting_ = true;  // what was read last ended a line
  std::string open_;           // closing brackets that are due
  std::vector<Token> tokens_;
  Status failure_;
};

void Lexer::add_data(std::string_view data, char sign, bool can_lstrip) {
  if (sign == '-') {
    data = strip(data, false, true);
  } else if (sign != '+' && can_lstrip) {
    const std::size_t line_end = data.rfind('\n');
    const std::size_t begin = line_end == std::string_view::npos ? 0 : line_end + 1;
    if ((begin > 0 || line_starting_) && strip(data.substr(begin), true, false).empty()) {
      data = data.substr(0, begin);
    }
  }
  if (!data.empty()) add(TokenKind::kData, std::string(data));
}

void Lexer::read_data() {
  std::size_t begin = 0;
  for (;; ++begin) {
    begin = rest_.find('{', begin);
    if (begin == std::string_view::npos || begin + 1 >= rest_.size()) {
      add(TokenKind::kData, std::string(rest_));
      rest_ = {};
      return;
    }
    const char next = rest_[begin + 1];
    if (next == '{' || next == '%' || next == '#') break;
  }
  if (read_raw(begin)) return;
  const char type = rest_[begin + 1];
  std::size_t tag = begin + 2;
  const char sign =
      tag < rest_.size() && (rest_[tag] == '-' || rest_[tag] == '+') ? rest_[tag] : '\0';
  if (sign != 0) ++tag;
  add_data(rest_.substr(0, begin), sign, type != '{');
  skip(tag);
  if (type == '#') {
    read_comment();
  } else if (type == '%') {
    read_tag(TokenKind::kBlockBegin, TokenKind::kBlockEnd, kBlockEnd);
  } else {
    read_tag(TokenKind::kVariableBegin, TokenKind::kVariableEnd, kVariableEnd);
  }
}

std::size_t Lexer::tag_end(std::size_t place, std::string_view end, bool block) const {
  if (at(place, "-") && at(place + 1, end)) {
    const std::size_t size = 1 + end.size();
    return size + space_at(place + size);
  }
  if (block && at(place, "+") && at(place + 1, end)) return 1 + end.size();
  if (!at(place, end)) return 0;
  return end.size() + (block && at(place + end.size(), "\n") ? 1 : 0);
}

// {% raw %} … {% endraw %}, when that begins at `begin`.
bool Lexer::read_raw(std::size_t begin) {
  if (!at(begin, kBlockBegin)) return false;
  std::size_t place = begin + kBlockBegin.size();
  const char sign =
      place < rest_.size() && (rest_[place] == '-' || rest_[place] == '+') ? rest_[place] : '\0';
  if (sign != 0) ++place;
  place += space_at(place);
  if (!at(place, "raw")) return false;
  place += 3;
  place += space_at(place);
  if (at(place, "-%}")) {
    place += 3;
    place += space_at(place);
  } else if (at(place, kBlockEnd)) {
    place += kBlockEnd.size();
  } else {
    return false;
  }
  add_data(rest_.substr(0, begin), sign, true);
  skip(place);
  for (std::size_t end = 0;; ++end) {
    end = rest_.find(kBlockBegin, end);
    if (end == std::string_view::npos) {
      fail("a raw block has no end");
      return true;
    }
    std::size_t tail = end + kBlockBegin.size();
    const char end_sign =
        tail < rest_.size() && (rest_[tail] == '-' || rest_[tail] == '+') ? rest_[tail] : '\0';
    if (end_sign != 0) ++tail;
    tail += space_at(tail);
    constexpr std::string_view kEndRaw = "endraw";
    if (!at(tail, kEndRaw)) continue;
    tail += kEndRaw.size();
    tail += space_at(tail);
    const std::size_t closing = tag_end(tail, kBlockEnd, true);
    if (closing == 0) continue;
    add_data(rest_.substr(0, end), end_sign, true);
    skip(tail + closing);
    return true;
  }
}

void Lexer::read_comment() {
  const std::size_t end = rest_.find(kCommentEnd);
  if (end == std::string_view::npos) {
    fail("a comment has no end");
    return;
  }
  const bool signed_end = end > 0 && (rest_[end - 1] == '-' || rest_[end - 1] == '+');
  const std::size_t begin = signed_end ? end - 1 : end;
  skip(begin + tag_end(begin, kCommentEnd, true));
}

void Lexer::read_tag(TokenKind begin, TokenKind end_kind, std::string_view end) {
  add(begin, {});
  const bool block = end_kind == TokenKind::kBlockEnd;
  while (failure_.ok()) {
    if (rest_.empty()) {
      fail("a tag has no end");
      return;
    }
    if (open_.empty()) {
      if (const std::size_t size = tag_end(0, end, block); size > 0) {
        add(end_kind, {});
        skip(size);
        return;
      }
    }
    if (const std::size_t space = space_at(0); space > 0) {
      skip(space);
    } else {
      read_token();
    }
  }
}

void Lexer::read_token() {
  const char first = rest_.front();
  if (first == '"' || first == '\'') {
    read_string();
  } else if (is_digit(first)) {
    read_number();
  } else if (first == '_' || static_cast<unsigned char>(first) >= 0x80 ||
             (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z')) {
    read_name();
  } else {
    read_operator();
  }
}

void Lexer::read_name() {
  std::size_t size = 0;
  while (size < rest_.size()) {
    const CodePoint point = decode_trusted(rest_.data() + size);
    if ((unicode_classes().of(point.value) & kWord) == 0 && point.value != '_') break;
    size += point.size;
  }
  if (size == 0) {
    fail("unexpected character \"" +
         std::string(rest_.substr(0, decode_trusted(rest_.data()).size)) + "\"");
    return;
  }
  add(TokenKind::kName, std::string(rest_.substr(0, size)));
  skip(size);
}

// NOLINTNEXTLINE(readability-function-cognitive-complexity): one part for each form of a number
void Lexer::read_number() {
  const auto run = [this](std::size_t place, const auto& belongs) {
    // Digits with single "_" between them.
    std::size_t end = place;
    while (end < rest_.size()) {
      const bool joins =
          rest_[end] == '_' && end > place && end + 1 < rest_.size() && belongs(rest_[end + 1]);
      if (!joins && !belongs(rest_[end])) break;
      ++end;
    }
    return end;
  };
  const auto finish = [this](TokenKind kind, std::size_t size) {
    std::string text(rest_.substr(0, size));
    std::erase(text, '_');
    add(kind, std::move(text));
    skip(size);
  };
  if (rest_.size() > 2 && rest_[0] == '0') {
    const char mark = static_cast<char>(rest_[1] | 0x20);
    const auto digit = [mark](char c) {
      if (mark == 'b') return c == '0' || c == '1';
      if (mark == 'o') return c >= '0' && c <= '7';
      const char low = static_cast<char>(c | 0x20);
      return is_digit(c) || (low >= 'a' && low <= 'f');
    };
    if (mark == 'x' || mark == 'o' || mark == 'b') {
      const std::size_t from = rest_[2] == '_' ? 3 : 2;
      if (const std::size_t end = run(from, digit); end > from) {
        finish(TokenKind::kInteger, end);
        return;
      }
    }
  }
  const std::size_t whole = run(0, is_digit);
  std::size_t end = whole;
  if (at(end, ".") && end + 1 < rest_.size() && is_digit(rest_[end + 1])) {
    end = run(end + 1, is_digit);
  }
  if (at(end, "e") || at(end, "E")) {
    std::size_t power = end + 1;
    if (at(power, "+") || at(power, "-")) ++power;
    if (power < rest_.size() && is_digit(rest_[power])) end = run(power, is_digit);
  }
  // A place in a dotted path, as in items.0.name, is whole.
  const bool in_path =
      !tokens_.empty() && tokens_.back().kind == TokenKind::kOperator && tokens_.back().text == ".";
  if (end > whole && !in_path) {
    finish(TokenKind::kFloat, end);
    return;
  }
  // Of 007 Python reads 00 and then 7; that is no number anywhere.
  std::size_t size = whole;
  if (rest_.front() == '0') size = run(0, [](char c) { return c == '0'; });
  finish(TokenKind::kInteger, size);
}

// NOLINTNEXTLINE(readability-function-cognitive-complexity): one part for each escape
void Lexer::append_escape(std::string_view text, std::size_t& i, std::string& out) {
  const char kind = text[i++];  // behind the backslash
  const auto hex = [&](std::size_t digits) -> std::optional<char32_t> {
    if (text.size() - i < digits) return std::nullopt;
    const std::string_view spelled = text.substr(i, digits);
    // First, as otherwise this may end within a character.
    constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";
    if (spelled.find_first_not_of(kHexDigits) != std::string_view::npos) return std::nullopt;
    const std::optional<std::int64_t> value = parse_int(spelled, 16);
    if (!value) return std::nullopt;
    i += digits;
    return static_cast<char32_t>(*value);
  };
  constexpr std::array<std::pair<char, char>, 9> kSimple{{{'n', '\n'},
                                                          {'t', '\t'},
                                                          {'r', '\r'},
                                                          {'b', '\b'},
                                                          {'f', '\f'},
                                                          {'a', '\a'},
                                                          {'v', '\v'},
                                                          {'\\', '\\'},
                                                          {'\'', '\''}}};
  for (const auto& [letter, meaning] : kSimple) {
    if (kind == letter) {
      out += meaning;
      return;
    }
  }
  if (kind == '"') {
    out += '"';
  } else if (kind == '\n') {
    // A line that goes on.
  } else if (kind >= '0' && kind <= '7') {
    char32_t value = static_cast<char32_t>(kind - '0');
    for (int more = 0; more < 2 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++more) {
      value = value * 8 + static_cast<char32_t>(text[i++] - '0');
    }
    append_utf8(value, out);
  } else if (kind == 'x' || kind == 'u' || kind == 'U') {
    const std::optional<char32_t> value = hex(kind == 'x' ? 2 : kind == 'u' ? 4 : 8);
    if (!value || *value > 0x10FFFF || (*value >= 0xD800 && *value <= 0xDFFF)) {
      fail("\"\\" + std::string(1, kind) + "\" in a text is not followed by a character's number");
      return;
    }
    append_utf8(*value, out);
  } else if (kind == 'N') {
    fail("\"\\N\" in a text is not supported");
  } else {
    out += '\\';
    --i;  // the character itself, which may have several bytes
    const std::size_t size = decode_trusted(text.data() + i).size;
    out += text.substr(i, size);
    i += size;
  }
}

void Lexer::read_string() {
  const char quote = rest_.front();
  std::size_t end = 1;
  while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
  if (end >= rest_.size()) {
    fail("a text has no closing quote");
    return;
  }
  const std::string_view inner = rest_.substr(1, end - 1);
  std::string text;
  for (std::size_t i = 0; i < inner.size() && failure_.ok();) {
    if (inner[i] != '\\') {
      text += inner[i++];
      continue;
    }
    append_escape(inner, ++i, text);
  }
  add(TokenKind::kString, std::move(text));
  skip(end + 1);
}

void Lexer::read_operator() {
  constexpr std::array<std::string_view, 6> kPairs{"//", "**", "==", "!=", ">=", "<="};
  constexpr std::string_view kSingle = "+-/*%~[](){}><=.:|,;";
  std::string_view text;
  for (const std::string_view pair : kPairs) {
    if (at(0, pair)) text = pair;
  }
  if (text.empty() && kSingle.find(rest_.front()) != std::string_view::npos) {
    text = rest_.substr(0, 1);
  }
  if (text.empty()) {
    fail("unexpected character \"" + std::string(rest_.substr(0, 1)) + "\"");
    return;
  }
  constexpr std::string_view kOpening = "([{";
  constexpr std::string_view kClosing = ")]}";
  if (const std::size_t opens = kOpening.find(text); opens != std::string_view::npos) {
    open_ += kClosing[opens];
  } else if (kClosing.find(text) != std::string_view::npos) {
    if (open_.empty() || open_.back() != text.front()) {
      fail("unexpected \"" + std::string(text) + "\"" +
           (open_.empty() ? "" : ", expected \"" + std::string(1, open_.back()) + "\""));
      return;
    }
    open_.pop_back();
  }
  add(TokenKind::kOperator, std::string(text));
  skip(text.size());
}

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(normalized(source)).run();
}

}  // namespace fathom::text::jinja
