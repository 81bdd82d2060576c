#pragma once

#include <cstdint>
#include <vector>

#include "config/model_config.h"

namespace fathom::model {

// Cosine and sine of position · frequency for every position and pair, [positions, dim / 2] each,
// with YaRN's frequencies when the configuration has it (docs/arithmetic.md 3). MLA and indexer
// share the table.
struct RopeTable {
  std::int32_t positions = 0;
  std::int32_t pairs = 0;
  std::vector<float> cos;
  std::vector<float> sin;
};

// The rotation frequency of each pair, float32 as the reference computes it.
std::vector<float> rope_frequencies(const config::ModelConfig& config);

RopeTable make_rope_table(const config::ModelConfig& config, std::int32_t positions);

}  // namespace fathom::model
