#include "tensor/device.h"

#include <utility>

namespace fathom {

Buffer::Buffer(Buffer&& other) noexcept
    : device_(std::exchange(other.device_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      kind_(other.kind_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    release();
    device_ = std::exchange(other.device_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    kind_ = other.kind_;
  }
  return *this;
}

Buffer::~Buffer() { release(); }

void Buffer::release() {
  if (device_ != nullptr) device_->deallocate(*this);
}

TensorView Buffer::view(DType dtype,
                        std::initializer_list<std::int64_t> shape,
                        std::size_t offset) const {
  const TensorView part(static_cast<std::byte*>(data_) + offset, dtype, shape);
  FATHOM_CHECK(offset + static_cast<std::size_t>(part.elements()) * size_of(dtype) <= bytes_);
  return part;
}

}  // namespace fathom
