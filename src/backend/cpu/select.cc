#include <algorithm>
#include <array>
#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/order_key.h"
#include "backend/cpu/parallel.h"
#include "base/check.h"

namespace fathom::cpu {

namespace {

// The k-th largest of the keys, and how many keys equal to it belong to the k largest.
struct Boundary {
  std::uint32_t key = 0;
  std::int64_t ties = 0;
};

// Radix selection: the key's bits are found from the top, eleven, eleven and ten at a time, by
// counting the keys that agree with the bits found so far. Requires 1 <= k <= n.
Boundary find_boundary(const std::uint32_t* keys, std::int64_t n, std::int64_t k) {
  std::uint32_t found = 0;
  std::uint32_t known = 0;  // mask of the bits in `found`
  std::int64_t wanted = k;
  for (const int shift : {21, 10, 0}) {
    const std::uint32_t digits = shift == 0 ? 0x3FFU : 0x7FFU;
    std::array<std::int32_t, 2048> count{};
    for (std::int64_t i = 0; i < n; ++i) {
      if ((keys[i] & known) == found) ++count[(keys[i] >> shift) & digits];
    }
    std::uint32_t digit = digits;
    while (wanted > count[digit]) wanted -= count[digit--];
    found |= digit << shift;
    known |= digits << shift;
  }
  return {found, wanted};
}

void select_largest(const float* scores,
                    std::int64_t n,
                    std::int64_t k,
                    std::uint32_t* keys,
                    std::int32_t* selected) {
  for (std::int64_t i = 0; i < n; ++i) keys[i] = order_key(scores[i]);
  Boundary boundary = find_boundary(keys, n, k);
  for (std::int64_t i = 0; i < n; ++i) {
    if (keys[i] < boundary.key) continue;
    if (keys[i] == boundary.key && boundary.ties-- <= 0) continue;
    *selected++ = static_cast<std::int32_t>(i);
  }
}

}  // namespace

void select(CpuStream& stream, const ops::SelectArgs& args) {
  const std::int64_t k = args.selected.shape[1];
  const auto* positions = args.positions.row<const std::int32_t>(0);
  auto* counts = args.count.row<std::int32_t>(0);
  parallel_rows(stream, args.scores.shape[0], args.scores.shape[1],
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  for (std::int64_t t = begin; t < end; ++t) {
                    const std::int64_t visible = std::int64_t{positions[t]} + 1;
                    auto* selected = args.selected.row<std::int32_t>(t);
                    const std::int64_t count = std::min(k, visible);
                    if (visible <= k) {
                      for (std::int64_t i = 0; i < visible; ++i)
                        selected[i] = static_cast<std::int32_t>(i);
                    } else {
                      FATHOM_CHECK(visible <= args.scores.shape[1]);
                      auto* keys = static_cast<std::uint32_t*>(stream.worker_scratch(
                          worker, static_cast<std::size_t>(visible) * sizeof(std::uint32_t)));
                      select_largest(args.scores.row<const float>(t), visible, k, keys, selected);
                    }
                    std::fill(selected + count, selected + k, -1);
                    counts[t] = static_cast<std::int32_t>(count);
                  }
                });
}

}  // namespace fathom::cpu
