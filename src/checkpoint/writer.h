#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"

namespace fathom::checkpoint {

// Writes one safetensors file: first says which tensors there will be, then streams their bytes in
// that order, so that a file of any size needs little memory.
//
// Threads: one at a time.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    DType dtype = DType::kF32;
    std::vector<std::int64_t> shape;

    std::int64_t bytes() const;
  };

  // Creates or replaces the file and writes its header. kUnavailable names the file.
  static Result<SafetensorsWriter> create(const std::filesystem::path& path,
                                          const std::vector<Tensor>& tensors);

  // Adds bytes of data. Requires that they fit what the header announced.
  Status write(std::span<const std::byte> bytes);
  // Ends the file. Requires that everything announced has been written.
  Status finish();

 private:
  SafetensorsWriter() = default;
  Status stream_state() const;

  std::string path_;
  std::ofstream stream_;
  std::int64_t remaining_ = 0;
};

// Text of a model.safetensors.index.json: which file holds which tensor.
struct IndexEntry {
  std::string tensor;
  std::string file;
};
std::string shard_index_json(const std::vector<IndexEntry>& entries, std::int64_t total_bytes);

}  // namespace fathom::checkpoint
