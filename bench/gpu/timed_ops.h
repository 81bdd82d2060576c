#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/component_ops.h"

struct CUevent_st;

namespace fathom::bench {

// Times components of steps between two events of the device. Not for graphs: the events would be
// captured.
class TimedOps final : public ComponentOps {
 public:
  using ComponentOps::ComponentOps;
  ~TimedOps() override;
  TimedOps(const TimedOps&) = delete;
  TimedOps& operator=(const TimedOps&) = delete;

  // Begins a step. Without timing the operations are passed on as they are.
  void begin(bool timing);
  // Milliseconds of the step by component, after the stream has been synchronized.
  std::map<std::string, double> milliseconds() const;

 private:
  struct Interval {
    const char* component = nullptr;
    CUevent_st* begin = nullptr;
    CUevent_st* end = nullptr;
  };
  void begin_op(const char* component, Stream& stream) const override;
  void end_op(Stream& stream) const override;

  bool timing_ = false;
  mutable std::vector<Interval> intervals_;  // events are kept for the next step
  mutable std::size_t used_ = 0;
};

}  // namespace fathom::bench
