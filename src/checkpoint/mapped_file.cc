#include "checkpoint/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"

namespace fathom::checkpoint {
namespace {

Status refusal(const char* what) {
  return {Code::kUnavailable, std::string(what) + ": " + std::generic_category().message(errno)};
}

}  // namespace

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  const Result<int> descriptor = open_ordinary_file(path);
  if (!descriptor.ok()) return descriptor.status();
  struct stat facts {};
  if (::fstat(*descriptor, &facts) != 0) {
    Status failed = refusal("the file's size cannot be read");
    ::close(*descriptor);
    return failed;
  }
  if (facts.st_size == 0) {
    ::close(*descriptor);
    return invalid_argument("the file is empty");
  }
  const auto size = static_cast<std::size_t>(facts.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, *descriptor, 0);
  if (data == MAP_FAILED) {
    Status failed = refusal("the file cannot be mapped");
    ::close(*descriptor);
    return failed;
  }
  return std::unique_ptr<MappedFile>(
      new MappedFile(*descriptor, static_cast<const std::byte*>(data), size));
}

MappedFile::MappedFile(int descriptor, const std::byte* data, std::size_t size)
    : descriptor_(descriptor), data_(data), size_(size) {
  guard_.emplace(data, size);
}

MappedFile::~MappedFile() {
  guard_.reset();  // before the addresses can belong to someone else
  ::munmap(const_cast<std::byte*>(data_), size_);
  ::close(descriptor_);
}

std::optional<std::int64_t> MappedFile::first_damage() const {
  std::optional<std::int64_t> lost;
  if (const auto failed = guard_->first_damage()) lost = static_cast<std::int64_t>(*failed);
  struct stat facts {};
  if (::fstat(descriptor_, &facts) == 0 && static_cast<std::size_t>(facts.st_size) < size_) {
    lost = std::min<std::int64_t>(lost.value_or(facts.st_size), facts.st_size);
  }
  return lost;
}

void MappedFile::prefetch(std::int64_t begin, std::int64_t end) const {
  FATHOM_CHECK(0 <= begin && begin <= end && end <= static_cast<std::int64_t>(size_));
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  const std::int64_t first = begin / page * page;
  auto* from = const_cast<std::byte*>(data_) + first;
  ::madvise(from, static_cast<std::size_t>(end - first), MADV_WILLNEED);
}

}  // namespace fathom::checkpoint
