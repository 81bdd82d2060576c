#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "api/batch_line.h"
#include "base/status.h"

namespace fathom::api {

// Longest line of a batch file.
constexpr std::size_t kMaxBatchLineBytes = std::size_t{64} << 20;
// Of results: an answer as long as our client takes it, and what is around it.
constexpr std::size_t kMaxResultLineBytes = (std::size_t{1} << 30) + (std::size_t{1} << 20);

// The lines of a file in turn.
//
// Threads: one at a time.
class LineFile {
 public:
  // The message names the file.
  static Result<LineFile> open(const std::string& path,
                               std::size_t max_line_bytes = kMaxBatchLineBytes);

  // The next line without its end; nothing at the end of the file. `whole`: it had an end. A line
  // longer than max_line_bytes is a failure, as is one that cannot be read.
  Result<std::optional<std::string_view>> next();
  bool whole() const { return whole_; }
  std::int64_t number() const { return number_; }  // of the last line, from 1
  std::int64_t offset() const { return offset_; }  // in bytes, behind the last line

 private:
  struct Close {
    void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
  };
  LineFile(std::string path, std::FILE* file, std::size_t max_line_bytes)
      : path_(std::move(path)), file_(file), max_line_bytes_(max_line_bytes) {}

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::size_t max_line_bytes_;
  std::string line_;
  bool whole_ = true;
  std::int64_t number_ = 0;
  std::int64_t offset_ = 0;
};

// What earlier runs have answered.
struct AnsweredLines {
  std::unordered_set<std::string> ids;
  std::unordered_set<std::int64_t> numbers;  // of lines without an id
  std::int64_t succeeded = 0;
  std::int64_t failed = 0;
  std::int64_t dropped = 0;  // failed ones that are answered no more (ResultFileOptions)

  bool contains(const std::string& custom_id, std::int64_t number) const {
    return custom_id.empty() ? numbers.contains(number) : ids.contains(custom_id);
  }
};

struct ResultFileOptions {
  bool ordered = false;  // results are kept until those of all lines before them are written
  // Results that are no success leave the file at once, so that their lines are not answered. It is
  // replaced as a whole: a crash leaves it with or without them.
  bool drop_failed = false;
};

// The file of results. Each result is one write of a whole line, so that what an interrupted run
// leaves is whole but for the last line at most, which the next run cuts off.
//
// Threads: one at a time.
class ResultFile {
 public:
  // Opens or makes the file and reads what it answers. kUnavailable when another run writes to it
  // or the system refuses; kInvalidArgument when it holds something else than results.
  static Result<ResultFile> open(const std::string& path, const ResultFileOptions& options);
  ~ResultFile();
  ResultFile(ResultFile&& other) noexcept;
  ResultFile& operator=(ResultFile&&) = delete;

  const AnsweredLines& answered() const { return answered_; }

  // The result of the `index`-th line that this run sends, from 0. Each index comes once. After a
  // failure nothing more is written, so that half a line can only be the last.
  Status add(std::int64_t index, std::string line);
  // Results that wait for earlier ones.
  std::size_t waiting() const { return waiting_.size(); }
  // What was written is on the disk, and so is the file's name.
  Status close();

 private:
  ResultFile(std::string path, int descriptor, bool ordered)
      : path_(std::move(path)), descriptor_(descriptor), ordered_(ordered) {}
  Status read_answered();
  Status drop_failed();
  Status copy_succeeded(int descriptor) const;
  Status write(std::string line);

  std::string path_;
  int descriptor_;
  bool ordered_;
  AnsweredLines answered_;
  Status failed_;
  std::int64_t next_ = 0;
  std::map<std::int64_t, std::string> waiting_;
};

}  // namespace fathom::api
