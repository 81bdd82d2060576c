#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom::text {

// What becomes of the matches of a pattern when a text is split by it.
enum class SplitBehavior : std::uint8_t {
  kIsolated,            // each match is a piece
  kRemoved,             // matches are dropped
  kMergedWithPrevious,  // a match ends the piece before it
  kMergedWithNext,      // a match begins the piece after it
  kContiguous,          // neighbouring matches are one piece
};

// One split step of a pre-tokenizer.
struct SplitStep {
  std::string pattern = {};
  bool literal = false;  // the pattern is the text to find, not a regex
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // matches and the text between them change roles
};

// A SplitStep ready to run, on PCRE2. Patterns are those of Oniguruma (regex_dialect.h). Character
// classes are Unicode's (14.0), ^ and $ stand at every line, and only \n is a newline to them.
//
// Threads: immutable; each thread runs it through a Matcher of its own.
class RegexSplit {
 public:
  // kInvalidArgument says what PCRE2 found wrong with the pattern, and where.
  static Result<std::unique_ptr<RegexSplit>> create(const SplitStep& step);
  ~RegexSplit();
  RegexSplit(const RegexSplit&) = delete;
  RegexSplit& operator=(const RegexSplit&) = delete;

  // The mutable part of matching. Borrows the RegexSplit.
  class Matcher {
   public:
    explicit Matcher(const RegexSplit& split);
    ~Matcher();
    Matcher(const Matcher&) = delete;
    Matcher& operator=(const Matcher&) = delete;

    // Appends the pieces of `text`, in order, none empty, pointing into it. Where the pattern asks
    // for more work than the match limit allows, the rest of the text counts as unmatched.
    // Requires valid UTF-8.
    void split(std::string_view text, std::vector<std::string_view>& pieces);

   private:
    struct Section {
      std::size_t begin = 0;
      std::size_t end = 0;
      bool is_match = false;
    };

    bool find(std::string_view text, std::size_t from, Section& match);
    void find_sections(std::string_view text);
    void merge_forward();
    void merge_backward();

    const RegexSplit& split_;
    void* match_data_;
    std::vector<Section> sections_;  // cover the text of the running split()
    std::vector<Section> merged_;
  };

 private:
  RegexSplit(void* code, SplitBehavior behavior, bool invert);

  void* code_;    // pcre2_code
  void* limits_;  // pcre2_match_context
  SplitBehavior behavior_;
  bool invert_;
};

}  // namespace fathom::text
