#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"
#include "text/jinja/limits.h"

namespace fathom::text::jinja {

// What one rendering has used up and the first thing that went wrong in it. After a failure
// everything that is still computed is without meaning, so loops ask ok() and stop.
//
// Threads: one.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  const Limits& limits() const { return limits_; }
  bool ok() const { return failure_.ok(); }
  const Status& failure() const { return failure_; }

  // The source line that failures are told with.
  void at(int line) { line_ = line; }
  int line() const { return line_; }

  // Keeps the first failure: "line 3: message". Always false.
  bool fail(std::string_view message);

  // Each is false when that is more than is left, or when something failed before.
  bool spend(std::size_t operations);
  bool take(std::size_t bytes);  // of memory; costs operations too
  // take() for a text that is to be `bytes` long.
  bool take_text(std::size_t bytes);
  // spend() for looking for a text in another: at worst all of it is compared at every place.
  bool spend_search(std::size_t text_bytes, std::size_t part_bytes);

  // Around whatever calls itself: descend() is false when that is too deep; ascend() either way.
  bool descend();
  void ascend() { --depth_; }

 private:
  const Limits& limits_;
  std::size_t operations_ = 0;
  std::size_t bytes_ = 0;
  int depth_ = 0;
  int line_ = 0;
  Status failure_;
};

}  // namespace fathom::text::jinja
