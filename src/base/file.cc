#include "base/file.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace fathom {
namespace {

Status refusal(int error) {
  const std::string reason = std::generic_category().message(error);
  if (error == ENOENT || error == ENOTDIR) return invalid_argument("there is no such file");
  return {Code::kUnavailable, "the file cannot be read: " + reason};
}

struct Closer {
  int descriptor;
  ~Closer() { ::close(descriptor); }
};

}  // namespace

Result<int> open_ordinary_file(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer. It changes nothing for a file.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return refusal(errno);
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) {
    const int error = errno;
    ::close(descriptor);
    return refusal(error);
  }
  if (!S_ISREG(facts.st_mode)) {
    ::close(descriptor);
    return invalid_argument(S_ISDIR(facts.st_mode) ? "this is a folder, expected a file"
                                                   : "this is not an ordinary file");
  }
  return descriptor;
}

Result<std::string> read_small_file(const std::filesystem::path& path, std::int64_t max_bytes) {
  Result<int> opened = open_ordinary_file(path);
  if (!opened.ok()) return opened.status();
  const Closer closer{*opened};
  std::string text;
  // One byte more than allowed, so that a longer file is noticed even while it grows.
  while (static_cast<std::int64_t>(text.size()) <= max_bytes) {
    constexpr std::size_t kStep = 1U << 16;
    const std::size_t filled = text.size();
    text.resize(filled + kStep);
    const ssize_t got = ::read(*opened, text.data() + filled, kStep);
    text.resize(filled + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got < 0 && errno != EINTR) return refusal(errno);
    if (got == 0) return text;
  }
  return invalid_argument("the file has more than " + std::to_string(max_bytes) + " bytes");
}

}  // namespace fathom
