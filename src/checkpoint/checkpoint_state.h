#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors_header.h"

namespace fathom::checkpoint {

// What an open Checkpoint holds. Nothing changes after open().
struct CheckpointState {
  struct Shard {
    std::string path;
    std::unique_ptr<MappedFile> file;
    SafetensorsHeader header;
  };
  // One tensor with the file that has it.
  struct Place {
    const Shard* shard = nullptr;
    const StoredTensor* tensor = nullptr;
  };
  struct Entry {
    WeightView view;
    Place values;
    Place scales;  // empty when the view has none
  };

  std::vector<Shard> shards;  // in the order of their names; fixed before anything points into it
  std::unordered_map<std::string_view, Entry> entries;  // keys are the headers' strings
  // Copies of tensors whose place in the file is not aligned.
  std::vector<std::unique_ptr<std::uint64_t[]>> aligned_copies;

  // Requires `name` to be an entry.
  const Entry& at(std::string_view name) const;
  TensorView view_of(const Place& place);
};

}  // namespace fathom::checkpoint
