#include <algorithm>
#include <cstdint>
#include <limits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "base/check.h"

namespace fathom::cpu {

namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kWordBits = 32;

struct Penalties {
  float frequency = 0;
  float presence = 0;
  float repetition = 1;
};

float adjusted(float x, std::int32_t count, const Penalties& penalties, float bias) {
  if (count < 0) return kMasked;
  if (count > 0) {
    x -= penalties.frequency * static_cast<float>(count) + penalties.presence;
    x = x < 0 ? x * penalties.repetition : x / penalties.repetition;
  }
  return x + bias;
}

void mask_row(float* x, std::int64_t vocab, const std::uint32_t* mask) {
  for (std::int64_t begin = 0; begin < vocab; begin += kWordBits) {
    const std::uint32_t word = *mask++;
    if (word == ~0U) continue;
    const std::int64_t count = std::min(kWordBits, vocab - begin);
    for (std::int64_t bit = 0; bit < count; ++bit) {
      if ((word >> bit & 1U) == 0) x[begin + bit] = kMasked;
    }
  }
}

// A mask before the entries: neither a penalty nor a bias moves -infinity.
void adjust_row(const ops::AdjustLogitsArgs& args, std::int64_t i) {
  const std::int64_t vocab = args.logits.shape[1];
  const std::int32_t row = args.row.row<const std::int32_t>(0)[i];
  FATHOM_CHECK(row >= 0 && row < args.logits.shape[0]);
  auto* const x = args.logits.row<float>(row);
  if (args.mask_row.present()) {
    const std::int32_t mask = args.mask_row.row<const std::int32_t>(0)[i];
    FATHOM_CHECK(mask >= -1 && mask < args.mask.shape[0]);
    if (mask >= 0) mask_row(x, vocab, args.mask.row<const std::uint32_t>(mask));
  }
  const auto* const given = args.penalties.row<const float>(i);
  const Penalties penalties = {given[0], given[1], given[2]};
  const auto* const first = args.first_entry.row<const std::int32_t>(0) + i;
  FATHOM_CHECK(first[0] >= 0 && first[0] <= first[1] && first[1] <= args.token.shape[0]);
  const auto* const tokens = args.token.row<const std::int32_t>(0);
  const auto* const counts = args.count.row<const std::int32_t>(0);
  const auto* const biases = args.bias.row<const float>(0);
  for (std::int32_t entry = first[0]; entry < first[1]; ++entry) {
    const std::int32_t token = tokens[entry];
    FATHOM_CHECK(token >= 0 && token < vocab);
    x[token] = adjusted(x[token], counts[entry], penalties, biases[entry]);
  }
}

}  // namespace

void adjust_logits(CpuStream& stream, const ops::AdjustLogitsArgs& args) {
  const std::int64_t rows = args.row.shape[0];
  if (rows == 0) return;
  const bool masks = args.mask_row.present();
  const std::int64_t cost = args.token.shape[0] / rows + (masks ? args.logits.shape[1] / 8 : 0);
  parallel_rows(stream, rows, cost, [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
    for (std::int64_t i = begin; i < end; ++i) adjust_row(args, i);
  });
}

}  // namespace fathom::cpu
