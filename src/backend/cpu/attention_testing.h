#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "backend/cpu/kernel_testing.h"
#include "base/math.h"

namespace fathom::cpu {

using Row = std::vector<float>;

// attend of docs/arithmetic.md 5 for one query row and one head, by its definition: entry i of the
// list has the key keys[i] and the value values[i]. The result is rounded to `dtype`.
inline Row attend_by_definition(std::span<const float> query,
                                std::span<const Row> keys,
                                std::span<const Row> values,
                                float scale,
                                DType dtype) {
  std::vector<float> scores;
  for (const Row& key : keys) scores.push_back(canonical_dot(query, key) * scale);
  const float top = *std::max_element(scores.begin(), scores.end());
  Row result(values[0].size(), 0.0F);
  float sum = 0;
  for (std::size_t begin = 0; begin < keys.size(); begin += 64) {
    const std::size_t end = std::min(begin + 64, keys.size());
    Row p;
    Row block(result.size(), 0.0F);
    for (std::size_t i = begin; i < end; ++i) {
      p.push_back(exp_f32(scores[i] - top));
      const float weight = rounded(p.back(), dtype);
      for (std::size_t k = 0; k < block.size(); ++k) {
        block[k] = std::fma(weight, values[i][k], block[k]);
      }
    }
    sum += canonical_sum(p);
    for (std::size_t k = 0; k < block.size(); ++k) result[k] += block[k];
  }
  for (float& number : result) number = rounded(number / sum, dtype);
  return result;
}

}  // namespace fathom::cpu
