#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom::observe {

// Keeps the requests of the last minutes and writes them to a file when the engine has died.
//
// Threads: any.
class CrashDump {
 public:
  static constexpr std::int64_t kKeptNs = 300'000'000'000;
  static constexpr std::size_t kMostBytes = std::size_t{64} << 20;  // of all that is kept

  // `folder`: --crash-dump-folder; empty: nothing is kept.
  explicit CrashDump(std::string folder = "");

  bool enabled() const;
  std::string folder() const;
  // An empty one ends it and forgets what was kept.
  void set_folder(std::string folder);

  // A request that has finished, as one line of JSON. The oldest go when they are older than
  // kKeptNs or when there are more than kMostBytes.
  void keep(std::string line, std::int64_t now_ns);

  // Writes what was kept and the lines of `unfinished` to FOLDER/HOSTNAME/crash_dump_TIME.jsonl and
  // returns its path; an empty path when it is not enabled. Writes once: later calls return the
  // first path.
  Result<std::string> write(const std::vector<std::string>& unfinished);

 private:
  struct Kept {
    std::int64_t at_ns = 0;
    std::string line;
  };
  mutable std::mutex mutex_;
  std::string folder_;
  std::string written_;
  std::deque<Kept> kept_;
  std::size_t bytes_ = 0;
};

}  // namespace fathom::observe
