#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom::bench {

// The rows of a step: one for each request, and padding up to `rows`, as in a captured graph.
struct StepBatch {
  std::int32_t requests = 1;
  std::int32_t rows = 1;

  std::string name() const {  // as in --batches
    const std::string count = std::to_string(requests);
    return rows == requests ? count : count + "/" + std::to_string(rows);
  }
};

struct StepOptions {
  std::int32_t moe_layers = 2;  // after one dense layer
  // 9, 9/16 and 16: what padding costs.
  std::vector<StepBatch> batches{{1, 1}, {9, 9}, {9, 16}, {16, 16}, {64, 64}, {128, 128}};
  std::int32_t context = 4096;  // tokens of every sequence, the new one included
  std::string json;             // a file for the figures; none when empty
};

// --layers N, --batches N,N/ROWS,…, --context N, --json FILE. kInvalidArgument names the flag, what
// was given and what may be.
Result<StepOptions> parse_step_options(std::span<char* const> arguments);

}  // namespace fathom::bench
