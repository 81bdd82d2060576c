#include "base/log.h"

#include <cstdio>
#include <memory>
#include <string>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace fathom {

namespace {

constexpr const char* kPattern = "[%Y-%m-%d %H:%M:%S] %v";

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> made = [] {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    auto created = std::make_shared<spdlog::logger>("fathom", std::move(sink));
    created->set_pattern(kPattern);
    created->flush_on(spdlog::level::trace);
    return created;
  }();
  return *made;
}

}  // namespace

void log(LogLevel level, std::string_view message) {
  logger().log(level_of(level), spdlog::string_view_t(message.data(), message.size()));
}

void log_always(std::string_view message) {
  logger().log(spdlog::level::critical, spdlog::string_view_t(message.data(), message.size()));
}

void log_line(std::string_view line) {
  std::string whole(line);
  whole += '\n';
  // One call on the stream that the logger writes to: lines of threads do not mix.
  static_cast<void>(std::fwrite(whole.data(), 1, whole.size(), stderr));
}

void configure_log(const LogOptions& options) {
  logger().set_level(level_of(options.level));
  std::string pattern = "[%Y-%m-%d %H:%M:%S";
  if (options.milliseconds) pattern += ".%e";
  for (const char c : options.rank) pattern += c == '%' ? std::string("%%") : std::string(1, c);
  logger().set_pattern(pattern + "] %v");
}

}  // namespace fathom
