#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace fathom::text {

// Matching of markup against the front of a text that is still coming. An answer other than kMore
// holds whatever text follows, which is what makes results independent of how the text was cut.
enum class Match : std::uint8_t {
  kNo,
  kMore,  // the text ended before it was decided
  kYes,
};

// White space between parts of markup, names and attributes are at most this long; what is longer
// is no markup. So a text that is held back until it is decided is short.
constexpr std::size_t kMaxMarkupSpaces = 512;
constexpr std::size_t kMaxMarkupName = 256;

constexpr bool is_markup_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

inline std::size_t leading_spaces(std::string_view text) {
  std::size_t count = 0;
  while (count < text.size() && is_markup_space(text[count])) ++count;
  return count;
}

inline std::string_view trim_spaces(std::string_view text) {
  text.remove_prefix(leading_spaces(text));
  while (!text.empty() && is_markup_space(text.back())) text.remove_suffix(1);
  return text;
}

// Reads one part of a tag after the other. A call that does not answer kYes leaves the cursor
// where it was.
class MarkupCursor {
 public:
  explicit MarkupCursor(std::string_view text) : text_(text) {}
  std::size_t at() const { return at_; }
  std::string_view rest() const { return text_.substr(at_); }

  Match literal(std::string_view wanted) {
    const std::string_view left = rest();
    if (left.starts_with(wanted)) {
      at_ += wanted.size();
      return Match::kYes;
    }
    return wanted.starts_with(left) ? Match::kMore : Match::kNo;
  }

  // At least `least` white space; all there is.
  Match spaces(std::size_t least = 0) {
    const std::size_t count = leading_spaces(rest().substr(0, kMaxMarkupSpaces + 1));
    if (count > kMaxMarkupSpaces) return Match::kNo;
    if (at_ + count == text_.size()) return Match::kMore;
    if (count < least) return Match::kNo;
    at_ += count;
    return Match::kYes;
  }

  // Up to `end` and over it; `found` is what was before.
  Match until(char end, std::string_view& found) {
    const std::string_view left = rest().substr(0, kMaxMarkupName + 1);
    const std::size_t size = left.find(end);
    if (size == std::string_view::npos) {
      return left.size() > kMaxMarkupName ? Match::kNo : Match::kMore;
    }
    found = left.substr(0, size);
    at_ += size + 1;
    return Match::kYes;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// Where the first of some markers is.
struct MarkerPlace {
  std::size_t at = 0;  // before it there is none, whatever follows
  int which = -1;      // -1: none is whole; text from `at` on may be the start of one
};

// Requires that all markers start with '<' and none is the start of another.
inline MarkerPlace find_marker(std::string_view text, std::span<const std::string_view> markers) {
  std::size_t at = 0;
  while (at < text.size()) {
    const void* const open = std::memchr(text.data() + at, '<', text.size() - at);
    if (open == nullptr) break;
    at = static_cast<std::size_t>(static_cast<const char*>(open) - text.data());
    for (std::size_t i = 0; i < markers.size(); ++i) {
      const std::string_view rest = text.substr(at);
      if (rest.starts_with(markers[i])) return {at, static_cast<int>(i)};
      if (markers[i].starts_with(rest)) return {at, -1};
    }
    ++at;
  }
  return {text.size(), -1};
}

}  // namespace fathom::text
