#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom {
class ThreadPool;
}

namespace fathom::checkpoint {

struct CheckpointState;  // checkpoint_state.h

// One tensor that a model expects of its checkpoint.
struct TensorSpec {
  // How the tensor's bytes may be stored.
  enum class Kind : std::uint8_t {
    kVector,       // f32, bf16 or f16, one dimension; no scales
    kMatrix,       // f32, bf16, f16 or f8_e4m3 with "<name>_scale_inv"; two dimensions
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
// nothing is copied and nothing is read before it is used. (The exception: a tensor whose bytes
// do not start at a multiple of its element size is copied once, by open().)
//
// open() reads every header and accounts for every tensor: a missing or unexpected name, a wrong
// shape or dtype, scales of a matrix that has none or the other way round, bytes that overlap,
// leave holes or leave the file, a header larger than its file, an index that disagrees with its
// shards: each is a kInvalidArgument that names file and tensor. It does not look at values; see
// check_scales() and verify_values().
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

  // Starts reading the tensor's bytes and returns at once: a hint before a first use.
  void prefetch(std::string_view name) const;

  // kInvalidArgument when a scale of the tensor is not a finite number, 0 or more. Reads the scales
  // only (one number for 16 KiB of codes); fine for a tensor without scales. Requires as weight().
  Status check_scales(std::string_view name) const;

  // Reads everything: refuses a code that stands for NaN in an FP8 weight, a value that is not
  // finite in any other tensor, and what check_scales() refuses. kInvalidArgument names the first
  // such tensor in the order of the files, and the element.
  Status verify_values(ThreadPool& pool) const;

  // Of all files together; scales are tensors of their own here.
  std::int64_t data_bytes() const;
  std::int64_t stored_tensors() const;
  std::int64_t files() const;

  // kUnavailable, naming file and tensor, once a file is shorter than it was or a page of it could
  // not be read. Reads of what is lost give zeros instead of a crash, so whoever computes with
  // views asks here before using a result. Costs one system call a file.
  Status health() const;

 private:
  explicit Checkpoint(std::unique_ptr<CheckpointState> state);

  std::unique_ptr<CheckpointState> state_;
};

}  // namespace fathom::checkpoint
