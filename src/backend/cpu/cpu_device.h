#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/device.h"

namespace fathom::cpu {

// The CPU's stream: work is done when the enqueueing call returns. It owns the threads that an
// operation is spread over and the scratch memory of operations.
class CpuStream final : public Stream {
 public:
  explicit CpuStream(int threads);
  Status synchronize() override { return {}; }
  ThreadPool& pool() { return pool_; }

  // At least `bytes` bytes, aligned to 64, for the running operation as a whole. The next call
  // may move it. Grows only.
  void* shared_scratch(std::size_t bytes);
  // The same for one worker of pool(); may be called inside a loop's body with its own worker.
  void* worker_scratch(int worker, std::size_t bytes);

 private:
  class Scratch {
   public:
    void* at_least(std::size_t bytes);

   private:
    struct Free {
      void operator()(void* data) const;
    };
    std::unique_ptr<void, Free> data_;
    std::size_t bytes_ = 0;
  };

  ThreadPool pool_;
  Scratch shared_;
  std::vector<Scratch> workers_;
};

// The host's memory and processors.
class CpuDevice final : public Device {
 public:
  // Streams get `threads` threads each, the caller's included. Requires 1 or more.
  explicit CpuDevice(int threads) : threads_(threads) {}
  std::string_view name() const override { return "cpu"; }
  bool uses_host_memory() const override { return true; }
  std::unique_ptr<Stream> create_stream() override;
  std::unique_ptr<Event> create_event() override;
  Result<Buffer> allocate(std::size_t bytes) override;
  Result<Buffer> allocate_host(std::size_t bytes) override;
  void copy_to_device(Stream& stream, void* to, const void* from, std::size_t bytes) override;
  void copy_to_host(Stream& stream, void* to, const void* from, std::size_t bytes) override;

  bool captures_graphs() const override { return false; }
  Result<std::unique_ptr<Graph>> capture(Stream& stream,
                                         const std::function<Status()>& enqueue) override;

  // kUnavailable in one sentence when this processor lacks the instructions this build needs.
  static Status supported();

 private:
  Result<Buffer> map(std::size_t bytes, Buffer::Kind kind);
  void deallocate(const Buffer& buffer) override;
  int threads_;
};

}  // namespace fathom::cpu
