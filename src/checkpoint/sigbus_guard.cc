#include "checkpoint/sigbus_guard.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

namespace fathom::checkpoint {

// What the signal handler may look at: lock-free atomics that are never freed.
//
// A slot may change hands while a handler in another thread walks past it. `generation` is odd
// during a change, so the handler can tell that the range it read was one range. The slot of the
// faulting address itself does not change: its mapping is in use.
struct SigbusGuard::Slot {
  std::atomic<bool> taken{false};
  std::atomic<std::uint32_t> generation{0};
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<std::uint64_t> damage{0};
};

namespace {

using Slot = SigbusGuard::Slot;

constexpr std::uint64_t kNoDamage = std::numeric_limits<std::uint64_t>::max();

struct Block {
  std::array<Slot, 64> slots;
  Block* next = nullptr;
};

static_assert(std::atomic<bool>::is_always_lock_free);
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<Block*>::is_always_lock_free);

// A signal handler has no argument of ours: static storage is all that it can reach.
// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<Block*> blocks{nullptr};
struct sigaction previous_action;  // written once, before the handler is installed
std::uintptr_t page_bytes = 4096;  // likewise
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

// Replaces what `slot` covers from the page of `address` on by zeros. Async-signal-safe.
bool replace_by_zeros(Slot& slot,
                      std::uintptr_t begin,
                      std::uintptr_t end,
                      std::uintptr_t address) {
  const std::uintptr_t page = address & ~(page_bytes - 1);
  const std::uintptr_t bytes = end - page;
  // The raw system call: a sanitizer's mmap must not run inside a signal handler.
  const long mapped =
      ::syscall(SYS_mmap, page, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (mapped == -1) return false;
  const std::uint64_t offset = page - begin;
  std::uint64_t known = slot.damage.load();
  while (offset < known && !slot.damage.compare_exchange_weak(known, offset)) {
  }
  return true;
}

bool repair(std::uintptr_t address) {
  for (Block* block = blocks.load(); block != nullptr; block = block->next) {
    for (Slot& slot : block->slots) {
      const std::uint32_t before = slot.generation.load();
      const std::uintptr_t begin = slot.begin.load();
      const std::uintptr_t end = slot.end.load();
      if (before % 2 != 0 || slot.generation.load() != before) continue;
      if (begin <= address && address < end) return replace_by_zeros(slot, begin, end, address);
    }
  }
  return false;
}

void pass_on(int signal, siginfo_t* info, void* context) {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
    return;
  }
  const bool sent_by_a_process = info->si_code <= 0;
  if (previous_action.sa_handler == SIG_IGN && sent_by_a_process) return;
  if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
    return;
  }
  // The default ends the process: at once when this handler returns for a signal that was sent,
  // and at the faulting instruction, which then runs again, for a real fault.
  std::signal(SIGBUS, SIG_DFL);
  if (sent_by_a_process) std::raise(SIGBUS);
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool is_fault = info->si_code > 0;
  if (!is_fault || !repair(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
    pass_on(signal, info, context);
  }
  errno = saved_errno;
}

bool install_handler() {
  page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  FATHOM_CHECK(::sigaction(SIGBUS, nullptr, &previous_action) == 0);
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  FATHOM_CHECK(::sigaction(SIGBUS, &action, nullptr) == 0);
  return true;
}

Slot* take_slot() {
  for (Block* block = blocks.load(); block != nullptr; block = block->next) {
    for (Slot& slot : block->slots) {
      if (!slot.taken.exchange(true)) return &slot;
    }
  }
  auto* block = new Block;
  Slot* slot = block->slots.data();
  slot->taken = true;
  block->next = blocks.load();
  while (!blocks.compare_exchange_weak(block->next, block)) {
  }
  return slot;
}

void set_range(Slot& slot, std::uintptr_t begin, std::uintptr_t end) {
  ++slot.generation;
  slot.begin = begin;
  slot.end = end;
  slot.damage = kNoDamage;
  ++slot.generation;
}

}  // namespace

SigbusGuard::SigbusGuard(const void* address, std::size_t bytes) : slot_(take_slot()) {
  static const bool installed = install_handler();
  FATHOM_CHECK(installed);
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  FATHOM_CHECK(begin % page_bytes == 0);
  // A mapping ends with a whole page.
  set_range(*slot_, begin, (begin + bytes + page_bytes - 1) & ~(page_bytes - 1));
}

SigbusGuard::~SigbusGuard() {
  set_range(*slot_, 0, 0);
  slot_->taken = false;
}

std::optional<std::uint64_t> SigbusGuard::first_damage() const {
  const std::uint64_t offset = slot_->damage.load();
  if (offset == kNoDamage) return std::nullopt;
  return offset;
}

}  // namespace fathom::checkpoint
