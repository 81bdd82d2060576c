#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/environment.h"
#include "config/flag_values.h"
#include "config/instance_plan.h"
#include "config/machine_facts.h"
#include "config/model_config.h"
#include "config/parse_flags.h"

namespace fathom::config {

struct ResolveInput {
  FlagValues flags;  // model_path is given
  EnvironmentValues environment;
  ModelConfig model;
  MachineFacts machine;
  std::uint64_t drawn_seed = 0;  // taken when there is no --random-seed
  FileReader read_file;          // for flags that name a file of settings
};

struct Resolved {
  InstancePlan plan;
  FlagValues flags;                    // with everything derived
  std::vector<std::string> warnings;   // what was changed or should be known, a sentence each
  std::vector<std::string> notes;      // "--flag: no need: what happens instead", and the like
  std::vector<std::string> not_built;  // "--flag value: what it would do"; an instance with any of
                                       // them cannot start yet
};

// What a launch will do: SGLang's derivations in SGLang's order, then its checks, then ours. A pure
// function of its input. kInvalidArgument names every setting of a conflict with its value, and
// what to change.
Result<Resolved> resolve(const ResolveInput& input);

}  // namespace fathom::config
