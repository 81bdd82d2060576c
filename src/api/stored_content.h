#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/status.h"

namespace fathom::api {

// The content of a file as it was when it was opened, piece by piece. One that is deleted meanwhile
// can be read to its end; of one that grows, what came later is left out.
//
// Threads: one at a time.
class StoredContent {
 public:
  // The message names the file.
  static Result<StoredContent> open(const std::filesystem::path& path);
  ~StoredContent();
  StoredContent(StoredContent&& other) noexcept;
  StoredContent& operator=(StoredContent&&) = delete;

  std::int64_t left() const { return left_; }  // bytes that are still to come
  // The next bytes, at most `most`; empty at the end. kUnavailable when the file has become shorter
  // or cannot be read.
  Result<std::string> next(std::size_t most);

 private:
  StoredContent(std::string name, int descriptor, std::int64_t left)
      : name_(std::move(name)), descriptor_(descriptor), left_(left) {}

  std::string name_;
  int descriptor_;
  std::int64_t left_;
};

}  // namespace fathom::api
