#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace fathom::checkpoint {

// Which file of a sharded checkpoint holds which tensors.
struct ShardIndex {
  struct Shard {
    std::string file;                  // a name without folders, ending in ".safetensors"
    std::vector<std::string> tensors;  // sorted, unique
  };
  std::vector<Shard> shards;  // sorted by file
};

// Parses the text of model.safetensors.index.json. kInvalidArgument names the tensor whose entry
// is wrong; a file name that could lead out of the checkpoint's folder is refused. Its metadata is
// not read: published sums of bytes are not reliable. Untrusted input.
Result<ShardIndex> parse_shard_index(std::string_view json);

}  // namespace fathom::checkpoint
