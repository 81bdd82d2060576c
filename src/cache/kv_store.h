#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "config/kv_layout.h"
#include "tensor/device.h"

namespace fathom::cache {

// The bytes of both caches of every layer, in the device's memory: per layer [pages, page bytes]
// of latent records and [pages, page bytes] of indexer keys. One page number names the same 64
// tokens in all of them, so a page is taken, shared and freed for all layers at once.
//
// Threads: the views may be used from any thread; who may write which page is the business of
// whoever holds it in the PagePool.
class KvStore {
 public:
  // Memory becomes resident page by page as it is first written. kResourceExhausted names the
  // bytes wanted. Requires layers > 0 and pages > 0.
  static Result<KvStore> create(Device& device,
                                const config::KvLayout& layout,
                                std::int32_t layers,
                                std::int32_t pages);

  const config::KvLayout& layout() const { return layout_; }
  std::int32_t layers() const { return layers_; }
  std::int32_t pages() const { return pages_; }
  std::int64_t bytes() const;

  // u8 [pages, page bytes]. Requires 0 <= layer < layers().
  TensorView latent(std::int32_t layer) const;
  TensorView index(std::int32_t layer) const;

 private:
  KvStore(config::KvLayout layout,
          std::int32_t layers,
          std::int32_t pages,
          Buffer latent,
          Buffer index);

  config::KvLayout layout_;
  std::int32_t layers_;
  std::int32_t pages_;
  Buffer latent_;  // [layers, pages, latent page bytes]
  Buffer index_;   // [layers, pages, indexer page bytes]
};

}  // namespace fathom::cache
