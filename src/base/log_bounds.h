#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

// What keeps the log within bounds where clients decide what is in it and how often.
namespace fathom {

// A name from outside as a line shows it: a JSON string of at most `max_bytes` bytes of it, "…"
// behind what is cut.
std::string quoted_for_log(std::string_view name, std::size_t max_bytes = 64);

// Lets so many lines of one kind through in each interval, and counts the others.
//
// Threads: any.
class LogRate {
 public:
  LogRate(std::int64_t lines, std::int64_t interval_ns)
      : lines_(lines), interval_ns_(interval_ns) {}

  // Whether a line may be written at `now_ns` (of base now_ns()): then how many were not since the
  // last that was.
  std::optional<std::int64_t> take(std::int64_t now_ns);

 private:
  const std::int64_t lines_;
  const std::int64_t interval_ns_;
  std::mutex mutex_;  // guards all below
  std::optional<std::int64_t> began_ns_;
  std::int64_t written_ = 0;  // in this interval
  std::int64_t left_out_ = 0;
};

// A warning within a rate; a line says how many like it were left out before it.
void log_warning(LogRate& rate, std::string_view message);

}  // namespace fathom
