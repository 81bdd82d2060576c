#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/model_config.h"
#include "tensor/dtype.h"

namespace fathom::test_support {

// An architecture and a format that no recorded checkpoint has.
struct Variant {
  std::string name;  // letters, digits and underscores
  config::ModelConfig config;
  // Of all tensors, instead of the published formats: kF32 or kF16. kBF16 leaves them published.
  DType stored_as = DType::kBF16;
  bool power_of_two_scales = true;
};

// Every one of them at a size that takes a moment.
std::vector<Variant> plain_variants();

// Writes a checkpoint with random weights into a new folder. The correction bias favours one expert
// strongly, so that a group's best expert and the sum of its best two choose different groups.
void write_variant(const Variant& variant, std::uint64_t seed, const std::filesystem::path& folder);

}  // namespace fathom::test_support
