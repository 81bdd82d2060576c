#include "base/log_bounds.h"

#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

namespace fathom {

std::string quoted_for_log(std::string_view name, std::size_t max_bytes) {
  std::size_t end = name.size();
  if (end > max_bytes) {
    end = max_bytes;
    // Not in the middle of a character.
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) --end;
  }
  std::string out;
  append_json_string(out, name.substr(0, end));
  if (end < name.size()) out += "…";
  return out;
}

std::optional<std::int64_t> LogRate::take(std::int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (!began_ns_ || now_ns - *began_ns_ >= interval_ns_) {
    began_ns_ = now_ns;
    written_ = 0;
  }
  if (written_ >= lines_) {
    ++left_out_;
    return std::nullopt;
  }
  ++written_;
  return std::exchange(left_out_, 0);
}

void log_warning(LogRate& rate, std::string_view message) {
  const std::optional<std::int64_t> left_out = rate.take(now_ns());
  if (!left_out) return;
  std::string line(message);
  if (*left_out > 0) line += " (and " + std::to_string(*left_out) + " lines like it before)";
  log_warning(line);
}

}  // namespace fathom
