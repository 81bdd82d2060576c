#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cpu/guarded_copy.h"
#include "backend/cpu/kernel_testing.h"
#include "config/kv_layout.h"
#include "ops/attention.h"

namespace fathom::cpu {

// A cache of several sequences whose pages lie scattered over it, for tests of kernels that read
// it. All of it is poison (NaN in every format, scales included) until a record is written; the
// last page ends where reading further is fatal.
class PagedCache {
 public:
  PagedCache(const config::KvLayout& layout,
             std::int64_t page_bytes,
             std::int64_t sequences,
             std::int64_t pages_each,
             std::mt19937& random)
      : layout_(layout),
        page_bytes_(page_bytes),
        pages_each_(pages_each),
        table_(DType::kI32, {sequences, pages_each}),
        pages_(sequences * pages_each),
        bytes_(std::vector<std::byte>(static_cast<std::size_t>(pages_ * page_bytes),
                                      std::byte{0xFF})) {
    std::vector<std::int32_t> numbers(static_cast<std::size_t>(pages_));
    std::iota(numbers.begin(), numbers.end(), 0);
    std::shuffle(numbers.begin(), numbers.end(), random);
    for (std::int64_t i = 0; i < pages_; ++i) {
      table_.set_int(i, numbers[static_cast<std::size_t>(i)]);
    }
  }

  ops::CacheView view() const {
    return {TensorView(bytes_.data(), DType::kU8, {pages_, page_bytes_}), layout_};
  }
  TensorView table() { return table_.view(); }

  // First byte of the page that holds `position`.
  std::byte* page_of(std::int64_t sequence, std::int64_t position) const {
    const std::int64_t entry = sequence * pages_each_ + position / config::kPageTokens;
    return bytes_.data() + table_.get_int(entry) * page_bytes_;
  }

 private:
  config::KvLayout layout_;
  std::int64_t page_bytes_;
  std::int64_t pages_each_;
  HostTensor table_;
  std::int64_t pages_;
  GuardedCopy bytes_;
};

}  // namespace fathom::cpu
