// The first byte chooses a kind: a regular expression, a grammar or a structural tag of any bytes
// is refused, or can be walked.

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include "base/check.h"
#include "grammar/grammar_testing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fathom::grammar;
  constexpr std::size_t kMaxBytes = 512;
  if (size == 0 || size > kMaxBytes) return 0;
  static const CompilerOptions options = byte_vocabulary({"aa", "ab", "\n\n"});
  static Compiler& compiler = *Compiler::create(options)->release();
  Kind kind = Kind::kRegex;
  if (data[0] == 'e') kind = Kind::kEbnf;
  if (data[0] == 't') kind = Kind::kStructuralTag;
  std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto grammar = compile_now(compiler, {kind, text});
  if (!grammar.ok()) return 0;
  std::mt19937 random(1);
  const auto matcher = (*grammar)->new_matcher();
  random_walk(*matcher, options, random, 1);
  return 0;
}
