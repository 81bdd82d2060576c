#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom::checkpoint {

// One tensor that a model expects of its checkpoint.
struct TensorSpec {
  // How the tensor's bytes may be stored.
  enum class Kind : std::uint8_t {
    kVector,  // f32, bf16 or f16, one dimension; no scales
    kMatrix,  // f32, bf16, f16 or f8_e4m3 with "<name>_scale_inv"; two dimensions
    kPlainMatrix,  // f32, bf16 or f16, two dimensions; never f8_e4m3
  };
  std::string name;                 // as in the file, "model.layers.3.mlp.gate.weight"
  std::vector<std::int64_t> shape;  // as in the file
  Kind kind = Kind::kVector;
  // A copy of another tensor that readers may skip (the draft layer's embedding and head). Its
  // absence is no error; when present its shape and dtype are checked all the same.
  bool optional = false;
};

// A Hugging Face checkpoint folder: model.safetensors.index.json with its shards, or one
// model.safetensors. Files are memory-mapped and read-only; a view points into the mapping, so
// nothing is copied and nothing is read before it is used.
//
// open() reads every header and accounts for every tensor: a missing or unexpected name, a wrong
// shape or dtype, overlapping or out-of-range offsets, a header larger than its file, an index
// that disagrees with its shards: each is a kInvalidArgument that names file and tensor. FP8
// weights whose codes include NaN are refused when verify_values() is called.
//
// Threads: const members may be called from any thread. Views live as long as the Checkpoint.
class Checkpoint {
 public:
  static Result<std::unique_ptr<Checkpoint>> open(const std::filesystem::path& folder,
                                                  const std::vector<TensorSpec>& expected);
  ~Checkpoint();
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  // A tensor of the expectation by its name, with its scales when it is f8_e4m3. Requires that
  // open() was told to expect it and, if optional, that has(name).
  WeightView weight(std::string_view name) const;
  bool has(std::string_view name) const;

  // Bytes of all tensors' data together.
  std::int64_t data_bytes() const;

  // kUnavailable, naming file and tensor, once a page of a mapping could not be read because its
  // file shrank after open(). Reads of such a page give zeros instead of a crash, so whoever
  // computes with views asks here before using a result.
  Status health() const;

 private:
  struct State;
  explicit Checkpoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fathom::checkpoint
