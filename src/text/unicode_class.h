#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace fathom::text {

// What pre-tokenizers ask of a code point, one bit each. The first five are general categories
// (\p{L} …) and exclude one another.
enum CharClass : std::uint8_t {
  kLetter = 1,
  kMark = 2,
  kNumber = 4,
  kPunctuation = 8,
  kSymbol = 16,
  kSpace = 32,    // White_Space, the regex \s
  kWord = 64,     // the regex \w: Alphabetic, M, Nd, Pc and the two joiners
  kHanKana = 128  // U+3040..30FF and U+4E00..9FA5, which DeepSeek's second split isolates
};

// The classes of every code point, Unicode 15.0, in two stages of about 60 kB together.
//
// Threads: immutable; unicode_classes() may be called from any.
class UnicodeClasses {
 public:
  // The CharClass bits of a code point. Requires code_point <= U+10FFFF.
  std::uint8_t of(char32_t code_point) const {
    return blocks_[block_of_[code_point >> 8]][code_point & 0xFF];
  }
  // The same for one byte below 0x80.
  std::uint8_t of_ascii(unsigned char byte) const { return blocks_[0][byte]; }

 private:
  friend const UnicodeClasses& unicode_classes();
  UnicodeClasses();

  std::vector<std::array<std::uint8_t, 256>> blocks_;  // distinct blocks of 256 code points
  std::array<std::uint16_t, 0x1100> block_of_{};       // [code point / 256] -> index in blocks_
};

// The one table, built from the generated ranges on first use.
const UnicodeClasses& unicode_classes();

}  // namespace fathom::text
