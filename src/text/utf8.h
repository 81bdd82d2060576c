#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::text {

struct CodePoint {
  char32_t value = 0;
  std::uint32_t size = 0;  // bytes, 1 to 4
};

// The character at `at`. Requires a whole, valid UTF-8 character there.
inline CodePoint decode_trusted(const char* at) {
  const auto byte = [at](int i) {
    return static_cast<char32_t>(static_cast<unsigned char>(at[i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

enum class Utf8Kind : std::uint8_t {
  kWhole,       // a valid character
  kIncomplete,  // all bytes there are begin a character that more bytes could finish
  kBroken,      // no bytes that follow could make this a character
};

// What the front of some bytes is: `size` bytes of one character, or of one maximal subpart that
// is to be replaced as a whole when it is broken or when nothing follows.
struct Utf8Front {
  Utf8Kind kind = Utf8Kind::kWhole;
  std::uint32_t size = 0;
};

// Requires !bytes.empty().
Utf8Front utf8_front(std::string_view bytes);

// How many leading bytes are whole, valid characters.
std::size_t valid_utf8_prefix(std::string_view bytes);

// Appends `value`, which must be a scalar value (not a surrogate, at most U+10FFFF).
void append_utf8(char32_t value, std::string& out);

// Turns a stream of arbitrary bytes into valid UTF-8: whole characters pass, a byte sequence that
// can never become one is replaced by U+FFFD at once (one per maximal subpart), the start of a
// character waits for the rest. The output of a stream does not depend on how it was cut.
class Utf8Repair {
 public:
  // Appends what is now certain to `out`. Cost is linear in bytes.size() alone.
  void push(std::string_view bytes, std::string& out);
  // Ends the stream: an unfinished character becomes one U+FFFD. Ready for a new stream after.
  void flush(std::string& out);
  // Bytes that wait, at most 3.
  std::size_t pending() const { return pending_size_; }

 private:
  void push_through_pending(std::string_view& bytes, std::string& out);

  char pending_[4] = {};
  std::uint32_t pending_size_ = 0;
};

}  // namespace fathom::text
