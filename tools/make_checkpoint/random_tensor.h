#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace fathom::make_checkpoint {

// An endless row of random numbers that can be entered anywhere: number i is a function of the
// seed, the name and i, so that tensors can be filled in any order and by any number of threads.
class RandomNumbers {
 public:
  RandomNumbers(std::uint64_t seed, std::string_view name);

  // In [0, 1), a multiple of 2^-24.
  float uniform(std::int64_t index) const;
  // Mean 0, variance 1, bell-shaped, never beyond 3.5: the sum of four uniform numbers.
  float bell(std::int64_t index) const;

 private:
  std::uint64_t bits(std::int64_t index) const;

  std::uint64_t key_;
};

// How the numbers of a tensor are spread.
struct Spread {
  bool bell = true;  // else uniform
  float middle = 0;
  float width = 1;  // the standard deviation of a bell, half the range of a uniform one
};

// Writes elements [first, first + out.size()/size_of(dtype)) of a tensor stored as f32 or bf16.
void fill(const RandomNumbers& numbers,
          const Spread& spread,
          DType dtype,
          std::int64_t first,
          std::span<std::byte> out);

// Writes rows of an FP8 matrix [?, columns] from row `first_row` on, quantised in blocks of 128 x
// 128 so that the largest magnitude of a block becomes the largest code. `codes` holds whole rows;
// `scales` has one number per block of them. Requires first_row to be a multiple of 128.
//
// With `power_of_two` the scales are rounded up to powers of two, as the published files have them.
void fill_quantised(const RandomNumbers& numbers,
                    const Spread& spread,
                    std::int64_t columns,
                    bool power_of_two,
                    std::int64_t first_row,
                    std::span<std::byte> codes,
                    std::span<float> scales);

}  // namespace fathom::make_checkpoint
