#include "api/batch_files.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/check.h"

namespace fathom::api {

namespace {

Status failure(const std::string& path, std::string_view what) {
  const std::error_code error(errno, std::generic_category());
  return {Code::kUnavailable,
          "'" + path + "' cannot be " + std::string(what) + ": " + error.message()};
}

// Whether the text is the beginning of a line of results, or a longer one begins with it.
bool is_begun_result(std::string_view text) {
  constexpr std::string_view kBegin = R"({"id":")";
  return text.starts_with(kBegin) || kBegin.starts_with(text);
}

}  // namespace

Result<LineFile> LineFile::open(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return failure(path, "read");
  struct stat facts {};
  if (fstat(fileno(file), &facts) == 0 && S_ISDIR(facts.st_mode)) {
    static_cast<void>(std::fclose(file));
    return invalid_argument("'" + path + "' is a folder, expected a file");
  }
  return LineFile(path, file);
}

Result<std::optional<std::string_view>> LineFile::next() {
  line_.clear();
  whole_ = false;
  for (int byte = std::getc(file_.get()); byte != EOF; byte = std::getc(file_.get())) {
    if (byte == '\n') {
      whole_ = true;
      break;
    }
    line_ += static_cast<char>(byte);
    if (line_.size() > kMaxBatchLineBytes) {
      return invalid_argument("'" + path_ + "', line " + std::to_string(number_ + 1) +
                              " is longer than " + std::to_string(kMaxBatchLineBytes) + " bytes");
    }
  }
  if (std::ferror(file_.get()) != 0) return failure(path_, "read");
  if (!whole_ && line_.empty()) return std::optional<std::string_view>();
  ++number_;
  offset_ += static_cast<std::int64_t>(line_.size()) + (whole_ ? 1 : 0);
  return std::optional<std::string_view>(line_);
}

Result<ResultFile> ResultFile::open(const std::string& path, bool ordered) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return failure(path, "written");
  ResultFile file(path, descriptor, ordered);
  struct stat facts {};
  if (fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return invalid_argument("'" + path + "' is no ordinary file");
  }
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    return Status(Code::kUnavailable, "'" + path + "' is being written by another run");
  }
  FATHOM_RETURN_IF_ERROR(file.read_answered());
  return file;
}

ResultFile::ResultFile(ResultFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      ordered_(other.ordered_),
      answered_(std::move(other.answered_)),
      failed_(std::move(other.failed_)),
      next_(other.next_),
      waiting_(std::move(other.waiting_)) {}

ResultFile::~ResultFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status ResultFile::read_answered() {
  Result<LineFile> lines = LineFile::open(path_);
  FATHOM_RETURN_IF_ERROR(lines.status());
  while (true) {
    const std::int64_t before = lines->offset();
    const Result<std::optional<std::string_view>> line = lines->next();
    FATHOM_RETURN_IF_ERROR(line.status());
    if (!line->has_value()) return {};
    if (!lines->whole() && is_begun_result(**line)) {  // a write that was interrupted
      if (ftruncate(descriptor_, before) != 0) return failure(path_, "cut");
      return {};
    }
    const Result<BatchResult> result = parse_batch_result(**line);
    if (!result.ok()) {
      return result.status()
          .in("line " + std::to_string(lines->number()))
          .in("'" + path_ + "' holds something else than results of a batch");
    }
    if (result->custom_id.empty()) {
      answered_.numbers.insert(result->line);
    } else {
      answered_.ids.insert(result->custom_id);
    }
    ++(result->succeeded ? answered_.succeeded : answered_.failed);
  }
}

Status ResultFile::write(std::string line) {
  FATHOM_RETURN_IF_ERROR(failed_);
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed_ = failure(path_, "written");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Status ResultFile::add(std::int64_t index, std::string line) {
  if (!ordered_) return write(std::move(line));
  FATHOM_CHECK(index >= next_ && !waiting_.contains(index));
  waiting_.emplace(index, std::move(line));
  while (!waiting_.empty() && waiting_.begin()->first == next_) {
    FATHOM_RETURN_IF_ERROR(write(std::move(waiting_.begin()->second)));
    waiting_.erase(waiting_.begin());
    ++next_;
  }
  return {};
}

Status ResultFile::close() {
  if (fsync(descriptor_) != 0) return failure(path_, "kept");
  return {};
}

}  // namespace fathom::api
