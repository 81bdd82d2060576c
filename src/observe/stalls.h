#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace fathom::observe {

struct StallOptions {
  double warning_s = 0;   // --gc-warning-threshold-secs; 0: no warnings
  double watchdog_s = 0;  // --watchdog-timeout, of the engine alone; 0: none
  double soft_watchdog_s = 0;
  // How much later than meant the watching thread may look before it is the whole process, or the
  // machine, that stood still.
  double held_up_s = 2;
};

// Finds out when a thread that should not be held up is: what it does is a phase with a beginning,
// and a phase that lasts longer than the threshold is told in the log, by its name, while it lasts
// and with its full time when it ends:
//   LONG STALL DETECTED | Thread: http | Phase: /v1/models | Duration: 1.2034s
//
// The engine's phases also feed the watchdogs: one phase of it that lasts as long as their timeouts
// means that there is work and no progress. An engine without work has no phase.
//
// Time in which the whole process stood still (SIGSTOP, a frozen container) counts for nobody.
//
// Threads: any, unless said otherwise. A phase costs a clock and a short lock, the engine's only
// the clock. Lines are written by a thread of this object: whoever reads the log slowly holds up
// nobody here.
class Stalls {
 public:
  // `give_up` is called from a thread of this object when the watchdog's time is over, at most
  // once, with a sentence; it should end the process.
  explicit Stalls(const StallOptions& options,
                  std::function<void(const std::string&)> give_up = {});
  ~Stalls();
  Stalls(const Stalls&) = delete;
  Stalls& operator=(const Stalls&) = delete;

  // A phase of the thread that makes it, from here to its end; phases of a thread may be nested.
  // `thread` and `phase` must outlive it.
  class Phase {
   public:
    // With a null `stalls` nothing happens.
    Phase(Stalls* stalls, std::string_view thread, std::string_view phase);
    ~Phase();
    Phase(const Phase&) = delete;
    Phase& operator=(const Phase&) = delete;

   private:
    friend class Stalls;
    struct Entry {
      std::string_view thread;
      std::string_view name;
      std::int64_t began_ns = 0;
      bool told = false;
    };
    Stalls* stalls_;
    std::list<Entry>::iterator entry_;
  };

  // The engine's thread goes on to another phase, a literal; null: it has nothing to do.
  void engine_phase(const char* phase);

 private:
  void run();
  void check_phases(std::int64_t now);
  void check_engine(std::int64_t now);
  // What of the time from `began` to `now` counts.
  std::int64_t lasted(std::int64_t began, std::int64_t now) const;
  // A phase ended: has it told when it was too long.
  void ended(std::string_view thread, std::string_view phase, std::int64_t duration_ns);

  const StallOptions options_;
  const std::function<void(const std::string&)> give_up_;
  const std::int64_t interval_ns_;  // between two looks

  std::atomic<std::int64_t> looked_ns_;     // the last look
  std::atomic<std::int64_t> since_ns_ = 0;  // the process stood still until then

  std::atomic<const char*> engine_phase_ = nullptr;
  std::atomic<std::int64_t> engine_began_ns_ = 0;
  // Of the checking thread: the phase that was told of already, by its beginning.
  std::int64_t engine_warned_ns_ = 0;
  std::int64_t engine_soft_ns_ = 0;
  bool gave_up_ = false;

  std::mutex mutex_;
  std::condition_variable ended_;
  std::list<Phase::Entry> phases_;  // guarded by mutex_
  std::vector<std::string> lines_;  // to be written; guarded by mutex_
  bool ending_ = false;             // guarded by mutex_
  std::thread thread_;
};

}  // namespace fathom::observe
