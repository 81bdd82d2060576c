#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/model_config.h"
#include "model/tensor_slices.h"
#include "model/tensor_sums.h"

namespace fathom::app {

// What `fathom inspect` knows about one model under one layout.
struct InspectReport {
  // Bytes of the two caches, per token.
  struct CacheBytes {
    std::string layout;           // "bf16", "fp8_e4m3", "exact"
    std::int64_t latent = 0;      // of one layer
    std::int64_t index_keys = 0;  // of one layer

    std::int64_t per_layer() const { return latent + index_keys; }
  };
  // Neighbouring ranks that hold equally much of every part.
  struct RankGroup {
    std::int32_t first = 0;
    std::int32_t last = 0;
    std::int32_t experts = 0;  // routed experts of each MoE layer, on one rank
    model::PartSums sums;      // of one rank
  };
  struct Files {
    std::int64_t files = 0;
    std::int64_t tensors = 0;
    std::int64_t bytes = 0;
  };

  std::string source;
  config::ModelConfig config;
  std::int32_t moe_layers = 0;  // without the draft layer
  std::optional<Files> files;   // absent when only the configuration was read
  model::PartSums sums;
  model::ActivatedParameters activated;
  std::vector<CacheBytes> caches;
  model::Layout layout;
  std::vector<RankGroup> ranks;
};

// From the configuration alone: sizes as the published format stores such a model. Requires
// check_layout() to pass.
InspectReport inspect_config(std::string source,
                             const config::ModelConfig& config,
                             const model::Layout& layout);

// Opens the checkpoint as well, so that sizes are those of its files. With `verify`, every value is
// read and checked, by `threads` threads. Requires check_layout() to pass.
Result<InspectReport> inspect_checkpoint(const std::filesystem::path& folder,
                                         const config::ModelConfig& config,
                                         const model::Layout& layout,
                                         bool verify,
                                         int threads);

// For people, and for programs. Both end with a line end.
std::string report_text(const InspectReport& report);
std::string report_json(const InspectReport& report);

}  // namespace fathom::app
