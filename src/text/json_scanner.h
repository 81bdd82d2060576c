#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fathom::text {

// Reads one JSON value as it comes and says where it ends, or that it is none. It accepts what
// parse_json() accepts, within the default JsonLimits for depth and numbers.
//
// Takes UTF-8 for granted: bytes from 0x80 on may stand in strings and nowhere else.
// Memory: one byte for each open array or object, at most JsonLimits::max_depth.
class JsonScanner {
 public:
  // Reads on in `text`, up to the end of the value or to the first byte that cannot belong to it.
  // Returns how many bytes were read; it is all of them unless done() or broken().
  std::size_t push(std::string_view text);

  // The value is complete. A number on its own never is: more digits may come.
  bool done() const { return state_ == State::kDone; }
  // What was pushed is not the start of any JSON value.
  bool broken() const { return state_ == State::kBroken; }

 private:
  enum class State : std::uint8_t {
    kValue,         // one must come
    kFirstElement,  // one, or ]
    kFirstKey,      // one, or }
    kKey,
    kColon,
    kNext,  // a comma, or the end of the array or object
    kString,
    kEscape,
    kHex,
    kLowSurrogate,      // a backslash must come: the second half of a pair
    kLowSurrogateMark,  // and its u
    kWord,              // true, false, null
    kNumberSign,
    kNumberZero,
    kNumberWhole,
    kNumberPoint,
    kNumberFraction,
    kNumberExponent,
    kNumberExponentSign,
    kNumberPower,
    kDone,
    kBroken,
  };

  bool step(char c);
  bool start_value(char c);
  bool end_container(char c);
  bool string_step(char c);
  bool hex_step(char c);
  bool number_step(char c);
  bool open(char closer);
  void end_value();
  void become(State state) { state_ = state; }

  State state_ = State::kValue;
  bool key_ = false;  // the string that is read names a member
  std::vector<char> closers_;
  std::string_view word_;  // what of it is still to come
  std::uint32_t hex_ = 0;
  int hex_digits_ = 0;
  bool second_half_ = false;
  std::size_t number_bytes_ = 0;
};

}  // namespace fathom::text
