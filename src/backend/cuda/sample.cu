#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"
#include "backend/cuda/logits.cuh"
#include "base/random.h"

// Tokens drawn from rows of logits, to the bit of docs/arithmetic.md 14. There is no memory for the
// weights of a row: each pass makes anew those that it needs.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;
constexpr int kNoTies = std::numeric_limits<int>::max();  // no boundary cuts any off

// ops::SampleArgs as a kernel takes them.
struct Draws {
  Rows<const float> logits;
  const float* temperature = nullptr;
  const std::int32_t* top_k = nullptr;
  const float* top_p = nullptr;
  const float* min_p = nullptr;
  Rows<const std::int32_t> seed;
  const std::int32_t* sample = nullptr;
  const std::int32_t* position = nullptr;
  std::int32_t* token = nullptr;
  int vocab = 0;
  const std::int32_t* draft = nullptr;  // null: drafts do not decide
  float threshold_single = 1;
  float threshold_acc = 1;
};

// Which tokens a row's filters keep.
struct Filters {
  int top_k = 0;    // at least 1; the vocabulary: all
  float top_p = 1;  // below 1 where it filters
  float min_p = 0;  // above 0 where it filters

  __device__ Filters(const Draws& draws, std::int64_t row) {
    const int wanted = draws.top_k[row];
    top_k = wanted > 0 ? min(wanted, draws.vocab) : draws.vocab;
    top_p = draws.top_p[row];
    if (draws.min_p[row] > 0) min_p = fminf(draws.min_p[row], 1.0F);
  }
};

struct LogitRow {
  const float* logits = nullptr;
  int vocab = 0;
  Softness softness;

  __device__ float weight(float logit) const {
    const float weight = softness.weight(logit);
    return weight == weight ? weight : 0;
  }
  __device__ Mass mass(float logit) const { return mass_of(weight(logit)); }
};

// The tokens that stay: those above the boundary and its first equals, of them those of weight.
struct Kept {
  Boundary boundary;
  float min_weight = 0;

  __device__ Mass mass(const LogitRow& row, float logit) const {
    const float weight = row.weight(logit);
    return weight >= min_weight ? mass_of(weight) : 0;
  }
};

// base/random.h's Philox 4x32 with ten rounds, of which only the first two words are used.
__device__ std::uint64_t random_of(const Draws& draws, std::int64_t row, RandomPurpose purpose) {
  constexpr int kRounds = 10;
  std::uint32_t counter[4] = {static_cast<std::uint32_t>(draws.position[row]),
                              static_cast<std::uint32_t>(draws.sample[row]),
                              static_cast<std::uint32_t>(purpose), 0};
  std::uint32_t key[2] = {static_cast<std::uint32_t>(draws.seed.row(row)[0]),
                          static_cast<std::uint32_t>(draws.seed.row(row)[1])};
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t even = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t odd = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter[0] = static_cast<std::uint32_t>(odd >> 32U) ^ counter[1] ^ key[0];
    counter[1] = static_cast<std::uint32_t>(odd);
    counter[2] = static_cast<std::uint32_t>(even >> 32U) ^ counter[3] ^ key[1];
    counter[3] = static_cast<std::uint32_t>(even);
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return std::uint64_t{counter[1]} << 32U | counter[0];
}

__device__ Mass total_mass(const LogitRow& row) {
  Mass own = 0;
  for (int i = threadIdx.x; i < row.vocab; i += kThreads) own += row.mass(row.logits[i]);
  return reduce_block(own, [](Mass a, Mass b) { return a + b; });
}

__device__ Mass part_of(float top_p, Mass mass) {
  if (!(top_p < 1)) return kNoLimit;
  return __double2ull_rz(__dmul_rn(static_cast<double>(fmaxf(top_p, 0.0F)), __ull2double_rn(mass)));
}

// The last token that top_k and top_p keep. Masked tokens have the lowest ranks and no mass, so
// they may be among those that are kept: none is drawn.
__device__ Boundary find_last_ranked(const LogitRow& row, const Filters& filters) {
  const auto mass = [&row](float logit) { return row.mass(logit); };
  Mass limit = kNoLimit;
  if (filters.top_p < 1) {
    const bool of_all = !(filters.min_p > 0) || filters.top_k >= row.vocab;
    const Mass whole =
        of_all ? total_mass(row)
               : find_boundary(row.logits, row.vocab, filters.top_k, kNoLimit, mass).mass;
    limit = part_of(filters.top_p, whole);
  }
  return find_boundary(row.logits, row.vocab, filters.top_k, limit, mass);
}

__device__ Kept kept_of(const LogitRow& row, const Filters& filters) {
  Kept kept;
  kept.min_weight = filters.min_p;
  kept.boundary.ties = kNoTies;
  if (filters.top_k < row.vocab || filters.top_p < 1) {
    kept.boundary = find_last_ranked(row, filters);
  }
  return kept;
}

// What one warp's segment of the row holds.
struct SegmentMass {
  Mass above;  // of kept tokens above the boundary
  Mass tie;    // of one token at the boundary, 0 where there is none
  int ties;
};

__device__ SegmentMass weigh_segment(const LogitRow& row, const Kept& kept) {
  const Segment segment = own_segment(row.vocab);
  SegmentMass sum{};
  for (int i = segment.begin + threadIdx.x % kWarp; i < segment.end; i += kWarp) {
    const float logit = row.logits[i];
    const std::uint32_t key = order_key(logit);
    if (key < kept.boundary.key) continue;
    const Mass mass = kept.mass(row, logit);
    if (key > kept.boundary.key) {
      sum.above += mass;
    } else {
      sum.tie = mass;
      ++sum.ties;
    }
  }
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    sum.above += __shfl_xor_sync(kWholeWarp, sum.above, apart);
    sum.tie = max(sum.tie, __shfl_xor_sync(kWholeWarp, sum.tie, apart));
    sum.ties += __shfl_xor_sync(kWholeWarp, sum.ties, apart);
  }
  return sum;
}

// Where the token is: `target` counts from the first kept token of the warp's segment, `ties` are
// those that the boundary keeps from there on.
struct Place {
  int warp = 0;
  Mass target = 0;
  int ties = 0;
};

__device__ Mass mass_of_segment(const SegmentMass& segment, int ties) {
  return segment.above + segment.tie * static_cast<Mass>(min(segment.ties, ties));
}

__device__ Mass whole_mass(const SegmentMass* segments, int ties) {
  Mass whole = 0;
  for (int warp = 0; warp < kWarps; ++warp) {
    whole += mass_of_segment(segments[warp], ties);
    ties -= min(segments[warp].ties, ties);
  }
  return whole;
}

__device__ Place place_of(const SegmentMass* segments, std::uint64_t random, int ties) {
  Place place;
  place.target = __umul64hi(random, whole_mass(segments, ties));
  place.ties = ties;
  for (; place.warp < kWarps - 1; ++place.warp) {
    const SegmentMass& segment = segments[place.warp];
    const Mass mass = mass_of_segment(segment, place.ties);
    if (place.target < mass) break;
    place.target -= mass;
    place.ties -= min(segment.ties, place.ties);
  }
  return place;
}

// The mass of token `id`, 0 where it is not kept.
__device__ Mass mass_of_token(const LogitRow& row, const Kept& kept, int id) {
  const float logit = row.logits[id];
  const std::uint32_t key = order_key(logit);
  if (key < kept.boundary.key) return 0;
  if (key == kept.boundary.key && kept.boundary.ties != kNoTies) {
    int before = 0;
    for (int i = threadIdx.x; i < id; i += kThreads) before += order_key(row.logits[i]) == key;
    before = reduce_block(before, [](int a, int b) { return a + b; });
    if (before >= kept.boundary.ties) return 0;
  }
  return kept.mass(row, logit);
}

// Whether a draft of mass `own`, of `whole`, is accepted.
__device__ bool accepts(const Draws& draws, Mass own, Mass whole, std::uint64_t random) {
  if (own == 0) return false;
  const double mass = __ull2double_rn(own);
  return __ull2double_rn(__umul64hi(random, whole)) <
             __ddiv_rn(mass, static_cast<double>(draws.threshold_acc)) ||
         mass >= __dmul_rn(static_cast<double>(draws.threshold_single), __ull2double_rn(whole));
}

// One warp goes through its segment, 32 tokens at a time; a thread finds the token. Token
// `left_out` has no mass; -1: none.
__device__ void walk_segment(const LogitRow& row,
                             const Kept& kept,
                             int left_out,
                             Place place,
                             std::int32_t* token) {
  const Segment segment = own_segment(row.vocab);
  const int lane = threadIdx.x % kWarp;
  for (int begin = segment.begin; begin < segment.end; begin += kWarp) {
    const int id = begin + lane;
    const float logit = id < segment.end ? row.logits[id] : -INFINITY;
    const std::uint32_t key = id < segment.end ? order_key(logit) : 0;
    const unsigned at_boundary =
        __ballot_sync(kWholeWarp, id < segment.end && key == kept.boundary.key);
    const bool stays = key > kept.boundary.key ||
                       (key == kept.boundary.key && lanes_before(at_boundary) < place.ties);
    Mass until = stays && id != left_out ? kept.mass(row, logit) : 0;
    for (int apart = 1; apart < kWarp; apart *= 2) {
      const Mass other = __shfl_up_sync(kWholeWarp, until, apart);
      if (lane >= apart) until += other;
    }
    const unsigned beyond = __ballot_sync(kWholeWarp, until > place.target);
    if (beyond != 0) {
      if (lane == __ffs(static_cast<int>(beyond)) - 1) *token = id;
      return;
    }
    place.target -= __shfl_sync(kWholeWarp, until, kWarp - 1);
    place.ties -= min(__popc(at_boundary), place.ties);
  }
}

// A block a row. Passes over the row: its largest logit; its mass, where top_p is of that; for
// top_k and top_p four that find the last rank kept, and four more where top_p is of the top_k
// first; one that adds what every warp's segment keeps; one that counts the equals before a draft,
// where it has the last rank's logit; and a last one over a single segment.
__global__ void __launch_bounds__(kThreads) sample_kernel(Draws draws) {
  __shared__ SegmentMass segments[kWarps];
  const std::int64_t index = blockIdx.x;
  LogitRow row;
  row.logits = draws.logits.row(index);
  row.vocab = draws.vocab;
  row.softness.top = largest_of(row.logits, row.vocab);
  row.softness.temperature = draws.temperature[index];
  const bool greedy = !(row.softness.temperature >= ops::kGreedyTemperature);
  if (greedy || !isfinite(row.softness.top)) {
    const int first = first_equal(row.logits, row.vocab, row.softness.top);
    if (threadIdx.x == 0) draws.token[index] = first;
    return;
  }
  const Kept kept = kept_of(row, Filters(draws, index));
  const int warp = threadIdx.x / kWarp;
  const SegmentMass own = weigh_segment(row, kept);
  if (threadIdx.x % kWarp == 0) segments[warp] = own;
  __syncthreads();
  const int draft = draws.draft == nullptr ? -1 : draws.draft[index];
  if (draft >= 0) {
    const Mass mass = mass_of_token(row, kept, draft);
    const Mass whole = whole_mass(segments, kept.boundary.ties);
    if (accepts(draws, mass, whole, random_of(draws, index, RandomPurpose::kAccept))) {
      if (threadIdx.x == 0) draws.token[index] = draft;
      return;
    }
    __syncthreads();  // all threads have read what one writes now
    // Where it is one of the ties this part wraps around, and the segment's sum back.
    const Segment segment = own_segment(row.vocab);
    const bool here = segment.begin <= draft && draft < segment.end;
    if (here && threadIdx.x % kWarp == 0) segments[warp].above -= mass;
    __syncthreads();
  }
  const std::uint64_t random = random_of(draws, index, RandomPurpose::kSample);
  const Place place = place_of(segments, random, kept.boundary.ties);
  if (place.warp == warp) walk_segment(row, kept, draft, place, draws.token + index);
}

}  // namespace

void sample(CUstream_st* stream, const ops::SampleArgs& args) {
  const auto rows = static_cast<unsigned>(args.logits.shape[0]);
  if (rows == 0) return;
  Draws draws;
  draws.logits = Rows<const float>(args.logits);
  draws.temperature = static_cast<const float*>(args.temperature.data);
  draws.top_k = static_cast<const std::int32_t*>(args.top_k.data);
  draws.top_p = static_cast<const float*>(args.top_p.data);
  draws.min_p = static_cast<const float*>(args.min_p.data);
  draws.seed = Rows<const std::int32_t>(args.seed);
  draws.sample = static_cast<const std::int32_t*>(args.sample.data);
  draws.position = static_cast<const std::int32_t*>(args.position.data);
  draws.token = static_cast<std::int32_t*>(args.token.data);
  draws.vocab = static_cast<int>(args.logits.shape[1]);
  if (args.drafts_decide()) draws.draft = static_cast<const std::int32_t*>(args.draft.data);
  draws.threshold_single = args.accept_threshold_single;
  draws.threshold_acc = args.accept_threshold_acc;
  sample_kernel<<<rows, kThreads, 0, stream>>>(draws);
}

}  // namespace fathom::cuda
