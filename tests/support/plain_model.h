#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "config/model_config.h"
#include "support/plain_model_matrix.h"

namespace fathom::test_support {

struct PlainWeights;  // plain_model_weights.h

// What one row of a layer chose, ascending, and how clear the choice was: the smallest difference
// between what was taken and what was left out, infinite when nothing was left out. The scores of
// experts are those with the correction bias; groups of experts count as well.
struct PlainChoice {
  std::vector<std::int32_t> ids;
  double gap = 0;
};

struct PlainOutput {
  PlainMatrix hidden;  // [tokens, hidden], after the final norm
  PlainMatrix logits;  // [tokens, vocab]
  // By layer, one entry a row; the draft layer is layer num_hidden_layers. Dense layers choose no
  // experts.
  std::map<std::int32_t, std::vector<PlainChoice>> selected;
  std::map<std::int32_t, std::vector<PlainChoice>> experts;
};

// By (layer, row): what is taken instead of what the scores say.
using PlainForced = std::map<std::pair<std::int32_t, std::int64_t>, std::vector<std::int32_t>>;

struct PlainSettings {
  PlainForced selected;
  PlainForced experts;
  // Other than 0: every operation's result is disturbed at random by as much as float32 would round
  // it (see plain_model.cc, Rounding). The distance to an undisturbed run with the same choices is
  // how far an implementation in float32 may be expected to be.
  std::uint64_t rounding_seed = 0;
};

// DeepSeek-V3.2 written to be compared with: the formulas of docs/arithmetic.md, "exact", in double
// precision, a whole sequence at once, with expanded keys and values, a mask and a full sort.
// Shares with the real model the reading of checkpoints and configurations and nothing else.
class PlainModel {
 public:
  // Reads all weights of a checkpoint folder. Ends the program when that is not possible.
  explicit PlainModel(const std::filesystem::path& folder);
  ~PlainModel();
  PlainModel(const PlainModel&) = delete;
  PlainModel& operator=(const PlainModel&) = delete;

  // A sequence from position 0 on.
  PlainOutput forward(std::span<const std::int32_t> ids, const PlainSettings& settings = {}) const;
  // The draft layer. Row i: `ids` has the token at position i + 1, `hidden` is forward()'s.
  PlainOutput draft(std::span<const std::int32_t> ids,
                    const PlainMatrix& hidden,
                    const PlainSettings& settings = {}) const;

  const config::ModelConfig& config() const { return config_; }

 private:
  config::ModelConfig config_;
  std::unique_ptr<const PlainWeights> weights_;
};

// Rotations per position of each rotated pair: docs/arithmetic.md 3.
std::vector<float> plain_frequencies(const config::ModelConfig& config);
// Before the amplitude.
struct PlainRotation {
  double cos = 1;
  double sin = 0;
};
PlainRotation plain_rotation(float frequency, std::int64_t position);

}  // namespace fathom::test_support
