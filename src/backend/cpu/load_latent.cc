#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"
#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/load_latent.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// Positions [begin, end). `row` and `staging` are buffers for a padded row each.
void load_latent_rows(const ops::LoadLatentArgs& args,
                      std::int64_t begin,
                      std::int64_t end,
                      float* row,
                      float* staging) {
  const auto* pages = args.page_table.row<const std::int32_t>(args.sequence);
  for (std::int64_t s = begin; s < end; ++s) {
    const Place place{pages[s / config::kPageTokens],
                      static_cast<std::int32_t>(s % config::kPageTokens)};
    FATHOM_CHECK(place.page >= 0 && place.page < args.cache.bytes.shape[0]);
    load_record(args.cache, place, row);
    write_packed(row, args.y.shape[1], staging, args.y.dtype, row_bytes(args.y, s));
  }
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(load_latent_rows);

void load_latent(CpuStream& stream, const ops::LoadLatentArgs& args) {
  const std::int64_t width = args.y.shape[1];
  parallel_rows(stream, args.y.shape[0], width,
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  float* row = row_buffer(stream, worker, width, 2);
                  HWY_DYNAMIC_DISPATCH(load_latent_rows)
                  (args, begin, end, row, row + padded(width));
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
