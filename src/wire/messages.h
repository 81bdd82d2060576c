#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"

// What the node process and an engine tell each other. Plain values: the in-process link passes
// them as they are; links between processes serialise exactly these.
namespace fathom::wire {

// Chosen by the node process, ascending, never used twice in its life: of two requests the one with
// the lower id is the older one. Threads that submit at once may reach the engine in another order.
using RequestId = std::uint64_t;
using TokenId = std::int32_t;

// Added to the logit of a token.
struct TokenBias {
  TokenId id = 0;
  float bias = 0;
};

// How tokens are drawn. Validated and completed by whoever makes the request: the engine relies on
// the ranges.
struct SamplingParams {
  float temperature = 1;     // >= 0; 0 is greedy
  float top_p = 1;           // (0, 1]
  std::int32_t top_k = 0;    // >= 1; 0: the whole vocabulary
  float min_p = 0;           // [0, 1]
  std::uint64_t seed = 0;    // with the position it decides every draw (docs/arithmetic.md)
  std::uint32_t sample = 0;  // index among the samples of one prompt
  std::int32_t max_new_tokens =
      0;                    // >= 0; the engine shortens it to what its context and pool hold
  bool ignore_eos = false;  // neither end-of-sequence nor stop_token_ids end the answer
  std::vector<TokenId> stop_token_ids;  // ascending; beside the model's own ends of sequence
  // Until the answer has so many tokens, nothing that would end it is drawn; <= max_new_tokens.
  std::int32_t min_new_tokens = 0;
  // Of the answer's tokens so far, not the prompt's (docs/arithmetic.md 14).
  float frequency_penalty = 0;        // [-2, 2]
  float presence_penalty = 0;         // [-2, 2]
  float repetition_penalty = 1;       // (0, 2]
  std::vector<TokenBias> logit_bias;  // ascending in id, each once; finite
};

// What an answer has to match.
enum class ConstraintKind : std::uint8_t { kNone, kJsonSchema, kRegex, kEbnf, kStructuralTag };

struct Constraint {
  ConstraintKind kind = ConstraintKind::kNone;
  std::string text;           // a JSON schema, a pattern, a grammar … by `kind`
  TokenId begins_after = -1;  // holds from the token after the first such one; -1: from the first
};

// The most that a request may ask for at each position.
constexpr std::int32_t kMaxTopLogprobs = 128;    // best alternatives
constexpr std::int32_t kMaxAskedLogprobs = 128;  // tokens whatever their rank

struct LogprobParams {
  bool wanted = false;
  // First prompt position whose log-probability is wanted; the prompt's length: only the answer's.
  std::int32_t prompt_start = 0;
  std::int32_t top = 0;  // best alternatives told at each position; <= kMaxTopLogprobs
  // Tokens told at each position, whatever their rank; at most kMaxAskedLogprobs, ids below the
  // vocabulary.
  std::vector<TokenId> token_ids;
};

struct GenerateRequest {
  RequestId id = 0;
  std::vector<TokenId> prompt;  // not empty; ids below the vocabulary
  SamplingParams sampling;
  Constraint constraint;
  LogprobParams logprobs;
  bool stream = false;  // false: one TokenOutput, when the request is finished
  std::int32_t stream_interval =
      1;                         // tokens between two outputs of a stream, besides first and last
  std::int32_t priority = 0;     // higher is sooner, where the engine minds priorities
  std::string cache_namespace;   // requests find each other's prefixes in the same one alone
  std::int64_t deadline_ns = 0;  // of base Clock: the request ends with kDeadlineExceeded; 0: never
};

struct AbortRequest {
  RequestId id = 0;
  // The answer's tokens: what was generated after them is not kept for others to find. -1: all are.
  std::int32_t answer_tokens = -1;
};

// Forget the prefix cache, but for what unfinished requests hold of it.
struct FlushCache {};

using ToEngine = std::variant<GenerateRequest, AbortRequest, FlushCache>;

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
};

// Log-probabilities at one position, of log softmax(logits / temperature) before any filter (a
// greedy request: temperature 1). Logits of an answer carry penalties, masks and biases, those of a
// prompt do not.
struct PositionLogprobs {
  TokenId id = 0;                   // the token that stands there
  float logprob = 0;                // NaN for the first position of a prompt: nothing precedes it
  std::vector<TokenLogprob> top;    // descending; ties ascending in id
  std::vector<TokenLogprob> asked;  // LogprobParams::token_ids in their order
};

enum class Finish : std::uint8_t { kNone, kStop, kLength, kAbort };

// When things happened to a request: nanoseconds since the engine received it, -1 while they have
// not.
struct RequestTimes {
  std::int64_t queued_ns = -1;       // it waited to run: its constraint, if any, was compiled
  std::int64_t started_ns = -1;      // it left the queue for its first step
  std::int64_t first_token_ns = -1;  // its first token was known
  std::int64_t told_ns = -1;         // this output was made
};

// Speculation so far, all 0 without it. The rates that are made of these differ by what they count:
// see docs/operations.md.
struct DraftCounts {
  // Requests times steps that decoded them, whether they had drafts to verify or not: a step gives
  // a token, and one more for each draft accepted.
  std::int64_t steps = 0;
  std::int64_t drafts = 0;    // verified
  std::int64_t accepted = 0;  // of them
};

// News of one request.
struct TokenOutput {
  RequestId id = 0;
  std::vector<TokenId> tokens;                    // since the last output; the stop token included
  std::vector<PositionLogprobs> prompt_logprobs;  // with the first output, when wanted
  std::vector<PositionLogprobs> logprobs;         // one per token, when wanted
  Finish finish = Finish::kNone;                  // anything else: the last output of the request
  TokenId stop_token = -1;                        // with kStop: the last of `tokens`
  Status error;                                   // with kAbort: why
  std::int32_t prompt_tokens = 0;
  std::int32_t generated_tokens = 0;  // so far
  std::int32_t cached_tokens = 0;     // of the prompt, taken from the prefix cache
  std::int32_t retractions = 0;       // times the request gave its pages up and was computed again
  RequestTimes times;                 // so far
  DraftCounts drafts;                 // so far
};

// What an engine has done since its start.
struct EngineTotals {
  std::int64_t prefill_tokens = 0;  // rows computed for prompts, again after a retraction
  std::int64_t cached_tokens = 0;   // of prompts, taken from the prefix cache
  std::int64_t evicted_tokens = 0;  // from the prefix cache, to make room
  DraftCounts drafts;
  std::int64_t graph_passes = 0;  // steps with decode rows that ran as a captured graph …
  std::int64_t plain_passes = 0;  // … and that did not
  std::int64_t retracted_requests = 0;
  std::int64_t retracted_prompt_tokens = 0;
  std::int64_t retracted_answer_tokens = 0;
  // Constraints of requests: asked for, had from the cache, wrong or too slow, given up waiting
  // for.
  std::int64_t grammar_requests = 0;
  std::int64_t grammar_cache_hits = 0;
  std::int64_t grammar_failures = 0;
  std::int64_t grammar_timeouts = 0;
};

// How full an engine is; a snapshot.
struct EngineLoad {
  std::int32_t running = 0;
  std::int32_t waiting = 0;
  std::int32_t waiting_for_grammar = 0;  // whose constraint is being compiled; beside `waiting`
  std::int32_t waiting_retracted = 0;    // of `waiting`: gave their pages up and wait again
  std::int64_t waiting_tokens = 0;       // of `waiting`: tokens that they may have computed
  std::int32_t pages_used = 0;           // held by requests
  std::int32_t pages_cached = 0;         // in the prefix cache; some of them are used as well
  std::int32_t pages = 0;
  std::int64_t steps = 0;             // since the start
  std::int64_t generated_tokens = 0;  // since the start
  std::int32_t slots = 0;             // requests that may run at once
  std::int32_t pages_leaked = 0;      // used, and no request has them
  // Of the last step with decode rows; 0 and false when nothing runs.
  std::int64_t decode_context_tokens = 0;  // tokens of those requests together
  bool decode_in_graph = false;
  float reserve_ratio = 0;  // of remaining tokens that admission keeps room for
  EngineTotals totals = {};
};

}  // namespace fathom::wire
