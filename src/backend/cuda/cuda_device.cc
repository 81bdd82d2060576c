#include "backend/cuda/cuda_device.h"

#include <cstring>
#include <utility>

#include <cuda_runtime_api.h>

#include "base/check.h"

namespace fathom::cuda {

namespace {

// Scales of the largest product's input: of 16,384 rows of 32,768 numbers.
constexpr std::size_t kScaleBytes = std::size_t{16} << 20;
constexpr int kComputeMajor = 9;  // Hopper: the only machine code there is

std::string words(cudaError_t code) {
  return std::string(cudaGetErrorName(code)) + ": " + cudaGetErrorString(code);
}

}  // namespace

CudaStream::CudaStream(int device) : device_(device) {
  check(cudaSetDevice(device), [] { return std::string("choosing the GPU"); });
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
        [] { return std::string("creating a stream"); });
}

CudaStream::~CudaStream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
  if (scratch_ != nullptr) cudaFree(scratch_);
}

void* CudaStream::workspace() {
  if (scratch_ == nullptr) {
    void* taken = nullptr;
    cudaSetDevice(device_);
    if (cudaMalloc(&taken, kWorkspaceBytes + kScaleBytes) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      fail("no memory for the workspace of products, " +
           std::to_string((kWorkspaceBytes + kScaleBytes) >> 20) +
           " MiB; lower --mem-fraction-static");
      return nullptr;
    }
    scratch_ = static_cast<std::byte*>(taken);
  }
  return scratch_;
}

float* CudaStream::product_scales(std::int64_t count) {
  const bool fits = static_cast<std::size_t>(count) * sizeof(float) <= kScaleBytes;
  if (!fits || workspace() == nullptr) return nullptr;
  return reinterpret_cast<float*>(scratch_ + kWorkspaceBytes);
}

void CudaStream::fail(const std::string& what) {
  if (failure_.ok()) failure_ = Status(Code::kUnavailable, what);
}

void CudaStream::fail(int code, const std::string& what) {
  if (!failure_.ok()) return;
  failure_ = Status(Code::kUnavailable, what + ": " + words(static_cast<cudaError_t>(code)));
}

Status CudaStream::synchronize() {
  check(cudaStreamSynchronize(stream_), [] { return std::string("the work of a stream"); });
  return failure_;
}

CudaEvent::CudaEvent(int device) {
  cudaSetDevice(device);
  if (cudaEventCreateWithFlags(&event_, cudaEventDisableTiming) != cudaSuccess) event_ = nullptr;
}

CudaEvent::~CudaEvent() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

void CudaEvent::record(Stream& stream) {
  stream_ = &static_cast<CudaStream&>(stream);
  stream_->check(
      event_ == nullptr ? cudaErrorInitializationError : cudaEventRecord(event_, stream_->handle()),
      [] { return std::string("marking a point of a stream"); });
}

Status CudaEvent::wait() {
  if (stream_ == nullptr) return {};
  FATHOM_RETURN_IF_ERROR(stream_->failure());
  stream_->check(cudaEventSynchronize(event_), [] { return std::string("the work of a stream"); });
  return stream_->failure();
}

CudaGraph::~CudaGraph() { cudaGraphExecDestroy(graph_); }

void CudaGraph::launch(Stream& stream) {
  auto& own = static_cast<CudaStream&>(stream);
  own.check(cudaGraphLaunch(graph_, own.handle()), [] { return std::string("launching a graph"); });
}

Status find_devices(std::vector<config::GpuFacts>& found) {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return {Code::kUnavailable, "this machine has no NVIDIA driver"};
  }
  int count = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&count); code != cudaSuccess || count == 0) {
    return {Code::kUnavailable,
            "there is no GPU that CUDA can use (" +
                (code == cudaSuccess || code == cudaErrorNoDevice ? "none found" : words(code)) +
                ")"};
  }
  std::string others;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (const cudaError_t code = cudaGetDeviceProperties(&properties, index); code != cudaSuccess) {
      return {Code::kUnavailable, "GPU " + std::to_string(index) + ": " + words(code)};
    }
    if (properties.major != kComputeMajor) {
      others = std::string(properties.name) + " has compute capability " +
               std::to_string(properties.major) + "." + std::to_string(properties.minor) +
               ", and this build has code for 9.0 (Hopper) alone";
      break;
    }
    found.push_back({properties.name, static_cast<std::int64_t>(properties.totalGlobalMem >> 20)});
  }
  // Indexes are CUDA's own: nothing after a GPU that cannot be used is counted.
  if (found.empty()) return {Code::kUnavailable, others};
  return {};
}

Result<std::unique_ptr<CudaDevice>> CudaDevice::open(int index) {
  std::vector<config::GpuFacts> found;
  FATHOM_RETURN_IF_ERROR(find_devices(found));
  if (index < 0 || index >= static_cast<int>(found.size())) {
    return invalid_argument("GPU " + std::to_string(index) + " was asked for, this machine has " +
                            std::to_string(found.size()));
  }
  // Handles of libraries belong to the device that is current when they are made.
  if (const cudaError_t code = cudaSetDevice(index); code != cudaSuccess) {
    return Status(Code::kUnavailable, "GPU " + std::to_string(index) + ": " + words(code));
  }
  return std::unique_ptr<CudaDevice>(
      new CudaDevice(index, found[static_cast<std::size_t>(index)].name));
}

ops::DeviceMemory CudaDevice::memory() const {
  std::size_t free_bytes = 0;
  std::size_t total = 0;
  cudaSetDevice(index_);
  if (cudaMemGetInfo(&free_bytes, &total) != cudaSuccess) return {};
  return {static_cast<std::int64_t>(total), static_cast<std::int64_t>(free_bytes)};
}

std::unique_ptr<Stream> CudaDevice::create_stream() { return std::make_unique<CudaStream>(index_); }

Result<Buffer> CudaDevice::allocate(std::size_t bytes) {
  if (bytes == 0) return Buffer();
  void* data = nullptr;
  cudaSetDevice(index_);
  if (const cudaError_t code = cudaMalloc(&data, bytes); code != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // not sticky: the next launch is not to blame
    if (code != cudaErrorMemoryAllocation) {
      return Status(Code::kUnavailable, "a buffer of " + name_ + ": " + words(code));
    }
    std::size_t free_bytes = 0;
    std::size_t total = 0;
    cudaMemGetInfo(&free_bytes, &total);
    return Status(Code::kResourceExhausted, "no memory on " + name_ + " for a buffer of " +
                                                std::to_string(bytes) + " bytes; " +
                                                std::to_string(free_bytes) + " of " +
                                                std::to_string(total) + " are free");
  }
  Buffer buffer(this, data, bytes);
  // The memory set runs on the default stream; nobody has the buffer before it is done. Other
  // streams do not wait for it, nor it for them: an upload under way goes on.
  if (const cudaError_t code = cudaMemset(data, 0, bytes); code != cudaSuccess) {
    return Status(Code::kUnavailable, "zeroing a buffer: " + words(code));
  }
  if (const cudaError_t code = cudaStreamSynchronize(cudaStreamLegacy); code != cudaSuccess) {
    return Status(Code::kUnavailable, "zeroing a buffer: " + words(code));
  }
  return buffer;
}

Result<Buffer> CudaDevice::allocate_host(std::size_t bytes) {
  if (bytes == 0) return Buffer();
  void* data = nullptr;
  cudaSetDevice(index_);
  if (const cudaError_t code = cudaMallocHost(&data, bytes); code != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return Status(Code::kResourceExhausted, "no pinned host memory for " + name_ +
                                                " for a buffer of " + std::to_string(bytes) +
                                                " bytes: " + words(code));
  }
  std::memset(data, 0, bytes);
  return Buffer(this, data, bytes, Buffer::Kind::kHost);
}

void CudaDevice::deallocate(const Buffer& buffer) {
  cudaSetDevice(index_);
  if (buffer.kind() == Buffer::Kind::kHost) {
    cudaFreeHost(buffer.data());
  } else {
    cudaFree(buffer.data());
  }
}

std::unique_ptr<Event> CudaDevice::create_event() { return std::make_unique<CudaEvent>(index_); }

Result<std::unique_ptr<Graph>> CudaDevice::capture(Stream& stream,
                                                   const std::function<Status()>& enqueue) {
  auto& own = static_cast<CudaStream&>(stream);
  const auto failed = [](cudaError_t code) {
    return Status(Code::kUnavailable, "capturing a graph: " + words(code));
  };
  FATHOM_RETURN_IF_ERROR(own.failure());
  if (const cudaError_t code =
          cudaStreamBeginCapture(own.handle(), cudaStreamCaptureModeThreadLocal);
      code != cudaSuccess) {
    return failed(code);
  }
  Status enqueued = enqueue();
  cudaGraph_t captured = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(own.handle(), &captured);
  // What a launch inside said is closer to the cause than the end of the capture.
  if (enqueued.ok()) enqueued = own.failure();
  if (!enqueued.ok() || ended != cudaSuccess) {
    if (captured != nullptr) cudaGraphDestroy(captured);
    return enqueued.ok() ? failed(ended) : enqueued.in("capturing a graph");
  }
  cudaGraphExec_t executable = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&executable, captured, 0);
  cudaGraphDestroy(captured);
  if (made != cudaSuccess) return failed(made);
  auto graph = std::make_unique<CudaGraph>(executable);
  // Its memory is taken now, not by the first launch.
  if (const cudaError_t code = cudaGraphUpload(executable, own.handle()); code != cudaSuccess) {
    return failed(code);
  }
  return std::unique_ptr<Graph>(std::move(graph));
}

void CudaDevice::copy_to_device(Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  auto& own = static_cast<CudaStream&>(stream);
  own.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, own.handle()),
            [&] { return "copying " + std::to_string(bytes) + " bytes to " + name_; });
}

void CudaDevice::copy_to_host(Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  auto& own = static_cast<CudaStream&>(stream);
  own.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, own.handle()),
            [&] { return "copying " + std::to_string(bytes) + " bytes from " + name_; });
}

}  // namespace fathom::cuda
