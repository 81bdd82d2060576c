#include "observe/stalls.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace fathom::observe {

namespace {

std::int64_t nanoseconds(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

std::string seconds_text(std::int64_t duration_ns) {
  std::array<char, 64> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "%.4fs", static_cast<double>(duration_ns) * 1e-9);
  return {text.data(), static_cast<std::size_t>(length)};
}

// Lines that may wait to be written; there are more only when nobody reads the log.
constexpr std::size_t kMostLines = 64;

std::string stall_line(std::string_view thread,
                       std::string_view phase,
                       std::int64_t duration_ns,
                       bool ended) {
  std::string line = "LONG STALL DETECTED | Thread: ";
  line += thread;
  line += " | Phase: ";
  line += phase;
  line += " | Duration: ";
  line += seconds_text(duration_ns);
  if (!ended) line += " so far";
  return line;
}

// How often to look, so that no threshold is passed by more than a quarter.
std::int64_t look_every(const StallOptions& options) {
  double shortest_s = 4;
  for (const double limit_s : {options.warning_s, options.watchdog_s, options.soft_watchdog_s}) {
    if (limit_s > 0) shortest_s = std::min(shortest_s, limit_s);
  }
  return std::max<std::int64_t>(nanoseconds(shortest_s) / 4, 1'000'000);
}

}  // namespace

Stalls::Stalls(const StallOptions& options, std::function<void(const std::string&)> give_up)
    : options_(options),
      give_up_(std::move(give_up)),
      interval_ns_(look_every(options)),
      looked_ns_(now_ns()) {
  if (options.warning_s > 0 || options.watchdog_s > 0 || options.soft_watchdog_s > 0) {
    thread_ = std::thread([this] { run(); });
  }
}

Stalls::~Stalls() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ended_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Stalls::Phase::Phase(Stalls* stalls, std::string_view thread, std::string_view phase)
    : stalls_(stalls != nullptr && stalls->options_.warning_s > 0 ? stalls : nullptr) {
  if (stalls_ == nullptr) return;
  const std::int64_t now = now_ns();
  const std::lock_guard lock(stalls_->mutex_);
  entry_ = stalls_->phases_.insert(stalls_->phases_.end(), Entry{thread, phase, now});
}

Stalls::Phase::~Phase() {
  if (stalls_ == nullptr) return;
  stalls_->ended(entry_->thread, entry_->name, stalls_->lasted(entry_->began_ns, now_ns()));
  const std::lock_guard lock(stalls_->mutex_);
  stalls_->phases_.erase(entry_);
}

void Stalls::engine_phase(const char* phase) {
  const std::int64_t now = now_ns();
  // The beginning first: whoever looks between the two must not take the new phase, after hours
  // without one, for one that began before them.
  const std::int64_t began = engine_began_ns_.exchange(now);
  const char* const before = engine_phase_.exchange(phase);
  if (before != nullptr && options_.warning_s > 0) ended("engine", before, lasted(began, now));
}

std::int64_t Stalls::lasted(std::int64_t began, std::int64_t now) const {
  // The watching thread has not looked for long: it is no better off than whoever asks, and has
  // not had the time to say so in since_ns_.
  if (now - looked_ns_ > interval_ns_ + nanoseconds(options_.held_up_s)) return 0;
  return now - std::max(began, since_ns_.load());
}

void Stalls::ended(std::string_view thread, std::string_view phase, std::int64_t duration_ns) {
  if (duration_ns < nanoseconds(options_.warning_s)) return;
  std::string line = stall_line(thread, phase, duration_ns, /*ended=*/true);
  const std::lock_guard lock(mutex_);
  if (lines_.size() < kMostLines) lines_.push_back(std::move(line));
}

void Stalls::check_phases(std::int64_t now) {
  std::vector<std::string> lines;
  {
    const std::lock_guard lock(mutex_);
    for (Phase::Entry& entry : phases_) {
      const std::int64_t duration = lasted(entry.began_ns, now);
      if (entry.told || duration < nanoseconds(options_.warning_s)) continue;
      entry.told = true;
      lines.push_back(stall_line(entry.thread, entry.name, duration, /*ended=*/false));
    }
  }
  // Without the lock, which every request takes.
  for (const std::string& line : lines) log_warning(line);
}

void Stalls::check_engine(std::int64_t now) {
  const std::int64_t began = engine_began_ns_;
  const char* const phase = engine_phase_;
  // Both are of one phase when its beginning has not changed.
  if (phase == nullptr || engine_began_ns_ != began) return;
  const std::int64_t duration = lasted(began, now);
  if (options_.warning_s > 0 && duration >= nanoseconds(options_.warning_s) &&
      engine_warned_ns_ != began) {
    engine_warned_ns_ = began;
    log_warning(stall_line("engine", phase, duration, /*ended=*/false));
  }
  const std::string what = "the engine has work and made no progress for " +
                           seconds_text(duration) + ": it is at \"" + phase + "\"";
  if (options_.soft_watchdog_s > 0 && duration >= nanoseconds(options_.soft_watchdog_s) &&
      engine_soft_ns_ != began) {
    engine_soft_ns_ = began;
    log_error("Soft watchdog timeout: " + what);
  }
  if (options_.watchdog_s > 0 && duration >= nanoseconds(options_.watchdog_s) && !gave_up_) {
    gave_up_ = true;
    log_error("Watchdog timeout: " + what + ". The instance ends.");
    if (give_up_) give_up_(what);
  }
}

void Stalls::run() {
  const std::chrono::nanoseconds interval(interval_ns_);
  std::unique_lock lock(mutex_);
  bool ending = false;
  while (!ending) {
    ending = ended_.wait_for(lock, interval, [this] { return ending_; });
    const std::vector<std::string> lines = std::exchange(lines_, {});
    lock.unlock();
    const std::int64_t now = now_ns();
    // This thread was held up itself: the process was stopped, or the machine had no time for it.
    // What others could not do meanwhile is no fault of theirs.
    if (now - looked_ns_ > interval_ns_ + nanoseconds(options_.held_up_s)) since_ns_ = now;
    looked_ns_ = now;
    for (const std::string& line : lines) log_warning(line);
    if (!ending) {
      if (options_.warning_s > 0) check_phases(now);
      check_engine(now);
      // Writing may have waited for whoever reads the log; that is not the process standing still.
      looked_ns_ = now_ns();
    }
    lock.lock();
  }
}

}  // namespace fathom::observe
