#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/regex_split.h"

namespace fathom::text {

// How a text is cut before BPE: the steps in order, each acting on every piece the one before
// left, then the ByteLevel step.
struct PreTokenizerSpec {
  std::vector<SplitStep> steps;
  bool add_prefix_space = false;  // ByteLevel puts a space before a piece that has none in front
  bool gpt2_split = false;        // ByteLevel then splits by GPT-2's regex
};

// The pieces of one text, and what they point into besides it.
struct Pieces {
  std::vector<std::string_view> list;
  std::vector<std::string_view> spare;  // scratch
  std::deque<std::string> prefixed;     // pieces that were given a space

  void clear() {
    list.clear();
    prefixed.clear();
  }
};

// A PreTokenizerSpec ready to run. DeepSeek's three splits and the regexes of GPT-2, Llama 3 and
// Qwen have scanners of their own; everything else goes through PCRE2.
//
// Threads: immutable, any number at once, each with its own Pieces.
class PreTokenizer {
 public:
  enum class Engine { kScanners, kRegexOnly };

  // kInvalidArgument names the step. kRegexOnly leaves the scanners out: the same cut, slower.
  static Result<PreTokenizer> create(PreTokenizerSpec spec, Engine engine = Engine::kScanners);

  // Appends the pieces of `text` to `pieces`, none empty. They hold every byte of `text` unless a
  // step removes some. Invalid UTF-8 is no obstacle: each run of bytes that is not part of a
  // character is a piece by itself, and the text on either side of it is cut alone.
  //
  // The pieces point into `text` and `pieces`.
  void split(std::string_view text, Pieces& pieces) const;

 private:
  struct Stage {
    enum class Kind { kDeepSeek, kGpt2, kLlama3, kQwen, kRegex, kPrefixSpace };
    Kind kind = Kind::kRegex;
    std::unique_ptr<RegexSplit> regex;  // kRegex only
  };

  void split_valid(std::string_view text, Pieces& pieces) const;
  static void run_stage(const Stage& stage, Pieces& pieces, std::size_t first);

  std::vector<Stage> stages_;
};

}  // namespace fathom::text
