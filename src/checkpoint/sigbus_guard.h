#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace fathom::checkpoint {

// Keeps the process alive when a page of a file mapping cannot be read because the file shrank or
// its disk failed. The kernel then sends SIGBUS to the reading thread; while a guard stands over
// the address, that thread reads zeros instead and the guard remembers the place.
//
// From the first such page on, the whole rest of the range reads as zeros: what lies past the end
// of a shorter file is gone anyway, and one replaced range costs the kernel one entry where
// thousands of single pages would exhaust its table. SIGBUS anywhere else goes to the handler that
// was there before, or ends the process as usual.
//
// The handler is installed with the first guard and stays. Whoever installs another SIGBUS handler
// later must call the one found there. System calls that read a mapping themselves (write, send)
// fail with EFAULT instead of raising the signal.
//
// Threads: guards may be made and ended on any thread; any thread may read the range.
class SigbusGuard {
 public:
  // Stands over [address, address + bytes), which must be a mapping of whole pages from its first
  // byte on, until the destructor runs; that must be before the range is unmapped.
  SigbusGuard(const void* address, std::size_t bytes);
  ~SigbusGuard();
  SigbusGuard(const SigbusGuard&) = delete;
  SigbusGuard& operator=(const SigbusGuard&) = delete;

  // The lowest offset that could not be read, if any read has failed so far.
  std::optional<std::uint64_t> first_damage() const;

  struct Slot;

 private:
  Slot* slot_;
};

}  // namespace fathom::checkpoint
