#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <xgrammar/xgrammar.h>

#include "base/status.h"

// What a grammar costs, before it costs that. The library can be stopped neither in a compilation
// nor in a mask, and some short sources take minutes for one: "(.?){0,100}".
namespace fathom::grammar {

// Processor time of one compilation.
constexpr std::int64_t kMaxCompileNs = 20'000'000'000;

// Of this thread.
std::int64_t processor_ns();

// Compiles a grammar for a small part of the vocabulary, walks a little way through it, and takes
// what that costs for the whole vocabulary's cost in proportion.
//
// Threads: any.
class Trial {
 public:
  // `vocabulary` and `stop_tokens` as the library takes them.
  Trial(const std::vector<std::string>& vocabulary, const std::vector<std::int32_t>& stop_tokens);
  // kInvalidArgument: it would cost more than the bounds. Throws what the library throws.
  Status run(const xgrammar::Grammar& grammar) const;

 private:
  struct Sample {
    std::int64_t of = 1;  // the whole vocabulary is so many times as large
    xgrammar::TokenizerInfo vocabulary;
  };
  std::vector<Sample> samples_;  // the smallest first
};

}  // namespace fathom::grammar
