#include "api/batch_files.h"

#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "api/durable_file.h"
#include "base/check.h"

namespace fathom::api {

namespace {

// Whether the text is the beginning of a line of results, or a longer one begins with it. A machine
// that crashed may have left zeros where its end was to be.
bool is_begun_result(std::string_view text) {
  constexpr std::string_view kBegin = R"({"id":")";
  text = text.substr(0, text.find_last_not_of('\0') + 1);
  return text.starts_with(kBegin) || kBegin.starts_with(text);
}

}  // namespace

Result<LineFile> LineFile::open(const std::string& path, std::size_t max_line_bytes) {
  std::FILE* const file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return file_failure(path, "read");
  struct stat facts {};
  if (fstat(fileno(file), &facts) == 0 && S_ISDIR(facts.st_mode)) {
    static_cast<void>(std::fclose(file));
    return invalid_argument("'" + path + "' is a folder, expected a file");
  }
  return LineFile(path, file, max_line_bytes);
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
    if (line_.size() > max_line_bytes_) {
      return invalid_argument("'" + path_ + "', line " + std::to_string(number_ + 1) +
                              " is longer than " + std::to_string(max_line_bytes_) + " bytes");
    }
  }
  if (std::ferror(file_.get()) != 0) return file_failure(path_, "read");
  if (!whole_ && line_.empty()) return std::optional<std::string_view>();
  ++number_;
  offset_ += static_cast<std::int64_t>(line_.size()) + (whole_ ? 1 : 0);
  return std::optional<std::string_view>(line_);
}

Result<ResultFile> ResultFile::open(const std::string& path, const ResultFileOptions& options) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return file_failure(path, "written");
  ResultFile file(path, descriptor, options.ordered);
  struct stat facts {};
  if (fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return invalid_argument("'" + path + "' is no ordinary file");
  }
  struct stat named {};
  // One that drops results may have put another file in this one's place meanwhile.
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 || ::stat(path.c_str(), &named) != 0 ||
      named.st_ino != facts.st_ino || named.st_dev != facts.st_dev) {
    return Status(Code::kUnavailable, "'" + path + "' is being written by another run");
  }
  FATHOM_RETURN_IF_ERROR(file.read_answered());
  if (options.drop_failed && file.answered_.failed > 0) FATHOM_RETURN_IF_ERROR(file.drop_failed());
  return file;
}

Status ResultFile::copy_succeeded(int descriptor) const {
  Result<LineFile> lines = LineFile::open(path_, kMaxResultLineBytes);
  FATHOM_RETURN_IF_ERROR(lines.status());
  while (true) {
    const Result<std::optional<std::string_view>> line = lines->next();
    FATHOM_RETURN_IF_ERROR(line.status());
    if (!line->has_value()) return {};
    const Result<BatchResult> result = parse_batch_result(**line);
    FATHOM_RETURN_IF_ERROR(result.status());
    if (!result->succeeded) continue;
    if (!write_all(descriptor, std::string(**line) + '\n')) return file_failure(path_, "copied");
  }
}

Status ResultFile::drop_failed() {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path_, error);
  struct stat facts {};
  if (error) return {Code::kUnavailable, "'" + path_ + "' cannot be found: " + error.message()};
  if (fstat(descriptor_, &facts) != 0) return file_failure(path_, "read");
  const std::string part = real.string() + std::string(kUnfinishedEnd);
  const int descriptor = ::open(part.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
                                facts.st_mode & 0777U);
  if (descriptor < 0) return file_failure(part, "written");
  Status status = copy_succeeded(descriptor);
  if (status.ok() && (flock(descriptor, LOCK_EX | LOCK_NB) != 0 || fsync(descriptor) != 0 ||
                      ::rename(part.c_str(), real.c_str()) != 0)) {
    status = file_failure(part, "put in the place of the results");
  }
  if (!status.ok()) {
    ::close(descriptor);
    ::unlink(part.c_str());
    return status;
  }
  ::close(std::exchange(descriptor_, descriptor));  // its lock was needed until now
  const std::int64_t dropped = answered_.failed;
  answered_ = {};
  answered_.dropped = dropped;
  FATHOM_RETURN_IF_ERROR(sync_folder(real.parent_path()));
  return read_answered();
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
  Result<LineFile> lines = LineFile::open(path_, kMaxResultLineBytes);
  FATHOM_RETURN_IF_ERROR(lines.status());
  while (true) {
    const std::int64_t before = lines->offset();
    const Result<std::optional<std::string_view>> line = lines->next();
    FATHOM_RETURN_IF_ERROR(line.status());
    if (!line->has_value()) return {};
    if (!lines->whole() && is_begun_result(**line)) {  // a write that was interrupted
      if (ftruncate(descriptor_, before) != 0) return file_failure(path_, "cut");
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
  if (!write_all(descriptor_, line)) failed_ = file_failure(path_, "written");
  return failed_;
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
  if (fsync(descriptor_) != 0) return file_failure(path_, "kept");
  return sync_folder(std::filesystem::path(path_).parent_path());
}

}  // namespace fathom::api
