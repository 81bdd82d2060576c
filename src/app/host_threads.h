#pragma once

#include "config/instance_plan.h"

// How many threads of the host work on what answers have to match, beside those of plan.threads.
namespace fathom::app {

// That fill the masks of a step, the engine's included. On a CPU plan.threads have nothing to do
// meanwhile; on a GPU's host the masks get half as many, and other work the rest. Eight at most: a
// step rarely has more dear masks, and all of them are woken.
int mask_threads(const config::InstancePlan& plan);

// That compile. Half of plan.threads, as steps go on beside them; two at least, so that a slow
// source, which may take 20 s, does not hold up the others; eight at most.
int compile_threads(const config::InstancePlan& plan);

}  // namespace fathom::app
