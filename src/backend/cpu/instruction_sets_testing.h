#pragma once

#include <cstdint>

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace fathom::cpu {

// Runs a test's body once with each instruction set that the kernels were built for and this
// machine has.
template <class Body>
void on_every_instruction_set(const Body& body) {
  const std::int64_t all = hwy::SupportedTargets();
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::GetChosenTarget().Update(target);
    body();
  }
  hwy::GetChosenTarget().Update(all);
}

}  // namespace fathom::cpu
