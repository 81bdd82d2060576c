#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <sys/types.h>

#include "bench/serve_case.h"
#include "bench/serve_rig.h"
#include "text/tokenizer.h"

namespace fathom::bench {

// Seconds.
struct Times {
  double wall = 0;
  double server = 0;      // processor time of the server's process without …
  double publishing = 0;  // … the script in the engine's place
  double clients = 0;     // processor time of the clients' process
};

// Sums over rounds. The time between them, in which requests are read and prompts tokenized, does
// not count.
struct Figures {
  Times times;
  std::int64_t tokens = 0;
  std::int64_t events = 0;  // that carry text
  std::int64_t bytes = 0;   // with all framing
  Latencies latencies;      // of measure_paced()
};

// A server, the process of its clients, and rounds in which all streams are answered at once.
//
// Requires a process of one thread: it is forked, and threads do not come along.
class ServeRun {
 public:
  // Borrows all of them for its life.
  ServeRun(const StreamForm& form,
           const text::Tokenizer& tokenizer,
           const Script& script,
           int streams);
  ~ServeRun();
  ServeRun(const ServeRun&) = delete;
  ServeRun& operator=(const ServeRun&) = delete;

  // Rounds for at least `seconds`: a token for every stream when all clients have the one before.
  Figures measure_rate(double seconds);
  // … and a token for every stream each `step_s`, whatever the clients have.
  Figures measure_paced(double seconds, double step_s);

 private:
  void start_clients(const StreamForm& form);
  Times now() const;
  Signal next_signal() const;
  void begin_round(Signal round);
  void publish(std::size_t step);
  void end_round(const Times& begin);
  void play_by_steps();
  void play_paced(double step_s);

  const Script& script_;
  const int streams_;
  Shared* shared_ = nullptr;
  int signals_ = -1;
  pid_t clients_ = -1;
  clockid_t clients_clock_ = 0;
  std::unique_ptr<ServeRig> rig_;
  Figures sums_;
};

}  // namespace fathom::bench
