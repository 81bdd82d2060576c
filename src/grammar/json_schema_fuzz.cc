// A schema of any bytes: it is refused, or its random walks are JSON.

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "grammar/grammar_testing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fathom::grammar;
  constexpr std::size_t kMaxBytes = 2048;
  if (size > kMaxBytes) return 0;
  static const CompilerOptions options = byte_vocabulary({"{\"", "\":", "  ", "ab"});
  static Compiler& compiler = *Compiler::create(options)->release();
  std::string text(reinterpret_cast<const char*>(data), size);
  const auto grammar = compile_now(compiler, {Kind::kJsonSchema, text});
  if (!grammar.ok()) return 0;
  std::mt19937 random(1);
  const auto matcher = (*grammar)->new_matcher();
  const auto walk = random_walk(*matcher, options, random, 20);
  if (walk && !walk->empty()) {
    const auto value = fathom::parse_json(*walk, {.max_depth = 2000});
    FATHOM_CHECK_MSG(value.ok(), *walk);
  }
  return 0;
}
