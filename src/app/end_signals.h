#pragma once

#include "base/status.h"

namespace fathom::app {

// SIGTERM and SIGINT as something to wait for, instead of something that interrupts. Made once, in
// the main thread and before any other is started: those inherit that the signals are blocked. A
// peer that closed its connection is an error of the write, not SIGPIPE.
//
// Threads: the main thread alone.
class EndSignals {
 public:
  static Result<EndSignals> create();
  EndSignals(EndSignals&& other) noexcept;
  EndSignals& operator=(EndSignals&&) = delete;
  EndSignals(const EndSignals&) = delete;
  EndSignals& operator=(const EndSignals&) = delete;
  ~EndSignals();

  // Waits until a signal came (true), `other_fd` can be read or `timeout_ms` have passed (-1:
  // never). Each true is one signal taken.
  bool wait(int other_fd, int timeout_ms);

 private:
  explicit EndSignals(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace fathom::app
