#pragma once

#include <string>

#include "base/json.h"
#include "config/instance_plan.h"

namespace fathom::config {

// The whole plan as one object with an object for each of its parts, under the names of the
// struct's members.
Json plan_json(const InstancePlan& plan);

// The same to read: a line for each value, grouped by part.
std::string plan_table(const InstancePlan& plan);

}  // namespace fathom::config
