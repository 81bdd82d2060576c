#include "text/byte_alphabet.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "text/utf8.h"

namespace fathom::text {
namespace {

constexpr std::size_t kEnd = 0x144;  // one past the largest character of the alphabet

struct Alphabet {
  std::array<char32_t, 256> character{};     // [byte]
  std::array<std::int16_t, kEnd> byte_of{};  // [character], -1 outside the alphabet
};

constexpr bool spells_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (std::int16_t& byte : alphabet.byte_of) byte = -1;
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t c = spells_itself(byte) ? byte : next++;
    alphabet.character[byte] = c;
    alphabet.byte_of[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

bool append_spelled_bytes(std::string_view spelled, std::string& bytes) {
  const std::size_t before = bytes.size();
  for (std::size_t at = 0; at < spelled.size();) {
    const CodePoint c = decode_trusted(spelled.data() + at);
    const int byte = c.value < kEnd ? kAlphabet.byte_of[c.value] : -1;
    if (byte < 0) {
      bytes.resize(before);
      return false;
    }
    bytes.push_back(static_cast<char>(byte));
    at += c.size;
  }
  return true;
}

std::string spell_byte(unsigned char byte) {
  std::string spelled;
  append_utf8(kAlphabet.character[byte], spelled);
  return spelled;
}

}  // namespace fathom::text
