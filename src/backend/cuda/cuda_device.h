#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tensor/device.h"

// Opaque here, so that only this folder needs the toolkit's headers.
struct CUstream_st;

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

  // Keeps the first failure of a call or launch, told by every synchronize() from then on. `what`
  // is the operation with its shapes; made only when there is a failure.
  template <class Describe>
  void check(int code, const Describe& what) {
    if (code != 0) fail(code, what());
  }

 private:
  void fail(int code, const std::string& what);

  CUstream_st* stream_ = nullptr;
  Status failure_;
};

// One GPU with its memory.
class CudaDevice final : public Device {
 public:
  // kUnavailable says in a sentence what is missing: a driver, a GPU, one of the right kind.
  static Result<std::unique_ptr<CudaDevice>> open(int index);

  std::string_view name() const override { return name_; }
  bool uses_host_memory() const override { return false; }
  std::unique_ptr<Stream> create_stream() override;
  Result<Buffer> allocate(std::size_t bytes) override;
  void copy_to_device(Stream& stream, void* to, const void* from, std::size_t bytes) override;
  void copy_to_host(Stream& stream, void* to, const void* from, std::size_t bytes) override;

 private:
  CudaDevice(int index, std::string name) : index_(index), name_(std::move(name)) {}
  void free(void* data, std::size_t bytes) override;

  int index_;
  std::string name_;
};

}  // namespace fathom::cuda
