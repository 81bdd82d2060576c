#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom {

class Device;

// Work for one device in the order it was enqueued. An operation that is handed a Stream returns
// once its work is enqueued; results are there after synchronize().
//
// Threads: owned by one thread.
class Stream {
 public:
  virtual ~Stream() = default;
  // Waits until everything enqueued so far is done. A failure on the device (kUnavailable) is
  // sticky: every later call reports it too.
  virtual Status synchronize() = 0;
};

// Memory of one device, freed with the Buffer. The Device must outlive it.
class Buffer {
 public:
  Buffer() = default;
  // Takes ownership of `bytes` bytes at `data`, which came from `device`.
  Buffer(Device* device, void* data, std::size_t bytes)
      : device_(device), data_(data), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  // A dense view from byte `offset` on. Requires that it ends inside the buffer.
  TensorView view(DType dtype,
                  std::initializer_list<std::int64_t> shape,
                  std::size_t offset = 0) const;

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// One processor with its memory: the CPU, or one GPU.
//
// Threads: every member may be called from any thread.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;
  // Whether operations read and write the host's memory, mapped files included. Else everything
  // that they touch has to be in buffers of the device, and buffers are not the host's to touch.
  virtual bool uses_host_memory() const = 0;
  virtual std::unique_ptr<Stream> create_stream() = 0;
  // Zeroed memory aligned to 256 bytes; it may become resident only when it is first touched.
  // kResourceExhausted names the size wanted.
  virtual Result<Buffer> allocate(std::size_t bytes) = 0;
  // Copies between host memory and this device's memory, in stream order. The host memory must
  // stay as it is until the stream is synchronized.
  virtual void copy_to_device(Stream& stream, void* to, const void* from, std::size_t bytes) = 0;
  virtual void copy_to_host(Stream& stream, void* to, const void* from, std::size_t bytes) = 0;

 private:
  friend class Buffer;
  virtual void free(void* data, std::size_t bytes) = 0;
};

}  // namespace fathom
