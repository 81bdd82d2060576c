#pragma once

#include <string>
#include <vector>

#include "sched/planner.h"

namespace fathom::sched {

// What is wrong with a plan; empty when nothing is. Holds every rule of planner.h that a single
// step shows, in the plainest words: nothing here is shared with the planner.
std::string first_fault(const std::vector<SequenceView>& sequences,
                        const Budget& budget,
                        const StepPlan& plan);

}  // namespace fathom::sched
