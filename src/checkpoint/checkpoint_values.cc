#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "base/thread_pool.h"
#include "checkpoint/checkpoint_state.h"
#include "checkpoint/message_text.h"

namespace fathom::checkpoint {
namespace {

constexpr std::int64_t kNone = -1;

// Index of the first code that stands for NaN. Eight codes at a time: the low seven bits of a NaN
// are all ones, so adding one carries into the top bit, and of no other code.
std::int64_t first_nan_code(const std::byte* codes, std::int64_t count) {
  constexpr std::uint64_t kLowBits = 0x7F7F7F7F7F7F7F7FU;
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  std::int64_t at = 0;
  while (at + 8 <= count) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, codes + at, sizeof(eight));
    if ((((eight & kLowBits) + kOnes) & ~kLowBits) != 0) break;
    at += 8;
  }
  for (; at < count; ++at) {
    if ((std::to_integer<unsigned>(codes[at]) & 0x7FU) == 0x7FU) return at;
  }
  return kNone;
}

// Index of the first 16- or 32-bit float whose exponent bits are all ones.
template <class Bits>
std::int64_t first_not_finite(const std::byte* values, std::int64_t count, Bits exponent) {
  for (std::int64_t at = 0; at < count; ++at) {
    Bits bits = 0;
    std::memcpy(&bits, values + at * static_cast<std::int64_t>(sizeof(Bits)), sizeof(Bits));
    if ((bits & exponent) == exponent) return at;
  }
  return kNone;
}

std::int64_t first_bad_scale(const std::byte* values, std::int64_t count) {
  for (std::int64_t at = 0; at < count; ++at) {
    float scale = 0;
    std::memcpy(&scale, values + at * 4, sizeof(scale));
    if (!(scale >= 0 && scale <= std::numeric_limits<float>::max())) return at;
  }
  return kNone;
}

std::int64_t first_bad_value(const std::byte* values, DType dtype, std::int64_t count) {
  switch (dtype) {
    case DType::kF32:
      return first_not_finite<std::uint32_t>(values, count, 0x7F800000U);
    case DType::kBF16:
      return first_not_finite<std::uint16_t>(values, count, 0x7F80U);
    case DType::kF16:
      return first_not_finite<std::uint16_t>(values, count, 0x7C00U);
    case DType::kF8E4M3:
      return first_nan_code(values, count);
    case DType::kI32:
    case DType::kU8:
      return kNone;
  }
  return kNone;
}

Status bad_element(const std::string& path,
                   std::string_view name,
                   std::int64_t element,
                   const char* expected) {
  return invalid_argument(path + ": tensor " + in_quotes(name) + ": element " +
                          std::to_string(element) + " is not " + expected);
}

constexpr const char* kScaleExpected = "a finite number, 0 or more";

// A part of one tensor that one thread looks at.
struct Chunk {
  const StoredTensor* tensor = nullptr;
  bool is_scales = false;
  std::int64_t first = 0;  // element
  std::int64_t count = 0;

  std::int64_t first_bad(const std::byte* file) const {
    const auto size = static_cast<std::int64_t>(size_of(tensor->dtype));
    const std::byte* values = file + tensor->begin + first * size;
    const std::int64_t at =
        is_scales ? first_bad_scale(values, count) : first_bad_value(values, tensor->dtype, count);
    return at == kNone ? kNone : first + at;
  }
};

using ScaleTensors = std::unordered_set<const StoredTensor*>;

// In the order of the file.
std::vector<Chunk> chunks_of(const SafetensorsHeader& header, const ScaleTensors& scales) {
  constexpr std::int64_t kChunkElements = std::int64_t{1} << 20;
  std::vector<Chunk> chunks;
  for (const StoredTensor& tensor : header.tensors) {
    const auto size = static_cast<std::int64_t>(size_of(tensor.dtype));
    const std::int64_t elements = (tensor.end - tensor.begin) / size;
    for (std::int64_t at = 0; at < elements; at += kChunkElements) {
      chunks.push_back(
          {&tensor, scales.count(&tensor) != 0, at, std::min(kChunkElements, elements - at)});
    }
  }
  return chunks;
}

Status verify_shard(const CheckpointState::Shard& shard,
                    const ScaleTensors& scales,
                    ThreadPool& pool) {
  const std::span<const std::byte> file = shard.file->bytes();
  shard.file->prefetch(shard.header.data_begin, static_cast<std::int64_t>(file.size()));
  const std::vector<Chunk> chunks = chunks_of(shard.header, scales);
  // The lowest bad chunk is reported, so the answer does not depend on the threads.
  std::atomic<std::size_t> lowest{chunks.size()};
  pool.parallel_for(chunks.size(), 1, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t i = begin; i < end && i < lowest.load(); ++i) {
      if (chunks[i].first_bad(file.data()) == kNone) continue;
      std::size_t known = lowest.load();
      while (i < known && !lowest.compare_exchange_weak(known, i)) {
      }
    }
  });
  if (lowest == chunks.size()) return {};
  const Chunk& bad = chunks[lowest];
  return bad_element(shard.path, bad.tensor->name, bad.first_bad(file.data()),
                     bad.is_scales ? kScaleExpected : "a finite number");
}

}  // namespace

Status Checkpoint::check_scales(std::string_view name) const {
  const CheckpointState::Entry& entry = state_->at(name);
  if (!entry.view.scales.present()) return {};
  const auto* scales = static_cast<const std::byte*>(entry.view.scales.data);
  const std::int64_t bad = first_bad_scale(scales, entry.view.scales.elements());
  if (bad == kNone) return {};
  return bad_element(entry.scales.shard->path, entry.scales.tensor->name, bad, kScaleExpected);
}

Status Checkpoint::verify_values(ThreadPool& pool) const {
  ScaleTensors scales;
  for (const auto& [name, entry] : state_->entries) scales.insert(entry.scales.tensor);
  for (const CheckpointState::Shard& shard : state_->shards) {
    FATHOM_RETURN_IF_ERROR(verify_shard(shard, scales, pool));
  }
  return health();
}

}  // namespace fathom::checkpoint
