#pragma once

#include <cstdint>
#include <deque>
#include <mutex>

#include "observe/exposition.h"

namespace fathom::observe {

// What an engine is and has done at one moment. Counts of things done are since its start.
struct EngineValues {
  std::int32_t running = 0;  // requests that hold pages
  std::int32_t waiting = 0;
  std::int32_t waiting_for_grammar = 0;  // beside `waiting`: their constraint is being compiled
  std::int32_t slots = 0;                // requests that may run at once
  std::int32_t pages = 0;
  std::int32_t pages_used = 0;
  std::int32_t pages_leaked = 0;  // used, and no request has them
  std::int32_t page_tokens = 0;
  std::int64_t decode_context_tokens = 0;  // summed lengths of the last step's decoding requests
  bool decode_in_graph = false;            // the last step that decoded ran as a captured graph
  double new_token_ratio = 0;
  std::int64_t prefill_tokens = 0;  // computed for prompts
  std::int64_t cached_tokens = 0;   // of prompts, taken from the prefix cache
  std::int64_t evicted_tokens = 0;  // from the prefix cache, to make room
  std::int64_t generated_tokens = 0;
  std::int32_t draft_tokens = 0;  // verified for a request and step at most; 0: no speculation
  std::int64_t verify_steps = 0;  // with speculation: requests times steps that decoded them
  std::int64_t accepted_drafts = 0;
  std::int64_t graph_passes = 0;  // steps with decode rows that ran as a graph …
  std::int64_t plain_passes = 0;  // … and that did not
  std::int64_t retracted_requests = 0;
  std::int64_t retracted_prompt_tokens = 0;
  std::int64_t retracted_answer_tokens = 0;
  // Constraints: asked for, had from the cache, wrong or too slow, given up waiting for.
  std::int64_t grammar_requests = 0;
  std::int64_t grammar_cache_hits = 0;
  std::int64_t grammar_failures = 0;
  std::int64_t grammar_timeouts = 0;
};

// How much a count has grown between now and a look back: at least a second and about `window` at
// most, or since the first look.
//
// Threads: any.
class Rate {
 public:
  explicit Rate(std::int64_t window_ns = 30'000'000'000) : window_ns_(window_ns) {}
  struct Growth {
    double count = 0;
    double per_second = 0;
  };
  // 0 at the first look. Requires that `total` never falls.
  Growth look(std::int64_t total, std::int64_t now_ns);

 private:
  struct Sample {
    std::int64_t at_ns = 0;
    std::int64_t total = 0;
  };
  const std::int64_t window_ns_;
  std::mutex mutex_;
  std::deque<Sample> samples_;
  Growth last_;
};

// What has grown of an engine's counts since the scrape before.
struct EngineGrowth {
  double generated_per_second = 0;
  double retracted_requests = 0;
  double prefill_tokens = 0;
  double cached_tokens = 0;
  double verify_steps = 0;
  double accepted_drafts = 0;
};

// Writes the metrics of a scheduler.
void write_engine_metrics(Exposition& out,
                          const Labels& labels,
                          const EngineValues& values,
                          const EngineGrowth& growth);

}  // namespace fathom::observe
