#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/stored_content.h"
#include "base/json.h"
#include "base/status.h"

namespace fathom::api {

struct StoredFile {
  std::string id;  // "file-" and 24 hexadecimal digits
  std::string filename;
  std::string purpose;
  std::int64_t bytes = 0;
  std::int64_t created_at = 0;  // unix seconds
};

struct FileStoreLimits {
  std::size_t max_files = 10000;
  std::int64_t max_bytes = std::int64_t{4} << 30;  // of all contents
};

// Files that clients uploaded and that batches wrote, in a folder: ID holds a content, ID.json what
// is known of it, and records of other things lie beside them. The folder is made when the first
// file is stored; one that exists is read when the store is first used. What was stored is on the
// disk before its caller hears of it.
//
// Threads: any.
class FileStore {
 public:
  FileStore(std::filesystem::path folder, const FileStoreLimits& limits);
  ~FileStore();
  FileStore(const FileStore&) = delete;
  FileStore& operator=(const FileStore&) = delete;

  // Reads the folder, if there is one and that has not happened. kUnavailable when another server
  // uses it or the system refuses.
  Status open();

  // Each opens first. kResourceExhausted when the limits are reached.
  Result<StoredFile> add(std::string_view filename,
                         std::string_view purpose,
                         std::string_view content);
  // A file that grows by whoever writes to path(): its size is told by resize() and counts then.
  Result<StoredFile> add_growing(std::string_view filename, std::string_view purpose);
  Status resize(const std::string& id);
  Result<std::vector<StoredFile>> list();
  Result<std::optional<StoredFile>> find(const std::string& id);
  Result<StoredContent> content(const std::string& id);
  // Whether there was such a file.
  Result<bool> remove(const std::string& id);
  // Where the content lies. Requires an id that came from this store.
  std::filesystem::path path(const std::string& id) const;

  // Small records of others: one JSON value for each name, written whole or not at all. Names are
  // "PREFIX_" and hexadecimal digits.
  Status put_record(const std::string& name, const Json& value);
  Status remove_record(const std::string& name);  // one that is missing is removed already
  // All whose names begin with `prefix`; those that cannot be read are left out with a line in the
  // log.
  Result<std::map<std::string, Json>> records(std::string_view prefix);

 private:
  Status open_locked(bool make);
  Status read_folder();
  Status remove_what_is_not_whole();
  Status put(const StoredFile& file);

  const std::filesystem::path folder_;
  const FileStoreLimits limits_;

  std::mutex mutex_;  // guards all below
  bool opened_ = false;
  int lock_ = -1;
  std::map<std::string, StoredFile> files_;
  std::int64_t bytes_ = 0;
};

// `prefix` and 24 random hexadecimal digits.
std::string random_name(std::string_view prefix);

// The file as clients are told of it.
void append_file_object(std::string& out, const StoredFile& file);

}  // namespace fathom::api
