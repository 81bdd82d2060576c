#pragma once

#include <cstddef>
#include <functional>
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

// A point in a stream's work, to wait for without waiting for what was enqueued after it.
//
// Threads: owned by the stream's thread.
class Event {
 public:
  virtual ~Event() = default;
  // The point is now the end of what `stream` has been given so far.
  virtual void record(Stream& stream) = 0;
  // Waits until the work up to the point is done; at once when nothing was recorded. A failure is
  // the stream's.
  virtual Status wait() = 0;
};

// Work that was enqueued once and can be run again with one call: the same operations on the same
// memory.
class Graph {
 public:
  virtual ~Graph() = default;
  // Enqueues all of it on a stream of the device it was captured on.
  virtual void launch(Stream& stream) = 0;
};

// Memory of one device, or of the host for one device's copies; freed with the Buffer. The Device
// must outlive it.
class Buffer {
 public:
  enum class Kind : std::uint8_t { kDevice, kHost };

  Buffer() = default;
  // Takes ownership of `bytes` bytes at `data`, which came from `device`.
  Buffer(Device* device, void* data, std::size_t bytes, Kind kind = Kind::kDevice)
      : device_(device), data_(data), bytes_(bytes), kind_(kind) {}
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Kind kind() const { return kind_; }
  // A dense view from byte `offset` on. Requires that it ends inside the buffer.
  TensorView view(DType dtype,
                  std::initializer_list<std::int64_t> shape,
                  std::size_t offset = 0) const;

 private:
  void release();

  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Kind kind_ = Kind::kDevice;
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
  virtual std::unique_ptr<Event> create_event() = 0;
  // Zeroed memory aligned to 256 bytes; it may become resident only when it is first touched.
  // kResourceExhausted names the size wanted.
  virtual Result<Buffer> allocate(std::size_t bytes) = 0;
  // Zeroed memory of the host that this device copies to and from at full speed and without
  // making the enqueueing thread wait.
  virtual Result<Buffer> allocate_host(std::size_t bytes) = 0;
  // Copies between host memory and this device's memory, in stream order. The host memory must
  // stay as it is until the copy is done.
  virtual void copy_to_device(Stream& stream, void* to, const void* from, std::size_t bytes) = 0;
  virtual void copy_to_host(Stream& stream, void* to, const void* from, std::size_t bytes) = 0;

  // Whether capture() works.
  virtual bool captures_graphs() const = 0;
  // Makes a graph of what `enqueue` enqueues on `stream`, none of which runs now. It must not
  // allocate, synchronize or copy. kUnavailable tells what the device said; kInvalidArgument when
  // this device has no graphs.
  virtual Result<std::unique_ptr<Graph>> capture(Stream& stream,
                                                 const std::function<Status()>& enqueue) = 0;

 private:
  friend class Buffer;
  // Of a buffer that allocate() or allocate_host() gave.
  virtual void deallocate(const Buffer& buffer) = 0;
};

}  // namespace fathom
