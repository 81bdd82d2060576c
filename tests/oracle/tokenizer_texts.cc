#include "oracle/tokenizer_texts.h"

#include <cstddef>
#include <iterator>

#include "text/unicode_class.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

constexpr std::string_view kWords[] = {"the",
                                       "Model",
                                       "don't",
                                       "WE'LL",
                                       "it’s",
                                       "I'm",
                                       "they'd",
                                       "naïve",
                                       "état",
                                       "Straße",
                                       "x",
                                       "ﬁn",
                                       "İstanbul",
                                       "tokenizer",
                                       "antidisestablishmentarianism",
                                       "mRNA",
                                       "o'clock",
                                       "rock'n'roll",
                                       "e.g.",
                                       "user@example.com",
                                       "https://example.org/a?b=c&d=%20#e",
                                       "snake_case",
                                       "camelCase",
                                       "C++20"};

constexpr std::string_view kCode[] = {"def f(x, *, y=None):\n    return {\"k\": [x, y]}\n",
                                      "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * b[i];\r\n}\n",
                                      "#include <vector>\n\n\n// 注释 comment\n",
                                      "SELECT * FROM t WHERE a >= 10.5e-3 AND b != 'x''y';",
                                      "<div class=\"a-b\">&nbsp;</div>\n",
                                      "{\"a\":[1,22,333,4444],\"b\":\"\\u00e9\\n\"}",
                                      "x = y ? ~z : w << 2; /* ==== */",
                                      "$ ls -la | grep '\\.cc$' >> out.txt 2>&1\n",
                                      "\\frac{1}{2} \\sum_{i=0}^{n} x_i^2 $\n",
                                      "| a | b |\n|---|:-:|\n"};

constexpr std::string_view kEmoji[] = {"👩\u200D👧\u200D👦",
                                       "👨🏽\u200D🚀",
                                       "🏳️\u200D🌈",
                                       "🇩🇪🇨🇳",
                                       "1️⃣",
                                       "❤️",
                                       "☺",
                                       "😀😃",
                                       "👍🏿",
                                       "🧑\u200D🤝\u200D🧑",
                                       "©️",
                                       "™",
                                       "→",
                                       "√∞≠",
                                       "═══",
                                       "🏴\U000E0067\U000E0062\U000E007F"};

// Runs of one range each.
constexpr Range kScripts[] = {
    {0x4E00, 0x9FA5},  {0x4E00, 0x5200},   {0x9FA0, 0x9FAF}, {0x3400, 0x4DBF}, {0x20000, 0x2A6D6},
    {0xF900, 0xFA6D},  {0x3040, 0x309F},   {0x30A0, 0x30FF}, {0xFF61, 0xFF9F}, {0xAC00, 0xD7A3},
    {0x1100, 0x11FF},  {0x3131, 0x318E},   {0x0620, 0x065F}, {0x0660, 0x066D}, {0xFB50, 0xFBB1},
    {0x05D0, 0x05EA},  {0x0591, 0x05C7},   {0x0E01, 0x0E3A}, {0x0905, 0x0939}, {0x093E, 0x094F},
    {0x0400, 0x04FF},  {0x0370, 0x03FF},   {0x0300, 0x036F}, {0x20D0, 0x20F0}, {0x3001, 0x303F},
    {0xFF01, 0xFF5E},  {0x2010, 0x2027},   {0x2030, 0x205E}, {0x00A1, 0x00FF}, {0x1D400, 0x1D7FF},
    {0x10A0, 0x10FF},  {0x1F300, 0x1F64F}, {0xFE00, 0xFE0F}, {0x2190, 0x23FF}, {0xE000, 0xE00F},
    {0xE0100, 0xE01EF}};

constexpr Range kDigits[] = {{'0', '9'},       {'0', '9'},        {'0', '9'},
                             {0x0660, 0x0669}, {0xFF10, 0xFF19},  {0x2460, 0x249B},
                             {0x2160, 0x2188}, {0x00BC, 0x00BE},  {0x2070, 0x2079},
                             {0x0966, 0x096F}, {0x1D7CE, 0x1D7FF}};

constexpr std::string_view kBlanks[] = {
    " ",      " ",      " ",      " ",      "\n",     "\n",     "\t",     "\r\n",   "\r",
    "\v",     "\f",     "\u0085", "\u00A0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202F",
    "\u205F", "\u3000", "\u200B", "\uFEFF", "\x1C",   "\x1F",   "\u180E"};

// Writes one text.
class Writer {
 public:
  Writer(std::mt19937& random, std::span<const std::string_view> markers)
      : random_(random), markers_(markers) {}

  std::string write() {
    static constexpr Kind kKinds[] = {
        &Writer::word,    &Writer::word,   &Writer::script, &Writer::script, &Writer::code,
        &Writer::emoji,   &Writer::digits, &Writer::blanks, &Writer::marks,  &Writer::punctuation,
        &Writer::control, &Writer::marker, &Writer::any};
    const std::size_t parts = below(9);
    // Half of the texts have one kind or two, so that long runs come about.
    const Kind first = pick(kKinds);
    const Kind second = pick(kKinds);
    const bool is_pure = below(2) == 0;
    for (std::size_t i = 0; i < parts; ++i) {
      (this->*(is_pure ? (below(2) == 0 ? first : second) : pick(kKinds)))();
      if (below(3) == 0) text_ += ' ';
    }
    return std::move(text_);
  }

 private:
  using Kind = void (Writer::*)();

  std::size_t below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }
  template <class T, std::size_t kSize>
  const T& pick(const T (&list)[kSize]) {
    return list[below(kSize)];
  }
  void put(Range range) {
    append_utf8(range.first + static_cast<char32_t>(below(range.last - range.first + 1)), text_);
  }

  void word() {
    text_ += pick(kWords);
    if (below(3) == 0)
      text_ += pick({std::string_view(","), std::string_view(". "), std::string_view("?!"),
                     std::string_view(" ")});
  }
  void script() {
    const Range range = pick(kScripts);
    for (std::size_t left = 1 + below(12); left > 0; --left) put(range);
  }
  void code() { text_ += pick(kCode); }
  void emoji() {
    for (std::size_t left = 1 + below(3); left > 0; --left) text_ += pick(kEmoji);
  }
  void digits() {
    const Range range = pick(kDigits);
    for (std::size_t left = 1 + below(20); left > 0; --left) {
      put(range);
      if (below(12) == 0) text_ += pick({'.', ',', '-', ' '});
    }
  }
  void blanks() {
    const bool is_pure = below(2) == 0;
    const std::string_view one = pick(kBlanks);
    for (std::size_t left = 1 + below(12); left > 0; --left) text_ += is_pure ? one : pick(kBlanks);
  }
  void marks() {
    put({'a', 'z'});
    for (std::size_t left = 1 + below(4); left > 0; --left) put({0x300, 0x34E});
  }
  void punctuation() {
    for (std::size_t left = 1 + below(8); left > 0; --left)
      put(pick({Range{'!', '/'}, Range{':', '@'}, Range{'[', '`'}, Range{'{', '~'}}));
  }
  void control() {
    for (std::size_t left = 1 + below(5); left > 0; --left)
      put(pick({Range{0, 0x1F}, Range{0x7F, 0x9F}, Range{0x200B, 0x200F}, Range{0x2060, 0x2064}}));
  }
  void marker() {
    if (markers_.empty()) return;
    std::string_view content = markers_[below(markers_.size())];
    if (below(4) == 0) text_ += pick(kBlanks);
    if (below(5) == 0) {
      content = content.substr(0, valid_utf8_prefix(content.substr(0, below(content.size() + 1))));
    }
    text_ += content;
    if (below(4) == 0) text_ += pick(kBlanks);
    if (below(8) == 0) text_ += "x";
  }
  // Whatever has a class. What is not assigned may be in another version's tables.
  void any() {
    for (std::size_t left = 1 + below(6); left > 0; --left) {
      const auto c = static_cast<char32_t>(below(0x32400));
      const bool is_surrogate = c >= 0xD800 && c <= 0xDFFF;
      if (!is_surrogate && unicode_classes().of(c) != 0) append_utf8(c, text_);
    }
  }

  std::mt19937& random_;
  std::span<const std::string_view> markers_;
  std::string text_;
};

}  // namespace

std::string random_mixture(std::mt19937& random, std::span<const std::string_view> markers) {
  return Writer(random, markers).write();
}

std::string random_damage(std::mt19937& random, std::string text) {
  for (auto left = 1 + random() % 5; left > 0; --left) {
    const auto at = static_cast<std::ptrdiff_t>(random() % (text.size() + 1));
    const auto byte = static_cast<char>(random() % 256);
    if (random() % 2 == 0 || at == std::ssize(text)) {
      text.insert(text.begin() + at, byte);
    } else if (random() % 2 == 0) {
      text[static_cast<std::size_t>(at)] = byte;
    } else {
      text.erase(text.begin() + at);
    }
  }
  return text;
}

}  // namespace fathom::text
