#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

// Constrained decoding: what a grammar allows next, as one bit per token.
namespace fathom::grammar {

using TokenId = std::int32_t;

// Processor time of one mask, or of one token taken: more would hold up every other answer.
constexpr std::int64_t kMaxStepNs = 250'000'000;

// The languages in which a grammar is written.
enum class Kind : std::uint8_t {
  kJsonSchema,     // a JSON Schema, Draft 2020-12; the output is one JSON value that satisfies it
  kRegex,          // the whole output matches
  kEbnf,           // GBNF-like, its rule "root"
  kStructuralTag,  // free text with constrained parts: xgrammar's JSON form of it
};

struct Source {
  Kind kind = Kind::kJsonSchema;
  std::string text;
  bool operator==(const Source&) const = default;
};

// Words of a mask with a bit per token: bit i of word w stands for token 32 w + i, 1 is allowed.
constexpr std::size_t mask_words(std::int32_t vocab_size) {
  return (static_cast<std::size_t>(vocab_size) + 31) / 32;
}

// A grammar and the tokens of one answer so far. The constraint ends with a stop token, which is
// allowed exactly where the grammar is complete.
//
// Threads: one at a time.
class Matcher {
 public:
  // Tokens that rollback() can take back.
  static constexpr std::int32_t kMaxRollback = 200;

  virtual ~Matcher() = default;

  // Writes the tokens that may come next; mask.size() is mask_words(vocab_size). At least one bit
  // is set unless finished(). The bytes of an answer so made are UTF-8, in its free parts as well.
  virtual void fill_mask(std::span<std::uint32_t> mask) = 0;

  // Takes the next token. False, and nothing changes, when the grammar does not allow it.
  virtual bool accept(TokenId token) = 0;

  // Whether a stop token was accepted.
  virtual bool finished() const = 0;

  // Whether a mask or a token has taken so much processor time (CompilerOptions::max_step_ns) that
  // the answer should be given up. A step cannot be stopped, and later ones take longer. What was
  // taken back, or not accepted, has no say.
  virtual bool too_slow() const { return false; }

  // Takes back the last `tokens` accepted ones. Requires that many were accepted since the start
  // and tokens <= kMaxRollback.
  virtual void rollback(std::int32_t tokens) = 0;
};

// A compiled grammar. Immutable, shared by any number of matchers.
//
// Threads: any.
class Grammar {
 public:
  virtual ~Grammar() = default;
  // At the start of an answer; it needs neither the grammar nor the compiler to live on.
  virtual std::unique_ptr<Matcher> new_matcher() const = 0;
};

struct CompilerOptions {
  // Bytes of each token as text, by id; empty: a token without text (special, or unused), which no
  // grammar allows. Ids from token_bytes.size() to vocab_size are such tokens, too.
  std::vector<std::string> token_bytes;
  std::int32_t vocab_size = 0;       // width of the logits
  std::vector<TokenId> stop_tokens;  // that end an answer
  int threads = 1;                   // that compile, a source each
  std::size_t max_source_bytes = std::size_t{1} << 20;
  int max_depth = 64;                                // of brackets in a source
  std::int64_t max_step_ns = kMaxStepNs;             // of Matcher::too_slow(); tests lower it
  std::size_t max_waiting = 1024;                    // sources that wait for a thread
  std::chrono::milliseconds max_wait{30000};         // of a source for its result
  std::size_t cache_bytes = std::size_t{256} << 20;  // compiled grammars kept, oldest use first out
  // Told of each source that was compiled or found wrong, and how long that took, on a thread of
  // the compiler; must not call it. May be null.
  std::function<void(std::chrono::nanoseconds)> on_compiled;
};

// One compilation, perhaps shared by several who asked for the same source.
//
// Threads: any.
class Compilation {
 public:
  virtual ~Compilation() = default;
  // Whether result() is there; once true it stays so. True, too, when it took longer than max_wait.
  virtual bool done() const = 0;
  // kInvalidArgument: the source is wrong, and where, or too slow. kResourceExhausted: the bounds.
  // Requires done().
  virtual Result<std::shared_ptr<const Grammar>> result() const = 0;
};

struct CompilerCounts {
  std::int64_t requests = 0;
  std::int64_t cache_hits = 0;
  std::int64_t failures = 0;  // wrong or too large sources, and those for which there was no room
  std::int64_t timeouts = 0;
};

// Compiles sources on threads of its own and keeps what it compiled.
//
// Threads: any.
class Compiler {
 public:
  static Result<std::unique_ptr<Compiler>> create(CompilerOptions options);
  virtual ~Compiler() = default;

  // Never waits; the compilation may be done at once (cached, or refused). `on_done` is called
  // once, from any thread and perhaps before this returns, when it is done; it must not call the
  // compiler. A source whose compilations have all been let go of before its turn is not compiled,
  // and nobody is called.
  virtual std::shared_ptr<Compilation> compile(const Source& source,
                                               std::function<void()> on_done) = 0;
  virtual CompilerCounts counts() const = 0;
};

}  // namespace fathom::grammar
