#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Keeps masks to text that is UTF-8. The library counts a character's bytes by its first one and
// takes any continuation: overlong forms, surrogates and values past U+10FFFF pass it.
namespace fathom::grammar {

// What of a text decides whether the next byte continues it rightly, beyond the number of bytes:
// the four first bytes that narrow the second one (Unicode, table 3-7), or none of them.
enum class Utf8State : std::uint8_t { kAny, kAfterE0, kAfterEd, kAfterF0, kAfterF4 };

// Immutable. Threads: any.
class Utf8Guard {
 public:
  // `vocabulary`: the bytes of each token, by id.
  explicit Utf8Guard(const std::vector<std::string>& vocabulary);

  // Clears the bits of the tokens that cannot follow in `state`.
  void narrow(Utf8State state, std::span<std::uint32_t> mask) const;
  // Whether narrow() would clear that token's bit.
  bool refuses(Utf8State state, std::int32_t token) const;
  // After a token; kAny for one that has no text or no id here.
  Utf8State after(std::int32_t token) const;

 private:
  static constexpr std::size_t kStates = 5;
  std::array<std::vector<std::int32_t>, kStates>
      refused_;                   // by state, ascending; [0]: in every state
  std::vector<Utf8State> after_;  // by token
};

}  // namespace fathom::grammar
