#include "ops/sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
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

// The largest logit of each block; returns the largest of all, NaN left out.
float top_logit(const float* x, std::int64_t n, float* block_top) {
  float top = kLowest;
  for (std::int64_t begin = 0; begin < n; begin += kBlockTokens) {
    const float largest = largest_of(x + begin, HWY_MIN(kBlockTokens, n - begin));
    block_top[begin / kBlockTokens] = largest;
    if (largest > top) top = largest;
  }
  return top;
}

std::int64_t find_logit(const float* x, std::int64_t n, float value) {
  return first_equal(x, n, value);
}

// mass_of (mass.h) of numbers that became float64.
HWY_INLINE VMass masses_of(hn::Vec<D64> weight) {
  const auto shifted =
      hn::Add(hn::Mul(weight, hn::Set(D64(), kMassUnits)), hn::Set(D64(), kMassShift));
  return hn::And(hn::BitCast(DMass(), shifted), hn::Set(DMass(), kMassBits));
}

HWY_INLINE VMass add_masses(V32 weight, VMass sum) {
  const hn::Half<D32> half;
  sum = hn::Add(sum, masses_of(hn::PromoteTo(D64(), hn::LowerHalf(half, weight))));
  return hn::Add(sum, masses_of(hn::PromoteTo(D64(), hn::UpperHalf(half, weight))));
}

// Weighs eight logits, NaN as 0, and adds their masses.
template <bool kDivide>
HWY_INLINE VMass weigh8(F32x8 x, const Scale& scale, float* weights, VMass sum) {
  const F32x8 weight = weight8<kDivide>(x, scale);
  for (std::int64_t p = 0; p < kParts; ++p) {
    const V32 w = hn::IfThenZeroElse(hn::IsNaN(weight.part[p]), weight.part[p]);
    hn::StoreU(w, D32(), weights + p * kPartLanes);
    sum = add_masses(w, sum);
  }
  return sum;
}

template <bool kDivide>
HWY_INLINE Mass
weigh(const float* x, std::int64_t n, const Scale& scale, float* weights, Mass* block_mass) {
  Mass total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kBlockTokens) {
    const std::int64_t end = HWY_MIN(begin + kBlockTokens, n);
    VMass a = hn::Zero(DMass());
    VMass b = hn::Zero(DMass());
    std::int64_t i = begin;
    for (; i + 16 <= end; i += 16) {
      a = weigh8<kDivide>(load8(x + i), scale, weights + i, a);
      b = weigh8<kDivide>(load8(x + i + 8), scale, weights + i + 8, b);
    }
    if (i < end) {
      float tail[kLanes];  // NOLINT(*-avoid-c-arrays)
      copy_tail(x + i, end - i, tail);
      a = weigh8<kDivide>(load8(tail), scale, weights + i, a);
      b = weigh8<kDivide>(load8(tail + 8), scale, weights + i + 8, b);
    }
    const Mass mass = hn::GetLane(hn::SumOfLanes(DMass(), hn::Add(a, b)));
    block_mass[begin / kBlockTokens] = mass;
    total += mass;
  }
  return total;
}

// weights[i] = exp((x[i] - top) / temperature), and the mass of each block. Returns the mass of
// all. `weights` has room for padded(n).
Mass weigh_row(const float* x,
               std::int64_t n,
               float top,
               float temperature,
               float* weights,
               Mass* block_mass) {
  const Scale scale = {set8(top), set8(temperature)};
  return temperature == 1 ? weigh<false>(x, n, scale, weights, block_mass)
                          : weigh<true>(x, n, scale, weights, block_mass);
}

// The ascending i with values[i] >= floor, NaN left out, and their mass. `ids` has room for
// padded(n).
TokenMass collect(const float* values,
                  const float* weights,
                  std::int64_t n,
                  float floor,
                  std::int32_t* ids) {
  const D32 d;
  const hn::RebindToSigned<D32> di;
  const V32 limit = hn::Set(d, floor);
  VMass sum = hn::Zero(DMass());
  TokenMass found;
  std::int64_t i = 0;
  for (; i + kPartLanes <= n; i += kPartLanes) {
    const auto chosen = hn::Ge(hn::LoadU(d, values + i), limit);
    if (hn::AllFalse(d, chosen)) continue;
    const auto id = hn::Iota(di, static_cast<std::int32_t>(i));
    found.count += static_cast<std::int64_t>(
        hn::CompressStore(id, hn::RebindMask(di, chosen), di, ids + found.count));
    sum = add_masses(hn::IfThenElseZero(chosen, hn::LoadU(d, weights + i)), sum);
  }
  found.mass = hn::GetLane(hn::SumOfLanes(DMass(), sum));
  for (; i < n; ++i) {
    if (!(values[i] >= floor)) continue;
    ids[found.count++] = static_cast<std::int32_t>(i);
    found.mass += mass_of(weights[i]);
  }
  return found;
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
  float top = 0;                     // the largest logit, finite
  float temperature = 1;             // >= kGreedyTemperature
  Mass total = 0;                    // of all tokens
  float* weights = nullptr;          // [vocab], relative to the largest
  std::int32_t* ids = nullptr;       // [vocab], candidates
  std::int32_t* agreeing = nullptr;  // [vocab], candidates of a search
  Mass* block_mass = nullptr;        // [blocks]
  float* block_top = nullptr;        // [blocks]

  std::int64_t blocks() const { return (vocab + kBlockTokens - 1) / kBlockTokens; }
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
  std::int64_t before = 0;  // tokens and mass of higher rank than those that agree
  Mass mass_before = 0;
  std::span<const std::int32_t> agreeing = candidates;
  TokenMass at;
  for (const int shift : {24, 16, 8, 0}) {
    std::array<TokenMass, 256> of_digit{};
    for (const std::int32_t id : agreeing) {
      TokenMass& one = of_digit[order_key(row.logits[id]) >> shift & 0xFFU];
      ++one.count;
      one.mass += mass_of(row.weights[id]);
    }
    std::uint32_t digit = 0xFF;
    while (before + of_digit[digit].count < count && mass_before + of_digit[digit].mass <= limit) {
      before += of_digit[digit].count;
      mass_before += of_digit[digit].mass;
      FATHOM_CHECK(digit > 0);
      --digit;
    }
    found = found << 8U | digit;
    at = of_digit[digit];
    std::size_t still = 0;
    for (const std::int32_t id : agreeing) {
      row.agreeing[still] = id;
      still += (order_key(row.logits[id]) >> shift & 0xFFU) == digit ? 1 : 0;
    }
    agreeing = {row.agreeing, still};
  }
  const Mass each = at.mass / static_cast<Mass>(at.count);
  Boundary boundary;
  boundary.key = found;
  boundary.ties = std::min(at.count, count - before);
  if (each > 0) {
    const Mass more = (limit - mass_before) / each;
    if (more < static_cast<Mass>(boundary.ties)) {
      boundary.ties = static_cast<std::int64_t>(more) + 1;
    }
  }
  boundary.mass = mass_before + each * static_cast<Mass>(boundary.ties);
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

Candidates collect_from(const Row& row, const float* values, float floor) {
  const TokenMass found =
      HWY_DYNAMIC_DISPATCH(collect)(values, row.weights, row.vocab, floor, row.ids);
  return {{row.ids, static_cast<std::size_t>(found.count)}, found.mass};
}

// A logit that at least `count` tokens reach, or the lowest: that many blocks have a token which
// does. Leaves the tops of the blocks in another order.
float reached_by(const Row& row, std::int64_t count) {
  if (count > row.blocks() / 2) return std::numeric_limits<float>::lowest();
  std::nth_element(row.block_top, row.block_top + count - 1, row.block_top + row.blocks(),
                   std::greater<>());
  return std::max(row.block_top[count - 1], std::numeric_limits<float>::lowest());
}

Candidates gather(const Row& row, std::int64_t count, Mass limit) {
  // How far below the largest logit candidates are looked for, in units of the temperature. Most
  // rows of a language model are done with the first.
  constexpr std::array<float, 5> kDepths = {6, 10, 13, 16, std::numeric_limits<float>::infinity()};
  const float lowest = reached_by(row, count);
  Candidates candidates;
  for (const float depth : kDepths) {
    const float floor = std::max(row.top - depth * row.temperature, lowest);
    candidates = collect_from(row, row.logits, floor);
    if (candidates.reach(count, limit) || floor == lowest) break;
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

// The same over all tokens, which have the mass `whole`: by blocks, then inside one.
std::int32_t draw_from_all(const Row& row, Mass whole, std::uint64_t random) {
  Mass target = below(random, whole);
  std::int64_t block = 0;
  while (target >= row.block_mass[block]) target -= row.block_mass[block++];
  std::int64_t id = block * kBlockTokens;
  for (Mass mass = 0; target >= (mass = mass_of(row.weights[id])); ++id) target -= mass;
  return static_cast<std::int32_t>(id);
}

Candidates keep(const Row& row, const Filters& filters) {
  if (!filters.ranks(row.vocab)) return collect_from(row, row.weights, filters.min_p);
  const Candidates kept = keep_ranked(row, filters);
  return filters.min_p > 0 ? keep_probable(row, kept, filters.min_p) : kept;
}

// Whether a draft of mass `own`, of `whole`, is accepted.
bool accepts(const ops::SampleArgs& args, Mass own, Mass whole, std::uint64_t random) {
  if (own == 0) return false;
  const auto mass = static_cast<double>(own);
  return static_cast<double>(below(random, whole)) <
             mass / static_cast<double>(args.accept_threshold_acc) ||
         mass >= static_cast<double>(args.accept_threshold_single) * static_cast<double>(whole);
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

std::uint64_t random_of(const ops::SampleArgs& args, std::int64_t t, RandomPurpose purpose) {
  const auto* seed = args.seed.row<const std::int32_t>(t);
  const auto word = [](std::int32_t bits) { return static_cast<std::uint32_t>(bits); };
  return random_u64(std::uint64_t{word(seed[1])} << 32U | word(seed[0]),
                    word(args.sample.row<const std::int32_t>(0)[t]),
                    word(args.position.row<const std::int32_t>(0)[t]), purpose);
}

Row row_with_scratch(CpuStream& stream, int worker, std::int64_t vocab) {
  Row row;
  row.vocab = vocab;
  const std::int64_t blocks = padded(row.blocks());
  const std::int64_t bytes =
      padded(vocab) * std::int64_t{sizeof(float) + 2 * sizeof(std::int32_t)} +
      blocks * std::int64_t{sizeof(Mass) + sizeof(float)};
  row.weights = static_cast<float*>(stream.worker_scratch(worker, static_cast<std::size_t>(bytes)));
  row.ids = reinterpret_cast<std::int32_t*>(row.weights + padded(vocab));
  row.agreeing = row.ids + padded(vocab);
  row.block_mass = reinterpret_cast<Mass*>(row.agreeing + padded(vocab));
  row.block_top = reinterpret_cast<float*>(row.block_mass + blocks);
  return row;
}

std::int32_t sample_row(const ops::SampleArgs& args, std::int64_t t, Row row) {
  row.logits = args.logits.row<const float>(t);
  row.top = HWY_DYNAMIC_DISPATCH(top_logit)(row.logits, row.vocab, row.block_top);
  row.temperature = args.temperature.row<const float>(0)[t];
  if (!(row.temperature >= ops::kGreedyTemperature) || !std::isfinite(row.top)) {
    return static_cast<std::int32_t>(
        HWY_DYNAMIC_DISPATCH(find_logit)(row.logits, row.vocab, row.top));
  }
  row.total = HWY_DYNAMIC_DISPATCH(weigh_row)(row.logits, row.vocab, row.top, row.temperature,
                                              row.weights, row.block_mass);
  const Filters filters = filters_of(args, t);
  const bool all = !filters.ranks(row.vocab) && !(filters.min_p > 0);
  Candidates kept;
  if (!all) kept = keep(row, filters);
  Mass& whole = all ? row.total : kept.mass;
  const std::int32_t draft = args.drafts_decide() ? args.draft.row<const std::int32_t>(0)[t] : -1;
  if (draft >= 0) {
    const bool stays = all || std::binary_search(kept.ids.begin(), kept.ids.end(), draft);
    const Mass own = stays ? mass_of(row.weights[draft]) : 0;
    if (accepts(args, own, whole, random_of(args, t, RandomPurpose::kAccept))) return draft;
    // Without mass it is not drawn.
    row.weights[draft] = 0;
    row.block_mass[draft / kBlockTokens] -= own;
    whole -= own;
  }
  const std::uint64_t random = random_of(args, t, RandomPurpose::kSample);
  return all ? draw_from_all(row, whole, random) : draw_from(row, kept, random);
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
