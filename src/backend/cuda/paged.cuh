#pragma once

#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/numeric.cuh"
#include "config/kv_layout.h"
#include "ops/attention.h"

namespace fathom::cuda {

constexpr int kPage = config::kPageTokens;

// ops::PagedTokens as a kernel takes them.
struct Places {
  const std::int32_t* positions = nullptr;
  const std::int32_t* sequences = nullptr;
  Rows<const std::int32_t> table;

  explicit Places(const ops::PagedTokens& tokens)
      : positions(static_cast<const std::int32_t*>(tokens.positions.data)),
        sequences(static_cast<const std::int32_t*>(tokens.sequences.data)),
        table(tokens.page_table) {}
  __device__ int page(std::int64_t token, int position) const {
    return table.row(sequences[token])[position / kPage];
  }
};

// The latent cache of a layer.
struct LatentCache {
  Rows<std::byte> pages;
  std::int64_t record_bytes = 0;
  std::int64_t scales_offset = 0;
  std::int64_t rope_offset = 0;
  int latent = 0;  // c
  int rope = 0;    // r
  DType dtype = DType::kBF16;

  explicit LatentCache(const ops::CacheView& cache)
      : pages(cache.bytes),
        record_bytes(cache.layout.latent_record_bytes()),
        rope_offset(cache.layout.latent_rope_offset()),
        latent(cache.layout.latent_dim),
        rope(cache.layout.rope_dim),
        dtype(cache.layout.latent_dtype) {
    if (dtype == DType::kF8E4M3) scales_offset = cache.layout.latent_scales_offset();
  }
  __device__ std::byte* record(int page, int position) const {
    return pages.row(page) + position % kPage * record_bytes;
  }
  // Number k of [latent | rotated part].
  __device__ float number(const std::byte* record, int k) const {
    if (dtype == DType::kF32) return reinterpret_cast<const float*>(record)[k];
    if (dtype == DType::kBF16) return widen(reinterpret_cast<const BFloat16*>(record)[k]);
    if (k >= latent) {
      return widen(reinterpret_cast<const BFloat16*>(record + rope_offset)[k - latent]);
    }
    const auto* scales = reinterpret_cast<const float*>(record + scales_offset);
    return widen(reinterpret_cast<const Float8E4M3*>(record)[k]) *
           scales[k / static_cast<int>(kScaleBlock)];
  }
};

// The indexer cache of a layer.
struct IndexCache {
  Rows<std::byte> pages;
  std::int64_t scales_offset = 0;  // in a page
  int dim = 0;                     // d
  DType dtype = DType::kF8E4M3;

  explicit IndexCache(const ops::CacheView& cache)
      : pages(cache.bytes), dim(cache.layout.index_dim), dtype(cache.layout.index_dtype) {
    if (dtype == DType::kF8E4M3) scales_offset = cache.layout.index_scale_offset(0);
  }
  __device__ float* scale(int page, int slot) const {
    return reinterpret_cast<float*>(pages.row(page) + scales_offset) + slot;
  }
  template <class T>
  __device__ T* key(int page, int slot) const {
    return reinterpret_cast<T*>(pages.row(page)) + static_cast<std::int64_t>(slot) * dim;
  }
};

}  // namespace fathom::cuda
