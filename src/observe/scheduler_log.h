#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace fathom::observe {

// One step of an engine, as it tells its log. Counts are of this rank.
struct StepNote {
  std::int64_t at_ns = 0;                // of base now_ns()
  std::int32_t prefill_requests = 0;     // with prompt rows in the step
  std::int32_t prefill_tokens = 0;       // those rows
  std::int32_t cached_tokens = 0;        // of their prompts, from the prefix cache
  std::int32_t prefill_used_tokens = 0;  // cache tokens held before the step took its own
  std::int32_t running = 0;              // requests that run, those with prompt rows left out
  std::int32_t waiting = 0;
  bool tells_decode = false;        // it is the turn of a decode line
  std::int32_t decode_running = 0;  // requests that run
  std::int32_t used_tokens = 0;     // cache tokens held
  std::int32_t pool_tokens = 0;
  bool graph = false;
  std::int64_t generated_tokens = 0;  // since the start
  std::int32_t draft_tokens = 0;      // verified for a request and step at most; 0: no speculation
  // With speculation: requests times steps that decoded them, since the start.
  std::int64_t verify_steps = 0;
  std::int64_t accepted_drafts = 0;   // since the start
  std::int32_t retracted = 0;         // requests
  std::int32_t retracted_tokens = 0;  // that the pool gained
  double ratio_before = 0;            // of admission
  double ratio_after = 0;
};

// The lines that operators search for, as SGLang 0.5.7 spells them:
//   Prefill batch, #new-seq: 1, #new-token: 12, #cached-token: 0, token usage: 0.00, …
//   Decode batch, #running-req: 1, #token: 64, token usage: 0.01, cuda graph: False, …
//   KV cache pool is full. Retract requests. #retracted_reqs: 1, #new_tokens_gained: 64, …
std::string prefill_line(const StepNote& note);
// Growth since the decode line before.
struct DecodeGrowth {
  double generated_per_second = 0;
  std::int64_t verify_steps = 0;
  std::int64_t accepted_drafts = 0;
};
// With speculation "accept len" is the tokens that a request gets of a step, and "accept rate" that
// length's part of draft_tokens.
std::string decode_line(const StepNote& note, const DecodeGrowth& growth);
std::string retraction_line(const StepNote& note);

// Ours: the rule that turns drafts off and on has decided. `gain` is what an answer would take
// without drafts by what it takes with them; 0 or less: not known.
std::string draft_switch_line(bool on, double gain);

// Writes them on a thread of its own, so that an engine does not wait for whoever reads the log.
//
// Threads: push() and tell() from one thread at a time; the rest as usual.
class SchedulerLog {
 public:
  SchedulerLog();
  ~SchedulerLog();  // writes what was pushed
  SchedulerLog(const SchedulerLog&) = delete;
  SchedulerLog& operator=(const SchedulerLog&) = delete;

  // Never waits for the log. When kMostWaiting notes and lines wait already the note is dropped,
  // and a line says later how many were.
  void push(const StepNote& note);
  // The same of a whole line, of level info.
  void tell(std::string line);

  static constexpr std::size_t kMostWaiting = 1024;

 private:
  using Entry = std::variant<StepNote, std::string>;
  void add(Entry entry);
  void run();
  void write(const StepNote& note);

  // The decode line before; of the thread.
  std::int64_t decode_told_ns_ = 0;
  StepNote decode_told_;

  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<Entry> entries_;  // guarded by mutex_
  std::size_t dropped_ = 0;     // guarded by mutex_
  bool ending_ = false;         // guarded by mutex_
  std::thread thread_;
};

}  // namespace fathom::observe
