#include "api/stored_content.h"

#include <algorithm>
#include <cerrno>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "api/durable_file.h"
#include "base/file.h"

namespace fathom::api {

Result<StoredContent> StoredContent::open(const std::filesystem::path& path) {
  const Result<int> descriptor = open_ordinary_file(path);
  if (!descriptor.ok()) return descriptor.status().in("'" + path.string() + "'");
  StoredContent content(path, *descriptor, 0);
  struct stat facts {};
  if (fstat(*descriptor, &facts) != 0) return file_failure(path, "read");
  content.left_ = facts.st_size;
  return content;
}

StoredContent::StoredContent(StoredContent&& other) noexcept
    : name_(std::move(other.name_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      left_(std::exchange(other.left_, 0)) {}

StoredContent::~StoredContent() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::string> StoredContent::next(std::size_t most) {
  std::string piece(std::min(most, static_cast<std::size_t>(left_)), '\0');
  std::size_t read = 0;
  while (read < piece.size()) {
    const ssize_t count = ::read(descriptor_, piece.data() + read, piece.size() - read);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_failure(name_, "read");
    if (count == 0) {
      return Status(Code::kUnavailable, "'" + name_ + "' has become shorter while it was read");
    }
    read += static_cast<std::size_t>(count);
  }
  left_ -= static_cast<std::int64_t>(read);
  return piece;
}

}  // namespace fathom::api
