#include "cache/kv_store.h"

#include <utility>

namespace fathom::cache {

Result<KvStore> KvStore::create(Device& device,
                                const config::KvLayout& layout,
                                std::int32_t layers,
                                std::int32_t pages) {
  FATHOM_CHECK(layers > 0 && pages > 0);
  const std::int64_t count = std::int64_t{layers} * pages;
  Result<Buffer> latent =
      device.allocate(static_cast<std::size_t>(count * layout.latent_page_bytes()));
  FATHOM_RETURN_IF_ERROR(latent.status().in("latent cache"));
  Result<Buffer> index =
      device.allocate(static_cast<std::size_t>(count * layout.index_page_bytes()));
  FATHOM_RETURN_IF_ERROR(index.status().in("indexer cache"));
  return KvStore(layout, layers, pages, std::move(latent).value(), std::move(index).value());
}

KvStore::KvStore(config::KvLayout layout,
                 std::int32_t layers,
                 std::int32_t pages,
                 Buffer latent,
                 Buffer index)
    : layout_(layout),
      layers_(layers),
      pages_(pages),
      latent_(std::move(latent)),
      index_(std::move(index)) {}

std::int64_t KvStore::bytes() const {
  return static_cast<std::int64_t>(latent_.bytes() + index_.bytes());
}

TensorView KvStore::latent(std::int32_t layer) const {
  FATHOM_CHECK(layer >= 0 && layer < layers_);
  const std::int64_t page_bytes = layout_.latent_page_bytes();
  return latent_.view(DType::kU8, {pages_, page_bytes},
                      static_cast<std::size_t>(std::int64_t{layer} * pages_ * page_bytes));
}

TensorView KvStore::index(std::int32_t layer) const {
  FATHOM_CHECK(layer >= 0 && layer < layers_);
  const std::int64_t page_bytes = layout_.index_page_bytes();
  return index_.view(DType::kU8, {pages_, page_bytes},
                     static_cast<std::size_t>(std::int64_t{layer} * pages_ * page_bytes));
}

}  // namespace fathom::cache
