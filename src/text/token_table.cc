#include "text/token_table.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace fathom::text {
namespace {

constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15U;

std::uint64_t mix(std::uint64_t value) {
  value *= kFactor;
  return value ^ (value >> 32);
}

template <class Word>
std::uint64_t load(const char* at) {
  Word word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// Up to 8 bytes as one number; the size, which the hash has as well, tells equal ones apart.
std::uint64_t load_short(std::string_view bytes) {
  const char* const begin = bytes.data();
  const std::size_t size = bytes.size();
  if (size >= 4) {
    return load<std::uint32_t>(begin) << 32 | load<std::uint32_t>(begin + size - 4);
  }
  if (size == 0) return 0;
  return load<unsigned char>(begin) << 16 | load<unsigned char>(begin + size / 2) << 8 |
         load<unsigned char>(begin + size - 1);
}

// The last word may overlap the one before it.
std::uint64_t hash_of(std::string_view bytes) {
  std::uint64_t hash = bytes.size() * kFactor;
  if (bytes.size() <= 8) return mix(mix(hash ^ load_short(bytes)));
  for (std::size_t at = 0; at + 8 < bytes.size(); at += 8) {
    hash = mix(hash ^ load<std::uint64_t>(bytes.data() + at));
  }
  return mix(mix(hash ^ load<std::uint64_t>(bytes.data() + bytes.size() - 8)));
}

std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

}  // namespace

bool TokenTable::add(TokenId id, std::string_view bytes) {
  FATHOM_CHECK(id >= 0 && id < kMaxTokens);
  if (contains(id)) return false;
  FATHOM_CHECK(blob_.size() + bytes.size() < kAbsent);
  const auto index = static_cast<std::size_t>(id);
  if (index >= spans_.size()) spans_.resize(index + 1);
  spans_[index] = {static_cast<std::uint32_t>(blob_.size()),
                   static_cast<std::uint32_t>(bytes.size())};
  blob_ += bytes;
  return true;
}

bool TokenTable::make_findable(TokenId id) {
  FATHOM_CHECK(contains(id));
  const std::string_view token = bytes(id);
  if (find(token) >= 0) return false;
  if ((used_ + 1) * 2 > slots_.size()) grow();
  const std::uint64_t hash = hash_of(token);
  std::size_t at = hash & (slots_.size() - 1);
  while (slots_[at].id >= 0) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {tag_of(hash), id};
  ++used_;
  longest_ = std::max(longest_, token.size());
  return true;
}

void TokenTable::grow() {
  std::vector<Slot> old(std::max<std::size_t>(1024, slots_.size() * 2));
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    std::size_t at = hash_of(bytes(slot.id)) & (slots_.size() - 1);
    while (slots_[at].id >= 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

TokenId TokenTable::find(std::string_view bytes) const {
  if (slots_.empty()) return -1;
  const std::uint64_t hash = hash_of(bytes);
  const std::uint32_t tag = tag_of(hash);
  for (std::size_t at = hash & (slots_.size() - 1); slots_[at].id >= 0;
       at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].tag == tag && this->bytes(slots_[at].id) == bytes) return slots_[at].id;
  }
  return -1;
}

}  // namespace fathom::text
