#include "ops/sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "backend/cpu/kernels.h"
#include "backend/cpu/mass.h"
#include "backend/cpu/order_key.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"
#include "base/check.h"
#include "base/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/sample.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/logits-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using D64 = hn::Repartition<double, D32>;
using DMass = hn::RebindToUnsigned<D64>;
using VMass = hn::Vec<DMass>;

float top_logit(const float* x, std::int64_t n) { return largest_of(x, n); }

std::int64_t find_logit(const float* x, std::int64_t n, float value) {
  return first_equal(x, n, value);
}

// mass_of (mass.h) of numbers that became float64.
HWY_INLINE VMass masses_of(hn::Vec<D64> weight) {
  const auto shifted =
      hn::Add(hn::Mul(weight, hn::Set(D64(), kMassUnits)), hn::Set(D64(), kMassShift));
  return hn::And(hn::BitCast(DMass(), shifted), hn::Set(DMass(), kMassBits));
}

// Weighs eight logits, NaN as 0, and adds their masses.
HWY_INLINE VMass weigh8(F32x8 x, F32x8 top, F32x8 temperature, float* weights, VMass sum) {
  const D32 d;
  const hn::Half<D32> half;
  const F32x8 weight = weight8(x, top, temperature);
  for (std::int64_t p = 0; p < kParts; ++p) {
    const V32 w = hn::IfThenZeroElse(hn::IsNaN(weight.part[p]), weight.part[p]);
    hn::StoreU(w, d, weights + p * kPartLanes);
    sum = hn::Add(sum, masses_of(hn::PromoteTo(D64(), hn::LowerHalf(half, w))));
    sum = hn::Add(sum, masses_of(hn::PromoteTo(D64(), hn::UpperHalf(half, w))));
  }
  return sum;
}

// weights[i] = exp((x[i] - top) / temperature), and the mass of each block. Returns the mass of
// all. `weights` has room for padded(n).
std::uint64_t weigh_row(const float* x,
                        std::int64_t n,
                        float top,
                        float temperature,
                        float* weights,
                        std::uint64_t* block_mass) {
  const F32x8 offset = set8(top);
  const F32x8 divisor = set8(temperature);
  std::uint64_t total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kMassBlockTokens) {
    const std::int64_t end = HWY_MIN(begin + kMassBlockTokens, n);
    VMass sum = hn::Zero(DMass());
    std::int64_t i = begin;
    for (; i + 8 <= end; i += 8) sum = weigh8(load8(x + i), offset, divisor, weights + i, sum);
    if (i < end) {
      float tail[kLanes];  // NOLINT(*-avoid-c-arrays)
      copy_tail(x + i, end - i, tail);
      sum = weigh8(load8(tail), offset, divisor, weights + i, sum);
    }
    const std::uint64_t mass = hn::GetLane(hn::SumOfLanes(DMass(), sum));
    block_mass[begin / kMassBlockTokens] = mass;
    total += mass;
  }
  return total;
}

// The ascending i with values[i] >= floor, NaN left out. `ids` has room for padded(n).
std::int64_t collect(const float* values, std::int64_t n, float floor, std::int32_t* ids) {
  const D32 d;
  const hn::RebindToSigned<D32> di;
  const V32 limit = hn::Set(d, floor);
  std::int64_t count = 0;
  std::int64_t i = 0;
  for (; i + kPartLanes <= n; i += kPartLanes) {
    const auto chosen = hn::Ge(hn::LoadU(d, values + i), limit);
    if (hn::AllFalse(d, chosen)) continue;
    const auto id = hn::Iota(di, static_cast<std::int32_t>(i));
    count += static_cast<std::int64_t>(
        hn::CompressStore(id, hn::RebindMask(di, chosen), di, ids + count));
  }
  for (; i < n; ++i) {
    if (values[i] >= floor) ids[count++] = static_cast<std::int32_t>(i);
  }
  return count;
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(top_logit);
HWY_EXPORT(find_logit);
HWY_EXPORT(weigh_row);
HWY_EXPORT(collect);

namespace {

constexpr Mass kNoLimit = std::numeric_limits<Mass>::max();

// One row of logits and a worker's memory for it.
struct Row {
  const float* logits = nullptr;  // [vocab]
  std::int64_t vocab = 0;
  float top = 0;                // the largest logit, finite
  float temperature = 1;        // >= kGreedyTemperature
  Mass total = 0;               // of all tokens
  float* weights = nullptr;     // [vocab], relative to the largest
  Mass* blocks = nullptr;       // [ceil(vocab / kMassBlockTokens)], masses
  std::int32_t* ids = nullptr;  // [vocab], candidates
};

// Which tokens a row's filters keep.
struct Filters {
  std::int64_t top_k = 0;  // at least 1; the vocabulary: all
  float top_p = 1;         // below 1 where it filters
  float min_p = 0;         // above 0 where it filters

  bool ranks(std::int64_t vocab) const { return top_k < vocab || top_p < 1; }
};

// The last token in the order of ranks that is kept: tokens above `key` are, and the first `ties`
// at it, by ascending id.
struct Boundary {
  std::uint32_t key = 0;
  std::int64_t ties = std::numeric_limits<std::int64_t>::max();
  Mass mass = 0;  // of all that are kept
};

// Finds the first token with which `count` tokens or more than `limit` mass are reached. Requires
// that all candidates together reach one of the two.
//
// Radix selection: the bits of its key are found from the top, eight at a time, by counting and
// weighing the candidates that agree with the bits found so far. Candidates with one key have one
// logit, thus one mass.
Boundary find_boundary(const Row& row,
                       std::span<const std::int32_t> candidates,
                       std::int64_t count,
                       Mass limit) {
  std::uint32_t found = 0;
  std::uint32_t known = 0;  // mask of the bits in `found`
  std::int64_t before = 0;  // tokens and mass of higher rank than those that agree
  Mass mass_before = 0;
  Boundary boundary;
  for (const int shift : {24, 16, 8, 0}) {
    std::array<std::int32_t, 256> tokens{};
    std::array<Mass, 256> mass{};
    for (const std::int32_t id : candidates) {
      const std::uint32_t key = order_key(row.logits[id]);
      if ((key & known) != found) continue;
      const std::uint32_t digit = key >> shift & 0xFFU;
      ++tokens[digit];
      mass[digit] += mass_of(row.weights[id]);
    }
    std::uint32_t digit = 0xFF;
    while (before + tokens[digit] < count && mass_before + mass[digit] <= limit) {
      FATHOM_CHECK(digit > 0);
      before += tokens[digit];
      mass_before += mass[digit--];
    }
    found |= digit << shift;
    known |= 0xFFU << shift;
    if (shift > 0) continue;
    const Mass each = mass[digit] / static_cast<Mass>(tokens[digit]);
    boundary.ties = std::min<std::int64_t>(tokens[digit], count - before);
    if (each > 0) {
      const Mass more = (limit - mass_before) / each + 1;
      if (more < static_cast<Mass>(boundary.ties)) boundary.ties = static_cast<std::int64_t>(more);
    }
    boundary.mass = mass_before + each * static_cast<Mass>(boundary.ties);
  }
  boundary.key = found;
  return boundary;
}

Mass part_of(float top_p, Mass mass) {
  if (!(top_p < 1)) return kNoLimit;
  return static_cast<Mass>(static_cast<double>(std::max(top_p, 0.0F)) * static_cast<double>(mass));
}

// The tokens of the highest ranks, ascending: enough of them for the filters, or all that are not
// masked.
struct Candidates {
  std::span<std::int32_t> ids;
  Mass mass = 0;
  bool reach(std::int64_t count, Mass limit) const {
    return static_cast<std::int64_t>(ids.size()) >= count || mass > limit;
  }
};

Candidates gather(const Row& row, std::int64_t count, Mass limit) {
  // How far below the largest logit candidates are looked for, in units of the temperature. Most
  // rows of a language model are done with the first.
  constexpr std::array<float, 3> kDepths = {8, 16, std::numeric_limits<float>::infinity()};
  Candidates candidates;
  for (const float depth : kDepths) {
    const float floor =
        std::max(row.top - depth * row.temperature, std::numeric_limits<float>::lowest());
    const std::int64_t found = HWY_DYNAMIC_DISPATCH(collect)(row.logits, row.vocab, floor, row.ids);
    candidates.ids = {row.ids, static_cast<std::size_t>(found)};
    candidates.mass = 0;
    for (const std::int32_t id : candidates.ids) candidates.mass += mass_of(row.weights[id]);
    if (candidates.reach(count, limit)) break;
  }
  return candidates;
}

// Candidates down to the last that top_k and top_p keep.
Candidates keep_ranked(const Row& row, const Filters& filters) {
  const bool of_all = !(filters.min_p > 0) || filters.top_k >= row.vocab;
  Mass limit = of_all ? part_of(filters.top_p, row.total) : kNoLimit;
  Candidates candidates = gather(row, filters.top_k, limit);
  if (!of_all && filters.top_p < 1) {
    const Mass mass = candidates.reach(filters.top_k, kNoLimit)
                          ? find_boundary(row, candidates.ids, filters.top_k, kNoLimit).mass
                          : candidates.mass;
    limit = part_of(filters.top_p, mass);
  }
  if (!candidates.reach(filters.top_k, limit)) return candidates;
  Boundary boundary = find_boundary(row, candidates.ids, filters.top_k, limit);
  std::size_t kept = 0;
  for (const std::int32_t id : candidates.ids) {
    const std::uint32_t key = order_key(row.logits[id]);
    if (key < boundary.key || (key == boundary.key && boundary.ties-- <= 0)) continue;
    candidates.ids[kept++] = id;
  }
  return {candidates.ids.first(kept), boundary.mass};
}

// Candidates whose weight is at least min_p of the largest's, which is 1.
Candidates keep_probable(const Row& row, Candidates candidates, float min_p) {
  std::size_t kept = 0;
  Mass mass = 0;
  for (const std::int32_t id : candidates.ids) {
    if (row.weights[id] < min_p) continue;
    candidates.ids[kept++] = id;
    mass += mass_of(row.weights[id]);
  }
  return {candidates.ids.first(kept), mass};
}

// The token in whose share of the cumulative mass the number `target` lies.
std::int32_t draw_from(const Row& row, const Candidates& candidates, std::uint64_t random) {
  Mass target = below(random, candidates.mass);
  for (const std::int32_t id : candidates.ids) {
    const Mass mass = mass_of(row.weights[id]);
    if (target < mass) return id;
    target -= mass;
  }
  FATHOM_CHECK_MSG(false, "the masses of the kept tokens do not add up");
}

// The same over all tokens: by blocks, then inside one.
std::int32_t draw_from_all(const Row& row, std::uint64_t random) {
  Mass target = below(random, row.total);
  std::int64_t block = 0;
  while (target >= row.blocks[block]) target -= row.blocks[block++];
  std::int64_t id = block * kMassBlockTokens;
  for (Mass mass = 0; target >= (mass = mass_of(row.weights[id])); ++id) target -= mass;
  return static_cast<std::int32_t>(id);
}

std::int32_t draw_filtered(const Row& row, const Filters& filters, std::uint64_t random) {
  Candidates kept;
  if (filters.ranks(row.vocab)) {
    kept = keep_ranked(row, filters);
  } else {
    const std::int64_t found =
        HWY_DYNAMIC_DISPATCH(collect)(row.weights, row.vocab, filters.min_p, row.ids);
    kept.ids = {row.ids, static_cast<std::size_t>(found)};
  }
  if (filters.min_p > 0) kept = keep_probable(row, kept, filters.min_p);
  return draw_from(row, kept, random);
}

Filters filters_of(const ops::SampleArgs& args, std::int64_t t) {
  const std::int64_t vocab = args.logits.shape[1];
  const std::int64_t top_k = args.top_k.row<const std::int32_t>(0)[t];
  Filters filters;
  filters.top_k = top_k > 0 ? std::min(top_k, vocab) : vocab;
  filters.top_p = args.top_p.row<const float>(0)[t];
  filters.min_p = std::min(args.min_p.row<const float>(0)[t], 1.0F);
  return filters;
}

std::uint64_t random_of(const ops::SampleArgs& args, std::int64_t t) {
  const auto* seed = args.seed.row<const std::int32_t>(t);
  const auto word = [](std::int32_t bits) { return static_cast<std::uint32_t>(bits); };
  return random_u64(std::uint64_t{word(seed[1])} << 32U | word(seed[0]),
                    word(args.sample.row<const std::int32_t>(0)[t]),
                    word(args.position.row<const std::int32_t>(0)[t]), RandomPurpose::kSample);
}

Row row_with_scratch(CpuStream& stream, int worker, std::int64_t vocab) {
  const std::int64_t blocks = (vocab + kMassBlockTokens - 1) / kMassBlockTokens;
  const std::int64_t bytes = padded(vocab) * std::int64_t{sizeof(float) + sizeof(std::int32_t)} +
                             blocks * std::int64_t{sizeof(Mass)};
  auto* memory =
      static_cast<std::byte*>(stream.worker_scratch(worker, static_cast<std::size_t>(bytes)));
  Row row;
  row.vocab = vocab;
  row.weights = reinterpret_cast<float*>(memory);
  row.ids = reinterpret_cast<std::int32_t*>(row.weights + padded(vocab));
  row.blocks = reinterpret_cast<Mass*>(row.ids + padded(vocab));
  return row;
}

std::int32_t sample_row(const ops::SampleArgs& args, std::int64_t t, Row row) {
  row.logits = args.logits.row<const float>(t);
  row.top = HWY_DYNAMIC_DISPATCH(top_logit)(row.logits, row.vocab);
  row.temperature = args.temperature.row<const float>(0)[t];
  if (!(row.temperature >= ops::kGreedyTemperature) || !std::isfinite(row.top)) {
    return static_cast<std::int32_t>(
        HWY_DYNAMIC_DISPATCH(find_logit)(row.logits, row.vocab, row.top));
  }
  row.total = HWY_DYNAMIC_DISPATCH(weigh_row)(row.logits, row.vocab, row.top, row.temperature,
                                              row.weights, row.blocks);
  const Filters filters = filters_of(args, t);
  const std::uint64_t random = random_of(args, t);
  if (!filters.ranks(row.vocab) && !(filters.min_p > 0)) return draw_from_all(row, random);
  return draw_filtered(row, filters, random);
}

}  // namespace

void sample(CpuStream& stream, const ops::SampleArgs& args) {
  const std::int64_t vocab = args.logits.shape[1];
  parallel_rows(stream, args.logits.shape[0], vocab,
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  const Row scratch = row_with_scratch(stream, worker, vocab);
                  for (std::int64_t t = begin; t < end; ++t) {
                    args.token.row<std::int32_t>(0)[t] = sample_row(args, t, scratch);
                  }
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
