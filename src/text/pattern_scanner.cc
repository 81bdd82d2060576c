#include "text/pattern_scanner.h"

#include <cstddef>
#include <cstdint>

#include "text/unicode_class.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

struct Seen {
  std::uint32_t classes = 0;
  std::uint32_t size = 0;  // bytes
};

bool is_newline(char c) { return c == '\r' || c == '\n'; }

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string_view between(const char* from, const char* to) {
  return {from, static_cast<std::size_t>(to - from)};
}

// Reads classes from one table over the text of one call.
class Scanner {
 public:
  Scanner() : classes_(unicode_classes()) {}

  Seen look(const char* at) const {
    const auto byte = static_cast<unsigned char>(*at);
    if (byte < 0x80) return {classes_.of_ascii(byte), 1};
    const CodePoint c = decode_trusted(at);
    return {classes_.of(c.value), c.size};
  }

  bool sees(const char* at, const char* end, std::uint32_t wanted) const {
    return at < end && (look(at).classes & wanted) != 0;
  }

  // The end of the longest run from `at` of characters in any of `wanted`.
  const char* run(const char* at, const char* end, std::uint32_t wanted) const {
    while (at < end) {
      const Seen seen = look(at);
      if ((seen.classes & wanted) == 0) break;
      at += seen.size;
    }
    return at;
  }

  // The same for characters in none of `unwanted`.
  const char* run_without(const char* at, const char* end, std::uint32_t unwanted) const {
    while (at < end) {
      const Seen seen = look(at);
      if ((seen.classes & unwanted) != 0) break;
      at += seen.size;
    }
    return at;
  }

  // The end of `\s+(?!\S)|\s+` at `at`, where a blank stands: a run that something follows leaves
  // its last blank for that, unless it has no other.
  const char* blanks(const char* at, const char* end) const {
    const char* last = at;  // the last blank of the run
    const char* stop = at;
    while (stop < end) {
      const Seen seen = look(stop);
      if ((seen.classes & kSpace) == 0) break;
      last = stop;
      stop += seen.size;
    }
    return stop == end || last == at ? stop : last;
  }

  // The end of kDeepSeekWords at `at`, or `at` when it does not match there.
  const char* deepseek_word(const char* at, const char* end) const;
  void deepseek_words(const char* at, const char* end, std::vector<std::string_view>& out) const;
  // The end of kGpt2Pattern at `at`; it matches everywhere.
  const char* gpt2_word(const char* at, const char* end) const;
  // The end of kLlama3Pattern, with numbers of up to `digits`, at `at`; it matches everywhere.
  const char* llama3_word(const char* at, const char* end, int digits) const;
  // The end of `\p{N}{1,digits}` at `at`, where a number stands.
  const char* number(const char* at, const char* end, int digits) const {
    for (; digits > 0 && sees(at, end, kNumber); --digits) at += look(at).size;
    return at;
  }

 private:
  // The end of `[\p{P}\p{S}]+[\r\n]*`.
  const char* marks_and_newlines(const char* at, const char* end) const {
    at = run(at, end, kPunctuation | kSymbol);
    while (at < end && is_newline(*at)) ++at;
    return at;
  }

  // The end of `\s*[\r\n]+`: just past the last newline of the blanks at `at`; `at` without one.
  const char* through_newline(const char* at, const char* end) const {
    const char* past = at;
    while (at < end) {
      const Seen seen = look(at);
      if ((seen.classes & kSpace) == 0) break;
      at += seen.size;
      if (is_newline(at[-1])) past = at;
    }
    return past;
  }

  const UnicodeClasses& classes_;
};

const char* Scanner::deepseek_word(const char* at, const char* end) const {
  const Seen first = look(at);
  const char* next = at + first.size;
  if ((first.classes & (kLetter | kMark)) != 0) return run(next, end, kLetter | kMark);
  if ((first.classes & (kPunctuation | kSymbol)) != 0) {
    if (first.size == 1 && next < end && is_ascii_letter(*next)) {
      while (next < end && is_ascii_letter(*next)) ++next;
      return next;
    }
    return marks_and_newlines(at, end);
  }
  if (!is_newline(*at) && sees(next, end, kLetter | kMark)) return run(next, end, kLetter | kMark);
  if (*at == ' ' && sees(next, end, kPunctuation | kSymbol)) return marks_and_newlines(next, end);
  if ((first.classes & kSpace) == 0) return at;
  const char* past_newline = through_newline(at, end);
  return past_newline != at ? past_newline : blanks(at, end);
}

// What no alternative matches stays as pieces between the matches.
void Scanner::deepseek_words(const char* at,
                             const char* end,
                             std::vector<std::string_view>& out) const {
  const char* unmatched = at;
  while (at < end) {
    const char* stop = deepseek_word(at, end);
    if (stop == at) {
      at += look(at).size;
      continue;
    }
    if (unmatched != at) out.push_back(between(unmatched, at));
    out.push_back(between(at, stop));
    at = stop;
    unmatched = stop;
  }
  if (unmatched != end) out.push_back(between(unmatched, end));
}

// The size of one of 's 't 're 've 'm 'll 'd at the front of `text`, or 0.
std::size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.substr(0, ending.size()) == ending) return ending.size();
  }
  return 0;
}

const char* Scanner::gpt2_word(const char* at, const char* end) const {
  if (const std::size_t size = contraction(between(at, end)); size > 0) return at + size;
  const char* start = *at == ' ' && at + 1 < end ? at + 1 : at;
  const Seen first = look(start);
  const char* next = start + first.size;
  if ((first.classes & kLetter) != 0) return run(next, end, kLetter);
  if ((first.classes & kNumber) != 0) return run(next, end, kNumber);
  if ((first.classes & kSpace) == 0) return run_without(next, end, kSpace | kLetter | kNumber);
  return blanks(at, end);
}

// The size of one of them in any case at the front of `text`, or 0. The long s is an s, too.
std::size_t contraction_in_any_case(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (text.substr(1, 2) == "\u017F") return 3;
  const auto lower = [text](std::size_t i) {
    return i < text.size() ? static_cast<char>(text[i] | 0x20) : '\0';
  };
  const char first = is_ascii_letter(text[1]) ? lower(1) : '\0';
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (text.size() < 3 || !is_ascii_letter(text[2])) return 0;
  const char second = lower(2);
  const bool is_long = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                       (first == 'l' && second == 'l');
  return is_long ? 3 : 0;
}

const char* Scanner::llama3_word(const char* at, const char* end, int digits) const {
  if (const std::size_t size = contraction_in_any_case(between(at, end)); size > 0) {
    return at + size;
  }
  const Seen first = look(at);
  const char* next = at + first.size;
  if ((first.classes & kLetter) != 0) return run(next, end, kLetter);
  if ((first.classes & kNumber) != 0) return number(at, end, digits);
  if (!is_newline(*at) && sees(next, end, kLetter)) return run(next, end, kLetter);
  // A mark is neither white space nor letter nor number here.
  const char* start = *at == ' ' && next < end ? next : at;
  if ((look(start).classes & (kSpace | kLetter | kNumber)) == 0) {
    const char* stop = run_without(start, end, kSpace | kLetter | kNumber);
    while (stop < end && is_newline(*stop)) ++stop;
    return stop;
  }
  const char* past_newline = through_newline(at, end);
  return past_newline != at ? past_newline : blanks(at, end);
}

}  // namespace

// The first two splits cut the text into numbers, runs of Han and kana, and the rest; the third
// then sees each of the latter two alone, with its end as the end of all text.
void scan_deepseek(std::string_view text, std::vector<std::string_view>& pieces) {
  const Scanner scanner;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const Seen first = scanner.look(at);
    const char* stop = at + first.size;
    if ((first.classes & kNumber) != 0) {
      stop = scanner.number(at, end, 3);
      pieces.push_back(between(at, stop));
    } else {
      stop = (first.classes & kHanKana) != 0 ? scanner.run(stop, end, kHanKana)
                                             : scanner.run_without(stop, end, kHanKana | kNumber);
      scanner.deepseek_words(at, stop, pieces);
    }
    at = stop;
  }
}

void scan_gpt2(std::string_view text, std::vector<std::string_view>& pieces) {
  const Scanner scanner;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const char* stop = scanner.gpt2_word(at, end);
    pieces.push_back(between(at, stop));
    at = stop;
  }
}

void scan_llama3(std::string_view text, int digits, std::vector<std::string_view>& pieces) {
  const Scanner scanner;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const char* stop = scanner.llama3_word(at, end, digits);
    pieces.push_back(between(at, stop));
    at = stop;
  }
}

}  // namespace fathom::text
