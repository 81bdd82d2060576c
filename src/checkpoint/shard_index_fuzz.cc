#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "checkpoint/shard_index.h"

// The text of an index file. No accepted file name may lead out of the folder.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto index = fathom::checkpoint::parse_shard_index(json);
  if (!index.ok()) return 0;
  FATHOM_CHECK(!index->shards.empty());
  for (const auto& shard : index->shards) {
    FATHOM_CHECK(!shard.tensors.empty());
    FATHOM_CHECK(shard.file.find('/') == std::string::npos);
    FATHOM_CHECK(shard.file.find('\0') == std::string::npos);
    FATHOM_CHECK(shard.file.size() > 12);
  }
  return 0;
}
