#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace fathom::text {

// A regular expression that is looked for in a text that is still coming. PCRE2's syntax, which
// covers that of Python's re but for \Z, without \G, \K and verbs; classes are Unicode's; ^ and $
// stand at the ends of the whole text. An empty match is none.
//
// Bounds: a pattern has at most kMaxPatternBytes. A match is found from the first kMaxMatchBytes
// behind its start: one that could go on is cut there. An expression that takes more steps than is
// reasonable (about a millisecond's) is given up.
//
// Threads: immutable.
class StopRegex {
 public:
  static constexpr std::size_t kMaxPatternBytes = 4096;
  static constexpr std::size_t kMaxMatchBytes = 4096;
  static constexpr std::size_t kGivenUp = static_cast<std::size_t>(-1);

  // kInvalidArgument says what is wrong with the pattern, and where.
  static Result<StopRegex> create(std::string_view pattern);

  struct Found {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  // The first match in `text` that begins at `from` or later and that text behind would not change;
  // with `at_end` there is none behind. Without one, `from` becomes the first place where a match
  // may begin yet, or kGivenUp. Looks at up to lookbehind_bytes() before `from`. Requires UTF-8.
  std::optional<Found> find(std::string_view text, bool at_end, std::size_t& from) const;

  // More than the expression looks at, so that ^ does not take the front of what is kept for the
  // start of the text.
  std::size_t lookbehind_bytes() const { return lookbehind_bytes_; }

 private:
  struct Free {
    void operator()(void* code) const;  // pcre2_code
  };

  StopRegex(void* code, std::size_t lookbehinds);
  int match(std::string_view text, std::size_t from, std::uint32_t options, Found& found) const;

  std::unique_ptr<void, Free> code_;
  std::size_t lookbehind_bytes_ = 0;
};

}  // namespace fathom::text
