#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "tensor/device.h"

namespace fathom::engine {

// A [rows, width] array of a step's inputs or results: host memory, and its copy on the device.
// Host memory may be written again once the stream has been synchronized.
template <class T>
class Staging {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, std::int32_t>);

 public:
  static Result<Staging> create(Device& device, std::int64_t rows, std::int64_t width) {
    Result<Buffer> buffer = device.allocate(static_cast<std::size_t>(rows * width) * sizeof(T));
    FATHOM_RETURN_IF_ERROR(buffer.status());
    return Staging(device, rows, width, std::move(buffer).value());
  }

  T* row(std::int64_t index) { return host_.data() + index * width_; }
  const T* row(std::int64_t index) const { return host_.data() + index * width_; }
  T& at(std::int64_t index) { return host_[static_cast<std::size_t>(index)]; }

  std::int64_t width() const { return width_; }

  // Rows [first, first + rows) of the device's copy.
  TensorView rows(std::int64_t first, std::int64_t rows) const {
    return buffer_.view(type(), {rows, width_},
                        static_cast<std::size_t>(first * width_) * sizeof(T));
  }
  // The same of an array of width 1, as one dimension.
  TensorView flat(std::int64_t first, std::int64_t rows) const {
    return buffer_.view(type(), {rows}, static_cast<std::size_t>(first) * sizeof(T));
  }

  void upload(Stream& stream, std::int64_t first, std::int64_t rows) {
    copy_elements_to_device(stream, first * width_, rows * width_);
  }
  void copy_elements_to_device(Stream& stream, std::int64_t first, std::int64_t count) {
    if (count == 0) return;
    device_->copy_to_device(stream, static_cast<T*>(buffer_.data()) + first, host_.data() + first,
                            static_cast<std::size_t>(count) * sizeof(T));
  }
  void download(Stream& stream, std::int64_t rows) {
    if (rows == 0) return;
    device_->copy_to_host(stream, host_.data(), buffer_.data(),
                          static_cast<std::size_t>(rows * width_) * sizeof(T));
  }

 private:
  Staging(Device& device, std::int64_t rows, std::int64_t width, Buffer buffer)
      : device_(&device),
        width_(width),
        host_(static_cast<std::size_t>(rows * width)),
        buffer_(std::move(buffer)) {}

  static constexpr DType type() { return std::is_same_v<T, float> ? DType::kF32 : DType::kI32; }

  Device* device_;
  std::int64_t width_;
  std::vector<T> host_;
  Buffer buffer_;
};

}  // namespace fathom::engine
