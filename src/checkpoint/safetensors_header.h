#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"

namespace fathom::checkpoint {

// One tensor of a safetensors file.
struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;  // any rank, none negative
  std::int64_t begin = 0;           // bytes from the start of the file
  std::int64_t end = 0;
};

// What a safetensors file says about itself.
struct SafetensorsHeader {
  std::int64_t data_begin = 0;        // bytes from the start of the file
  std::vector<StoredTensor> tensors;  // in the order of their bytes
};

// A longer header is refused before it is read; the largest published ones are near 10 MB.
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;

// Reads the header of `file`, the bytes of a whole safetensors file: a length (8 bytes, little
// endian), that much JSON, then the data of all tensors without gaps.
//
// Accepts only files in which every byte of data belongs to exactly one tensor, every tensor's
// bytes are as many as its shape and dtype say, and names are unique; so whoever reads
// [begin, end) of an accepted tensor stays inside the file. kInvalidArgument names the tensor and
// what was expected. Untrusted input.
Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file);

}  // namespace fathom::checkpoint
