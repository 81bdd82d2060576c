#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "tensor/device.h"

namespace fathom::engine {

// An array of a step's inputs: where the host writes it, and what the device will read.
template <class T>
struct Input {
  T* host = nullptr;
  TensorView view;
};

// All inputs of a step side by side, so that one copy takes them to the device. The host's side is
// given for each step and must stay until the copy is done; the device's side is used again by the
// next step, in stream order. Equal sequences of take() give equal views.
class InputArena {
 public:
  static Result<InputArena> create(Device& device, std::size_t bytes) {
    Result<Buffer> buffer = device.allocate(bytes);
    FATHOM_RETURN_IF_ERROR(buffer.status());
    return InputArena(device, std::move(buffer).value());
  }

  // Bytes that an array of `count` numbers takes.
  static std::size_t bytes_for(std::int64_t count) {
    return (static_cast<std::size_t>(count) * kElement + kAlignment - 1) / kAlignment * kAlignment;
  }

  // Starts over, in host memory of at least as many bytes.
  void begin(const Buffer& host) {
    host_ = static_cast<std::byte*>(host.data());
    used_ = 0;
  }
  // [count], or [count, width] when a width is given. Holds what an earlier step left there.
  template <class T>
  Input<T> take(std::int64_t count, std::int64_t width = 0) {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, std::int32_t>);
    constexpr DType kType = std::is_same_v<T, float> ? DType::kF32 : DType::kI32;
    const std::size_t at = used_;
    used_ += bytes_for(width == 0 ? count : count * width);
    FATHOM_CHECK(used_ <= device_buffer_.bytes());
    return {reinterpret_cast<T*>(host_ + at), width == 0
                                                  ? device_buffer_.view(kType, {count}, at)
                                                  : device_buffer_.view(kType, {count, width}, at)};
  }
  void upload(Stream& stream) {
    device_->copy_to_device(stream, device_buffer_.data(), host_, used_);
  }

 private:
  static constexpr std::size_t kElement = 4;
  static constexpr std::size_t kAlignment = 16;

  InputArena(Device& device, Buffer buffer) : device_(&device), device_buffer_(std::move(buffer)) {}

  Device* device_;
  Buffer device_buffer_;
  std::byte* host_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace fathom::engine
