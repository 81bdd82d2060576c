#include "backend/cpu/cpu_device.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>

namespace fathom::cpu {

CpuStream::CpuStream(int threads) : pool_(threads), workers_(static_cast<std::size_t>(threads)) {}

void* CpuStream::shared_scratch(std::size_t bytes) { return shared_.at_least(bytes); }

void* CpuStream::worker_scratch(int worker, std::size_t bytes) {
  return workers_[static_cast<std::size_t>(worker)].at_least(bytes);
}

void CpuStream::Scratch::Free::operator()(void* data) const { std::free(data); }

void* CpuStream::Scratch::at_least(std::size_t bytes) {
  if (bytes > bytes_) {
    const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
    data_.reset();
    data_.reset(std::aligned_alloc(64, rounded));
    FATHOM_CHECK_MSG(data_ != nullptr,
                     "no memory for " + std::to_string(rounded) + " bytes of scratch");
    bytes_ = rounded;
  }
  return data_.get();
}

std::unique_ptr<Stream> CpuDevice::create_stream() { return std::make_unique<CpuStream>(threads_); }

namespace {

// Work is done when it is enqueued: there is nothing to wait for.
class CpuEvent final : public Event {
 public:
  void record(Stream& /*stream*/) override {}
  Status wait() override { return {}; }
};

}  // namespace

std::unique_ptr<Event> CpuDevice::create_event() { return std::make_unique<CpuEvent>(); }

Result<std::unique_ptr<Graph>> CpuDevice::capture(Stream& /*stream*/,
                                                  const std::function<Status()>& /*enqueue*/) {
  return invalid_argument("a CPU has no graphs");
}

Result<Buffer> CpuDevice::allocate(std::size_t bytes) { return map(bytes, Buffer::Kind::kDevice); }
Result<Buffer> CpuDevice::allocate_host(std::size_t bytes) {
  return map(bytes, Buffer::Kind::kHost);
}

Result<Buffer> CpuDevice::map(std::size_t bytes, Buffer::Kind kind) {
  if (bytes == 0) return Buffer();
  // Anonymous pages are zero and take memory only when they are touched.
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return Status(Code::kResourceExhausted,
                  "no memory on the CPU for a buffer of " + std::to_string(bytes) + " bytes");
  }
  return Buffer(this, data, bytes, kind);
}

void CpuDevice::deallocate(const Buffer& buffer) { munmap(buffer.data(), buffer.bytes()); }

void CpuDevice::copy_to_device(Stream& /*stream*/, void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void CpuDevice::copy_to_host(Stream& /*stream*/, void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

Status CpuDevice::supported() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("bmi2")) {
    return {Code::kUnavailable,
            "this processor lacks AVX2 or FMA; Fathom's CPU backend needs x86-64-v3 (2013 or "
            "newer)"};
  }
#endif
  return {};
}

}  // namespace fathom::cpu
