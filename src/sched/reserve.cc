#include "sched/reserve.h"

#include <algorithm>

#include "base/check.h"

namespace fathom::sched {

namespace {

constexpr float kLeastPart = 0.14F;        // of the initial ratio
constexpr float kStepsToLeast = 600;       // from the initial ratio
constexpr std::int64_t kTokensAhead = 20;  // each running sequence shall get these undisturbed

}  // namespace

Reserve::Reserve(float initial) : initial_(initial), ratio_(initial) {
  FATHOM_CHECK(initial >= 0 && initial <= 1);
}

void Reserve::on_decode() {
  const float least = initial_ * kLeastPart;
  ratio_ = std::max(least, ratio_ - (initial_ - least) / kStepsToLeast);
}

void Reserve::on_retraction(std::int64_t running, std::int64_t generated, std::int64_t allowed) {
  FATHOM_CHECK(running >= 0 && generated >= 0 && allowed >= generated);
  if (allowed == 0) return;
  const double used =
      static_cast<double>(generated + kTokensAhead * running) / static_cast<double>(allowed);
  ratio_ = std::max(ratio_, static_cast<float>(std::min(1.0, used)));
}

void Reserve::on_idle() { ratio_ = initial_; }

}  // namespace fathom::sched
