#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

#include "base/status.h"
#include "checkpoint/sigbus_guard.h"

namespace fathom::checkpoint {

// A whole file as read-only memory. Nothing is read before it is touched. A file that shrinks
// afterwards reads as zeros past its new end instead of ending the process; first_damage() tells.
//
// Threads: const members may be called from any thread.
class MappedFile {
 public:
  // kInvalidArgument for what is no file, and for an empty one; kUnavailable when the system
  // refuses. Messages do not name the file.
  static Result<std::unique_ptr<MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Starts reading bytes [begin, end) of the file and returns at once. A hint.
  void prefetch(std::int64_t begin, std::int64_t end) const;

  // The lowest offset that is lost, if any: the file ends there now, or a read there has failed.
  // Costs one system call.
  std::optional<std::int64_t> first_damage() const;

 private:
  MappedFile(int descriptor, const std::byte* data, std::size_t size);

  int descriptor_;  // kept for its size: the last page of a shorter file reads without a signal
  const std::byte* data_;
  std::size_t size_;
  std::optional<SigbusGuard> guard_;
};

}  // namespace fathom::checkpoint
