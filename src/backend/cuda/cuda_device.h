#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/machine_facts.h"
#include "ops/backend.h"
#include "tensor/device.h"

// Opaque here, so that only this folder needs the toolkit's headers.
struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace fathom::cuda {

// A stream of one GPU, and the operations' scratch memory on it.
class CudaStream final : public Stream {
 public:
  explicit CudaStream(int device);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Status synchronize() override;

  CUstream_st* handle() const { return stream_; }

  // Scratch memory of the products of FastProducts; taken when first asked for. nullptr, and a
  // failed stream, when it cannot be had.
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
  void* workspace();
  // Room for `count` scales; nullptr for more than there is room for.
  float* product_scales(std::int64_t count);

  // Of the calls and launches so far.
  const Status& failure() const { return failure_; }
  // Keeps the first failure of a call or launch, told by every synchronize() from then on. `what`
  // is the operation with its shapes; made only when there is a failure.
  template <class Describe>
  void check(int code, const Describe& what) {
    if (code != 0) fail(code, what());
  }
  void fail(const std::string& what);

 private:
  void fail(int code, const std::string& what);

  int device_;
  CUstream_st* stream_ = nullptr;
  std::byte* scratch_ = nullptr;
  Status failure_;
};

class CudaEvent final : public Event {
 public:
  // Errors are told by the stream.
  explicit CudaEvent(int device);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record(Stream& stream) override;
  Status wait() override;

 private:
  CUevent_st* event_ = nullptr;
  CudaStream* stream_ = nullptr;  // of the last record
};

class CudaGraph final : public Graph {
 public:
  // Takes ownership of `graph`.
  explicit CudaGraph(CUgraphExec_st* graph) : graph_(graph) {}
  ~CudaGraph() override;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void launch(Stream& stream) override;

 private:
  CUgraphExec_st* graph_;
};

// The GPUs of this machine that this build has code for. kUnavailable says in a sentence what is
// missing: a driver, a GPU, one of the right kind.
Status find_devices(std::vector<config::GpuFacts>& found);

// One GPU with its memory.
class CudaDevice final : public Device {
 public:
  // kUnavailable as find_devices(); kInvalidArgument for an index past the machine's GPUs.
  static Result<std::unique_ptr<CudaDevice>> open(int index);

  std::string_view name() const override { return name_; }
  bool uses_host_memory() const override { return false; }
  std::unique_ptr<Stream> create_stream() override;
  std::unique_ptr<Event> create_event() override;
  Result<Buffer> allocate(std::size_t bytes) override;
  Result<Buffer> allocate_host(std::size_t bytes) override;
  void copy_to_device(Stream& stream, void* to, const void* from, std::size_t bytes) override;
  void copy_to_host(Stream& stream, void* to, const void* from, std::size_t bytes) override;
  ops::DeviceMemory memory() const;

  bool captures_graphs() const override { return true; }
  Result<std::unique_ptr<Graph>> capture(Stream& stream,
                                         const std::function<Status()>& enqueue) override;

 private:
  CudaDevice(int index, std::string name) : index_(index), name_(std::move(name)) {}
  void deallocate(const Buffer& buffer) override;

  int index_;
  std::string name_;
};

}  // namespace fathom::cuda
