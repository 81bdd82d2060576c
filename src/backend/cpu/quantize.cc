#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/quantize.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/quantize-inl.h"
#include "backend/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

void quantize_rows(const ops::QuantizeArgs& args, std::int64_t begin, std::int64_t end) {
  alignas(64) float group[kScaleBlock];  // NOLINT(*-avoid-c-arrays)
  const std::int64_t width = args.x.shape[1];
  const auto size = static_cast<std::int64_t>(size_of(args.x.dtype));
  for (std::int64_t t = begin; t < end; ++t) {
    const std::byte* x = row_bytes(args.x, t);
    auto* values = args.values.row<Float8E4M3>(t);
    auto* scales = args.scales.row<float>(t);
    for (std::int64_t at = 0; at < width; at += kScaleBlock) {
      const std::int64_t n = HWY_MIN(kScaleBlock, width - at);
      widen(args.x.dtype, x + at * size, n, group);
      scales[at / kScaleBlock] = quantize_group(group, n, args.ue8m0, values + at);
    }
  }
}

// The heads of one token. `row` is a buffer for d numbers.
void quantize_index_query_token(const ops::QuantizeIndexQueryArgs& args,
                                std::int64_t token,
                                float* row) {
  const std::int64_t d = args.query.shape[2];
  auto* scales = args.scales.row<float>(token);
  for (std::int64_t head = 0; head < args.query.shape[1]; ++head) {
    widen(args.query.dtype, row_bytes(args.query, token, head), d, row);
    hadamard(row, d);
    scales[head] = quantize_group(row, d, true, args.values.row<Float8E4M3>(token, head));
  }
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(quantize_rows);
HWY_EXPORT(quantize_index_query_token);

void quantize(CpuStream& stream, const ops::QuantizeArgs& args) {
  parallel_rows(stream, args.x.shape[0], args.x.shape[1],
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  HWY_DYNAMIC_DISPATCH(quantize_rows)(args, begin, end);
                });
}

void quantize_index_query(CpuStream& stream, const ops::QuantizeIndexQueryArgs& args) {
  const std::int64_t d = args.query.shape[2];
  parallel_rows(stream, args.query.shape[0], args.query.shape[1] * d,
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  float* row = row_buffer(stream, worker, d);
                  for (std::int64_t t = begin; t < end; ++t) {
                    HWY_DYNAMIC_DISPATCH(quantize_index_query_token)(args, t, row);
                  }
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
