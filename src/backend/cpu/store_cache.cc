#include <algorithm>
#include <cstdint>
#include <cstring>

#include "backend/cpu/kernels.h"
#include "backend/cpu/paged.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"
#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/store_cache.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/quantize-inl.h"
#include "backend/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// n numbers of `row` as `dtype` at a place that need not be aligned. `staging` is another buffer
// for as many.
HWY_INLINE void put(const float* row, std::int64_t n, DType dtype, float* staging, std::byte* to) {
  const void* from = row;
  if (dtype == DType::kBF16) {
    narrow(row, n, dtype, staging);
    from = staging;
  }
  std::memcpy(to, from, static_cast<std::size_t>(n) * size_of(dtype));
}

// Writes one record. `row` and `staging` are buffers for c or r numbers, whichever is more.
void store_latent_token(const ops::StoreLatentArgs& args,
                        std::int64_t token,
                        std::byte* record,
                        float* row,
                        float* staging) {
  const config::KvLayout& layout = args.cache.layout;
  const std::int64_t c = layout.latent_dim;
  const std::int64_t r = layout.rope_dim;
  widen(args.latent.dtype, row_bytes(args.latent, token), c, row);
  if (layout.latent_dtype == DType::kF8E4M3) {
    std::byte* scales = record + layout.latent_scales_offset();
    for (std::int64_t at = 0; at < c; at += kScaleBlock) {
      const float scale = quantize_group(row + at, HWY_MIN(kScaleBlock, c - at), true,
                                         reinterpret_cast<Float8E4M3*>(record) + at);
      std::memcpy(scales + at / kScaleBlock * 4, &scale, sizeof scale);
    }
  } else {
    put(row, c, layout.latent_dtype, staging, record);
  }
  widen(args.rope.dtype, row_bytes(args.rope, token), r, row);
  put(row, r, layout.latent_dtype == DType::kF32 ? DType::kF32 : DType::kBF16, staging,
      record + layout.latent_rope_offset());
}

// Writes one key into its page. `row` is a buffer for d numbers.
void store_index_key_token(const ops::StoreIndexKeyArgs& args,
                           std::int64_t token,
                           std::byte* page,
                           std::int32_t slot,
                           float* row) {
  const config::KvLayout& layout = args.cache.layout;
  const std::int64_t d = layout.index_dim;
  widen(args.key.dtype, row_bytes(args.key, token), d, row);
  std::byte* values = page + layout.index_value_offset(slot);
  if (layout.index_dtype == DType::kF32) {
    std::memcpy(values, row, static_cast<std::size_t>(d) * sizeof(float));
    return;
  }
  hadamard(row, d);
  const float scale = quantize_group(row, d, true, reinterpret_cast<Float8E4M3*>(values));
  std::memcpy(page + layout.index_scale_offset(slot), &scale, sizeof scale);
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(store_latent_token);
HWY_EXPORT(store_index_key_token);

namespace {

// The page of row `token`, checked: a write past the cache would be someone else's answer.
std::byte* page_of(const ops::CacheView& cache, const Place& place) {
  FATHOM_CHECK(place.page >= 0 && place.page < cache.bytes.shape[0]);
  return row_bytes(cache.bytes, place.page);
}

}  // namespace

void store_latent(CpuStream& stream, const ops::StoreLatentArgs& args) {
  const config::KvLayout& layout = args.cache.layout;
  const std::int64_t n = std::max(layout.latent_dim, layout.rope_dim);
  parallel_rows(stream, args.latent.shape[0], n,
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  float* row = row_buffer(stream, worker, n, 2);
                  for (std::int64_t t = begin; t < end; ++t) {
                    if (is_padding(args.tokens, t)) continue;
                    const Place place = place_of(args.tokens, t);
                    std::byte* record =
                        page_of(args.cache, place) + place.slot * layout.latent_record_bytes();
                    HWY_DYNAMIC_DISPATCH(store_latent_token)(args, t, record, row, row + padded(n));
                  }
                });
}

void store_index_key(CpuStream& stream, const ops::StoreIndexKeyArgs& args) {
  const std::int64_t d = args.key.shape[1];
  parallel_rows(stream, args.key.shape[0], d,
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  float* row = row_buffer(stream, worker, d);
                  for (std::int64_t t = begin; t < end; ++t) {
                    if (is_padding(args.tokens, t)) continue;
                    const Place place = place_of(args.tokens, t);
                    HWY_DYNAMIC_DISPATCH(store_index_key_token)
                    (args, t, page_of(args.cache, place), place.slot, row);
                  }
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
