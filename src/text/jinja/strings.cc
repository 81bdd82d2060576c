#include "text/jinja/strings.h"

#include <algorithm>
#include <charconv>
#include <clocale>
#include <cmath>
#include <limits>

#include <locale.h>
#include <wctype.h>

#include "base/json.h"
#include "text/python_json.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace fathom::text::jinja {

namespace {

constexpr char32_t kSharpS = 0xDF;

// glibc's own table of all of Unicode; null, and ASCII alone is mapped, where it is missing.
locale_t unicode_locale() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

char32_t to_upper(char32_t character) {
  if (character < 0x80) {
    return character >= 'a' && character <= 'z' ? character - ('a' - 'A') : character;
  }
  locale_t const locale = unicode_locale();
  if (locale == nullptr) return character;
  return static_cast<char32_t>(towupper_l(static_cast<wint_t>(character), locale));
}

char32_t to_lower(char32_t character) {
  if (character < 0x80) {
    return character >= 'A' && character <= 'Z' ? character + ('a' - 'A') : character;
  }
  locale_t const locale = unicode_locale();
  if (locale == nullptr) return character;
  return static_cast<char32_t>(towlower_l(static_cast<wint_t>(character), locale));
}

bool is_upper(char32_t character) { return to_lower(character) != character; }
bool is_lower(char32_t character) {
  return to_upper(character) != character || character == kSharpS;
}

void append_upper(std::string& out, char32_t character) {
  if (character == kSharpS) {
    out += "SS";
  } else {
    append_utf8(to_upper(character), out);
  }
}

template <class Each>
void each_character(std::string_view text, const Each& each) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_trusted(text.data() + at);
    each(point.value);
    at += point.size;
  }
}

// The last character of a text that is not empty.
CodePoint last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return decode_trusted(text.data() + at);
}

}  // namespace

bool is_space(char32_t character) {
  if (character < 0x80) {
    return character == ' ' || (character >= 0x09 && character <= 0x0D) ||
           (character >= 0x1C && character <= 0x1F);
  }
  return (unicode_classes().of(character) & kSpace) != 0;
}

std::size_t character_count(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  }));
}

std::size_t byte_of(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  while (index > 0 && at < text.size()) {
    at += decode_trusted(text.data() + at).size;
    --index;
  }
  return at;
}

std::string_view strip(std::string_view text,
                       bool front,
                       bool back,
                       std::optional<std::string_view> set) {
  const auto goes = [set](std::string_view whole, CodePoint point, std::size_t at) {
    if (!set) return is_space(point.value);
    return set->find(whole.substr(at, point.size)) != std::string_view::npos;
  };
  while (front && !text.empty()) {
    const CodePoint point = decode_trusted(text.data());
    if (!goes(text, point, 0)) break;
    text.remove_prefix(point.size);
  }
  while (back && !text.empty()) {
    const CodePoint point = last_character(text);
    if (!goes(text, point, text.size() - point.size)) break;
    text.remove_suffix(point.size);
  }
  return text;
}

std::string upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  each_character(text, [&out](char32_t character) { append_upper(out, character); });
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  each_character(text, [&out](char32_t character) { append_utf8(to_lower(character), out); });
  return out;
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const CodePoint first = decode_trusted(text.data());
  std::string out;
  if (first.value == kSharpS) {
    out = "Ss";
  } else {
    append_utf8(to_upper(first.value), out);
  }
  return out + lower(text.substr(first.size));
}

std::string title(std::string_view text) {
  std::string out;
  bool inside = false;  // behind a letter that has case
  each_character(text, [&](char32_t character) {
    if (inside) {
      append_utf8(to_lower(character), out);
    } else if (character == kSharpS) {
      out += "Ss";
    } else {
      append_utf8(to_upper(character), out);
    }
    inside = is_upper(character) || is_lower(character);
  });
  return out;
}

bool is_class(std::string_view text, TextClass wanted) {
  bool all = !text.empty();
  bool cased = false;
  each_character(text, [&](char32_t character) {
    const std::uint8_t classes = unicode_classes().of(character);
    switch (wanted) {
      case TextClass::kAlnum:
        all = all && (classes & (kLetter | kNumber)) != 0;
        break;
      case TextClass::kAlpha:
        all = all && (classes & kLetter) != 0;
        break;
      case TextClass::kDigit:
        all = all && (classes & kNumber) != 0;
        break;
      case TextClass::kSpace:
        all = all && is_space(character);
        break;
      case TextClass::kLower:
        all = all && !is_upper(character);
        cased = cased || is_lower(character);
        break;
      case TextClass::kUpper:
        all = all && !is_lower(character);
        cased = cased || is_upper(character);
        break;
    }
  });
  const bool by_case = wanted == TextClass::kLower || wanted == TextClass::kUpper;
  return all && (cased || !by_case);
}

namespace {

std::vector<std::string_view> split_at_space(std::string_view text, std::int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, true, false);
  while (!text.empty()) {
    if (most >= 0 && parts.size() == static_cast<std::size_t>(most)) {
      parts.push_back(text);  // with its blanks at the end
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      const CodePoint point = decode_trusted(text.data() + end);
      if (is_space(point.value)) break;
      end += point.size;
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), true, false);
  }
  return parts;
}

std::vector<std::string_view> split_at_space_from_right(std::string_view text, std::int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, false, true);
  while (!text.empty()) {
    if (most >= 0 && parts.size() == static_cast<std::size_t>(most)) {
      parts.push_back(text);
      break;
    }
    std::size_t begin = text.size();
    while (begin > 0) {
      const CodePoint point = last_character(text.substr(0, begin));
      if (is_space(point.value)) break;
      begin -= point.size;
    }
    parts.push_back(text.substr(begin));
    text = strip(text.substr(0, begin), false, true);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator,
                                    std::int64_t most) {
  if (!separator) return split_at_space(text, most);
  std::vector<std::string_view> parts;
  while (most < 0 || parts.size() < static_cast<std::size_t>(most)) {
    const std::size_t at = text.find(*separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator->size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_from_right(std::string_view text,
                                               std::optional<std::string_view> separator,
                                               std::int64_t most) {
  if (!separator) return split_at_space_from_right(text, most);
  std::vector<std::string_view> parts;
  while (most < 0 || parts.size() < static_cast<std::size_t>(most)) {
    const std::size_t at = text.rfind(*separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(at + separator->size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_trusted(text.data() + at);
    const char32_t c = point.value;
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                      c == 0x2028 || c == 0x2029;
    std::size_t next = at + point.size;
    if (ends) {
      if (c == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  if (part.empty()) return character_count(text) + 1;
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

std::string replace(std::string_view text,
                    std::string_view old,
                    std::string_view by,
                    std::int64_t most) {
  const auto more = [&most] { return most < 0 || most-- > 0; };
  std::string out;
  if (old.empty()) {
    // Before every character and at the end.
    bool going = more();
    if (going) out += by;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = decode_trusted(text.data() + at).size;
      out += text.substr(at, size);
      at += size;
      going = going && more();
      if (going) out += by;
    }
    return out;
  }
  std::size_t at = 0;
  for (std::size_t found = text.find(old); found != std::string_view::npos && more();
       found = text.find(old, at)) {
    out += text.substr(at, found - at);
    out += by;
    at = found + old.size();
  }
  out += text.substr(at);
  return out;
}

namespace {

void append_hex(std::string& out, char32_t character, int digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out += kDigits[(character >> shift) & 0xF];
  }
}

void append_quoted_character(std::string& out, char32_t character, char quote) {
  const auto is = [character](char wanted) {
    return character == static_cast<char32_t>(static_cast<unsigned char>(wanted));
  };
  if (is(quote) || is('\\')) {
    out += '\\';
    out += static_cast<char>(character);
  } else if (is('\n')) {
    out += "\\n";
  } else if (is('\r')) {
    out += "\\r";
  } else if (is('\t')) {
    out += "\\t";
  } else if (character == ' ' || (unicode_classes().of(character) &
                                  (kLetter | kMark | kNumber | kPunctuation | kSymbol)) != 0) {
    append_utf8(character, out);
  } else if (character <= 0xFF) {
    out += "\\x";
    append_hex(out, character, 2);
  } else if (character <= 0xFFFF) {
    out += "\\u";
    append_hex(out, character, 4);
  } else {
    out += "\\U";
    append_hex(out, character, 8);
  }
}

}  // namespace

void append_quoted(std::string& out, std::string_view text) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  out += quote;
  each_character(text, [&](char32_t character) { append_quoted_character(out, character, quote); });
  out += quote;
}

void append_float(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "nan";
  } else if (std::isinf(value)) {
    out += value > 0 ? "inf" : "-inf";
  } else {
    append_python_json(out, Json::number(value));
  }
}

namespace {

// The digits of a number without the "_" between them; nothing when one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const auto digit = [&](std::size_t at) {
      return at < text.size() &&
             ((text[at] >= '0' && text[at] <= '9') || (text[at] >= 'a' && text[at] <= 'z') ||
              (text[at] >= 'A' && text[at] <= 'Z'));
    };
    if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
  }
  return out;
}

}  // namespace

std::optional<std::int64_t> parse_int(std::string_view text, std::int64_t base) {
  if (base < 2 || base > 36) return std::nullopt;
  text = strip(text, true, true);
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (text.size() > 2 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    if ((mark == 'x' && base == 16) || (mark == 'o' && base == 8) || (mark == 'b' && base == 2)) {
      text.remove_prefix(2);
    }
  }
  if (text.empty() || text.front() == '-' || text.front() == '+') return std::nullopt;
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits) return std::nullopt;
  const std::string signed_digits = (negative ? "-" : "") + *digits;
  std::int64_t value = 0;
  const char* const end = signed_digits.data() + signed_digits.size();
  const auto [read, error] =
      std::from_chars(signed_digits.data(), end, value, static_cast<int>(base));
  if (error != std::errc{} || read != end) return std::nullopt;
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text, true, true);
  std::string_view unsigned_text = text;
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    unsigned_text.remove_prefix(1);
  }
  const std::string word = lower(unsigned_text);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (word == "inf" || word == "infinity") return negative ? -kInfinity : kInfinity;
  if (word == "nan") return std::numeric_limits<double>::quiet_NaN();
  const bool begins =
      !word.empty() && (word.front() == '.' || (word.front() >= '0' && word.front() <= '9'));
  const std::optional<std::string> digits = without_underscores(unsigned_text);
  if (!begins || !digits) return std::nullopt;
  double value = 0;
  const char* const end = digits->data() + digits->size();
  const auto [read, error] = std::from_chars(digits->data(), end, value);
  if (read != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    value = digits->find("e-") != std::string::npos || digits->find("E-") != std::string::npos
                ? 0
                : kInfinity;
  }
  return negative ? -value : value;
}

}  // namespace fathom::text::jinja
