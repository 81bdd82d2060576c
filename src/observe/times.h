#pragma once

#include <map>
#include <mutex>
#include <string_view>

#include "observe/exposition.h"
#include "observe/histogram.h"

namespace fathom::observe {

// How long the stages of a request took in an engine, in seconds; each ends where the next begins.
// Negative: it did not come to its end.
struct StageTimes {
  double process_s = -1;  // from its arrival until it waited for pages: its grammar is compiled
  double waiting_s = -1;  // … until it was in its first step
  double prefill_s = -1;  // … until its first token was known
};

// Times of an engine's work.
//
// Threads: any; no locks.
class SchedulerTimes {
 public:
  SchedulerTimes();

  void on_request(const StageTimes& times);
  // A grammar was compiled, or found wrong, in so many seconds.
  void on_grammar(double seconds) { grammars_.observe(seconds); }

  // sglang:queue_time_seconds, sglang:per_stage_req_latency_seconds (stages request_process,
  // prefill_waiting and prefill_forward), sglang:grammar_compilation_time_seconds.
  void write(Exposition& out, const Labels& labels) const;

 private:
  Histogram queue_;
  Histogram process_;
  Histogram waiting_;
  Histogram prefill_;
  Histogram grammars_;
};

// Times of functions of the server, by their names.
//
// Threads: any. One short lock for each call.
class FunctionTimes {
 public:
  // `name` is a static text; there are few.
  void observe(std::string_view name, double seconds);

  // sglang:func_latency_seconds.
  void write(Exposition& out) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string_view, Histogram> functions_;  // grows only: elements stay where they are
};

}  // namespace fathom::observe
