#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/stop_regex.h"
#include "text/utf8.h"

namespace fathom::text {

// Where the text of an answer stops: at any of some strings, or at a match of any of some regular
// expressions.
//
// Threads: immutable.
class StopRules {
 public:
  // Empty strings never match, nor, beside expressions, do strings that are no UTF-8.
  // kInvalidArgument names the expression by its index and says what is wrong with it and where.
  // With `keep_stop` the text that stops an answer belongs to it.
  static Result<std::shared_ptr<const StopRules>> create(std::vector<std::string> strings,
                                                         const std::vector<std::string>& regexes,
                                                         bool keep_stop);

 private:
  friend class StopMatcher;
  struct String {
    std::string text;
    std::vector<std::uint32_t> borders;  // of each prefix: its longest that is its end, too
  };

  StopRules() = default;

  std::vector<String> strings_;
  std::vector<StopRegex> regexes_;
  bool keep_stop_ = false;
  bool starts_[256] = {};  // first bytes of the strings
};

// What stopped an answer.
struct StopMatch {
  bool is_regex = false;
  std::size_t index = 0;  // in its list
  std::string text;       // the part of the answer that matched
  bool operator==(const StopMatch&) const = default;
};

// Looks for the stop of one answer as its text comes. How the text is cut into push() calls does
// not change where it stops:
//
// - The stop is the match that is certain first, byte by byte; of those the one with the earliest
//   end, then strings before expressions, then the first of the list.
// - A string is certain at its last byte. An expression's match is certain once no more text could
//   change it: \d+ at the first byte behind the digits, or at the end of the answer. See StopRegex
//   for the bounds on it.
// - Text that may become part of a stop is held back: the longest end of the text that is the start
//   of a string, or that may become a match.
//
// With expressions, bytes that belong to no UTF-8 character become U+FFFD.
// Cost is linear in the text; memory is bounded by the longest string, or
// StopRegex::kMaxMatchBytes. Threads: one at a time.
class StopMatcher {
 public:
  explicit StopMatcher(std::shared_ptr<const StopRules> rules);

  // Appends text that is certain to `out`. After a match that is all of the answer's text, and
  // nothing may be pushed any more.
  std::optional<StopMatch> push(std::string_view text, std::string& out);
  // The answer is over without a match so far: what was held back. Expressions may match it yet.
  std::optional<StopMatch> finish(std::string& out);

  // Whether an expression cost too much and is not looked for any more. Where that happens may
  // depend on how the text was cut.
  bool gave_up() const;

 private:
  // A match, in bytes of the answer.
  struct Place {
    bool is_regex = false;
    std::size_t index = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  std::optional<Place> find_string(std::string_view text);
  std::optional<Place> find_regex(std::size_t limit, bool at_end, std::vector<std::size_t>& from);
  std::optional<Place> first_certain(std::size_t before, const std::optional<Place>& string);
  std::optional<Place> append(std::string_view text);
  std::size_t limit() const { return base_ + text_.size(); }
  void release(std::size_t end, std::string& out);
  void forget();
  StopMatch stop_at(const Place& place, std::string& out);

  std::shared_ptr<const StopRules> rules_;
  std::vector<std::uint32_t> matched_;  // per string: how much of it the text ends with
  std::vector<std::size_t> from_;       // per expression: no match begins before
  std::string text_;                    // the end of the answer, from its byte base_ on
  std::size_t base_ = 0;
  std::size_t released_ = 0;
  Utf8Repair repair_;
};

}  // namespace fathom::text
