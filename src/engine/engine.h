#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "cache/kv_store.h"
#include "cache/page_pool.h"
#include "cache/radix_index.h"
#include "config/model_config.h"
#include "engine/step_account.h"
#include "grammar/compiler.h"
#include "model/model.h"
#include "ops/op_set.h"
#include "sched/draft_switch.h"
#include "sched/order.h"
#include "tensor/device.h"
#include "wire/engine_link.h"

namespace fathom::engine {

struct EngineOptions {
  std::int32_t context_tokens = 4096;       // prompt and answer of one request are below this
  std::int32_t max_running = 1;             // requests that hold pages
  std::int32_t chunk_tokens = 512;          // prompt rows of one step
  std::int32_t max_prefill_tokens = 16384;  // the tighter of the two holds
  std::int32_t max_prefill_requests = 0;    // requests with prompt rows in one step; 0: any
  float reserve_ratio = 0.7F;               // sched::Reserve's start
  std::int32_t reserve_clip = 4096;         // sched::Budget's
  sched::OrderOptions order;                // of those that wait
  bool prefix_cache = true;  // whether later requests find what earlier ones computed
  cache::Eviction eviction = cache::Eviction::kLru;
  // Tokens that the draft layer guesses after each, for the next step to verify. 0: none. They need
  // the model's draft layer, and caches for it; more than one needs the absorbed attention form.
  // Answers do not depend on them while both thresholds are 1.
  std::int32_t drafts = 0;
  // In [0, 1]. Below 1 likely drafts become part of sampled answers more often than their
  // probability says (ops::SampleArgs). Greedy answers stay as they are.
  float accept_threshold_single = 1;
  float accept_threshold_acc = 1;
  // Turns drafts off while they cost more than they give. On a device that computes what it is
  // given at once, as steps are timed, without `overlap` and graphs; with both thresholds at 1, as
  // times must have no say in answers.
  std::optional<sched::DraftSwitchOptions> draft_switch;
  // Called on the engine's thread when that changes, with sched::DraftSwitch::gain(); must not
  // wait. Null: nobody is told.
  std::function<void(bool on, double gain)> on_draft_switch;
  // Whether a step is launched before the results of the step before are there. Answers of
  // a deterministic backend do not depend on it. With drafts not in the expanded attention form.
  bool overlap = false;
  // Batch sizes of decode that get a graph, ascending, none above max_running; empty: no graphs.
  std::vector<std::int32_t> graph_batches;
  bool pad_graphs = true;  // a batch between two sizes runs in the next larger one's graph
  std::vector<wire::TokenId> end_tokens;  // end every answer unless it ignores them
  // Tokens from this id on are never drawn and have no probability: a tokenizer's vocabulary is
  // smaller than the logits are wide. 0: none.
  std::int32_t first_unused_token = 0;
  // Compiles the constraints of requests; must outlive the engine. Null: such requests are refused.
  grammar::Compiler* compiler = nullptr;
  int mask_threads = 1;  // that fill the masks of a step, the engine's included
  // What of its steps is reported, to whom.
  StepAccountOptions account;
  // Called when the engine's thread goes on to something else, with a name for it that is a
  // literal, and with null when there is nothing to do. Must not wait.
  std::function<void(const char*)> on_phase;
  // Asked after every step: whether what the weights lie in is still there.
  std::function<Status()> weights_health;

  // Rows that a model needs for these options.
  std::int32_t max_rows() const { return chunk_tokens + max_running * (1 + drafts); }
  // Those of drafts are beside the planned ones.
  std::int32_t planned_logit_rows() const { return max_running > 64 ? max_running : 64; }
  std::int32_t max_logit_rows() const { return planned_logit_rows() + max_running * drafts; }
};

// The most tokens that a request's prompt and answer may have together.
std::int32_t max_request_tokens(const EngineOptions& options, std::int32_t pages);
// The most of them that may be prompt: a few are left for the answer.
std::int32_t max_prompt_tokens(const EngineOptions& options, std::int32_t pages);

// The step loop of one rank: takes requests, plans, runs, draws, publishes.
//
// On a deterministic backend a request's tokens and log-probabilities depend on the request alone:
// neither on the others, nor on chunks, retractions and what the pool has room for.
class Engine {
 public:
  // Everything given must outlive the engine. `model` was created for options.max_rows(),
  // max_logit_rows() and context_tokens; the page pool has `store`'s pages.
  static Result<std::unique_ptr<Engine>> create(const config::ModelConfig& config,
                                                model::Model& model,
                                                cache::KvStore& store,
                                                const ops::OpSet& ops,
                                                Device& device,
                                                const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Captures the graphs of options.graph_batches. Called at most once, before run().
  Status capture_graphs();

  // Serves `port` until it is closed; requests that are unfinished then, and those of a failed
  // engine, end with Finish::kAbort and kUnavailable. A failure is the device's or the weights'.
  // Called once; the calling thread is the engine's thread.
  Status run(wire::EnginePort& port);

  // For tests: the pages in which what `tokens` led to can be found, from the first on, and whether
  // one of them lacks rows of the draft layer. Not while run() goes on.
  std::vector<cache::PageId> found_pages(const std::string& cache_namespace,
                                         std::span<const wire::TokenId> tokens) const;
  bool lacks_draft_rows(cache::PageId page) const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fathom::engine
