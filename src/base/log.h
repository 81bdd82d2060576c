#pragma once

#include <string>
#include <string_view>

namespace fathom {

enum class LogLevel : unsigned char { kDebug, kInfo, kWarning, kError };

// The process's log: one line a message on standard error, "[2026-11-25 14:03:07] message", written
// at once. Operators search these lines, so a message starts with what they know it by.
//
// Threads: any.
void log(LogLevel level, std::string_view message);
inline void log_info(std::string_view message) { log(LogLevel::kInfo, message); }
inline void log_warning(std::string_view message) { log(LogLevel::kWarning, message); }
inline void log_error(std::string_view message) { log(LogLevel::kError, message); }
// Whatever the level: for logs that have a switch of their own.
void log_always(std::string_view message);

// One line as it is, without a time in front: for lines that programs read.
void log_line(std::string_view line);

// Set once by app at the start, before other threads run.
struct LogOptions {
  LogLevel level = LogLevel::kInfo;  // lower ones are not written
  bool milliseconds = false;         // [2026-11-25 14:03:07.512]
  std::string rank;                  // " DP1 TP1": [2026-11-25 14:03:07 DP1 TP1]
};
void configure_log(const LogOptions& options);

}  // namespace fathom
