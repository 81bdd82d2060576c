#include "api/durable_file.h"

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <system_error>
#include <unistd.h>

namespace fathom::api {

Status file_failure(const std::filesystem::path& path, std::string_view what) {
  const std::error_code error(errno, std::generic_category());
  return {Code::kUnavailable,
          "'" + path.string() + "' cannot be " + std::string(what) + ": " + error.message()};
}

Status sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path place = folder.empty() ? std::filesystem::path(".") : folder;
  const int descriptor = ::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return file_failure(place, "opened");
  Status status;
  // Some file systems have nothing to do for a folder, and say so.
  if (fsync(descriptor) != 0 && errno != EINVAL && errno != EROFS) {
    status = file_failure(place, "kept");
  }
  ::close(descriptor);
  return status;
}

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

Status write_whole_file(const std::filesystem::path& path, std::string_view text) {
  const std::filesystem::path part = path.string() + std::string(kUnfinishedEnd);
  const int descriptor = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) return file_failure(part, "written");
  Status status;
  if (!write_all(descriptor, text)) status = file_failure(part, "written");
  if (status.ok() && fsync(descriptor) != 0) status = file_failure(part, "kept");
  ::close(descriptor);
  if (status.ok() && ::rename(part.c_str(), path.c_str()) != 0) {
    status = file_failure(path, "written");
  }
  if (!status.ok()) {
    ::unlink(part.c_str());
    return status;
  }
  return sync_folder(path.parent_path());
}

}  // namespace fathom::api
