#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

namespace fathom::cpu {

// A copy of some bytes that ends where the next page of memory may not be touched: a test dies at
// the first read or write past its end.
class GuardedCopy {
 public:
  explicit GuardedCopy(std::span<const std::byte> bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t usable = (bytes.size() + page - 1) / page * page;
    size_ = usable + page;
    mapping_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FATHOM_CHECK(mapping_ != MAP_FAILED);
    auto* end = static_cast<std::byte*>(mapping_) + usable;
    FATHOM_CHECK(mprotect(end, page, PROT_NONE) == 0);
    data_ = end - bytes.size();
    if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
  }
  GuardedCopy(const GuardedCopy&) = delete;
  GuardedCopy& operator=(const GuardedCopy&) = delete;
  ~GuardedCopy() { munmap(mapping_, size_); }

  std::byte* data() const { return data_; }

 private:
  void* mapping_ = nullptr;
  std::size_t size_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace fathom::cpu
