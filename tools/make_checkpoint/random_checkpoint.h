#pragma once

#include <cstdint>
#include <filesystem>

#include "base/status.h"
#include "config/model_config.h"

namespace fathom::make_checkpoint {

struct RandomCheckpointOptions {
  std::uint64_t seed = 1;
  std::int32_t files = 1;           // 1: model.safetensors; more: shards and their index
  bool power_of_two_scales = true;  // of FP8 matrices; false: whatever fits the block best
  bool draft_copies = true;         // write the draft layer's embedding and head as well
  int threads = 1;
};

// Writes a folder that load_model_config() and Checkpoint::open() accept: config.json and weights
// in the published format, FP8 when `model` has a quantization and BF16 else. Creates the folder;
// files of the same names are replaced. Memory stays below about 64 MiB whatever the size.
//
// Matrices are bell-shaped with variance 1/in, the embedding with variance 1, norm weights lie in
// [0.5, 1.5), the correction bias and the bias of the index keys in [-0.1, 0.1). The draft layer's
// copies equal their originals bit for bit. The same options give the same bytes on every machine
// and for any number of threads.
//
// kUnavailable names the file that could not be written.
Status write_random_checkpoint(const config::ModelConfig& model,
                               const RandomCheckpointOptions& options,
                               const std::filesystem::path& folder);

}  // namespace fathom::make_checkpoint
