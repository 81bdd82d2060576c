#include "api/file_store.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

#include "api/core.h"
#include "api/durable_file.h"
#include "api/json_writer.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

namespace fathom::api {

namespace {

constexpr std::string_view kFilePrefix = "file-";
constexpr std::string_view kBatchPrefix = "batch_";  // of records that batches keep here
constexpr std::string_view kRecordEnd = ".json";
constexpr std::int64_t kMaxRecordBytes = 1 << 20;
constexpr std::size_t kMaxFileNameBytes = 255;

bool is_name(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix) || name.size() != prefix.size() + 24) return false;
  return name.find_first_not_of("0123456789abcdef", prefix.size()) == std::string_view::npos;
}

// Whether write_whole_file() did not come to its end on a content or record.
bool is_unfinished(std::string_view name) {
  if (!name.ends_with(kUnfinishedEnd)) return false;
  name.remove_suffix(kUnfinishedEnd.size());
  if (name.ends_with(kRecordEnd)) name.remove_suffix(kRecordEnd.size());
  return is_name(name, kFilePrefix) || is_name(name, kBatchPrefix);
}

// The names of a folder's entries.
Result<std::vector<std::string>> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  // Not a range: going on to the next entry would throw.
  std::filesystem::directory_iterator entry(folder, error);
  while (!error && entry != std::filesystem::directory_iterator()) {
    names.push_back(entry->path().filename());
    entry.increment(error);
  }
  if (error) {
    return Status(Code::kUnavailable,
                  "'" + folder.string() + "' cannot be read: " + error.message());
  }
  return names;
}

// The names of the records in a folder that begin with `prefix`, without their end.
Result<std::vector<std::string>> names_of_records(const std::filesystem::path& folder,
                                                  std::string_view prefix) {
  Result<std::vector<std::string>> names = names_in(folder);
  FATHOM_RETURN_IF_ERROR(names.status());
  std::erase_if(*names, [](const std::string& name) { return !name.ends_with(kRecordEnd); });
  for (std::string& name : *names) name.resize(name.size() - kRecordEnd.size());
  std::erase_if(*names, [prefix](const std::string& name) { return !is_name(name, prefix); });
  return names;
}

// Makes a folder and those above it, to be there after a crash, too.
Status make_folders(const std::filesystem::path& folder) {
  std::error_code error;
  if (folder.empty() || std::filesystem::is_directory(folder, error)) return {};
  FATHOM_RETURN_IF_ERROR(make_folders(folder.parent_path()));
  std::filesystem::create_directory(folder, error);
  if (error) return {Code::kUnavailable, error.message()};
  return sync_folder(folder.parent_path());
}

Result<Json> read_record(const std::filesystem::path& folder, const std::string& name) {
  const Result<std::string> text =
      read_small_file(folder / (name + std::string(kRecordEnd)), kMaxRecordBytes);
  FATHOM_RETURN_IF_ERROR(text.status());
  return parse_json(*text);
}

void append_facts(JsonWriter& writer, const StoredFile& file) {
  writer.string("id", file.id)
      .string("filename", file.filename)
      .string("purpose", file.purpose)
      .integer("bytes", file.bytes)
      .integer("created_at", file.created_at);
}

std::optional<StoredFile> read_facts(const Json& json, const std::string& id) {
  const Json* const filename = json.find_set("filename");
  const Json* const purpose = json.find_set("purpose");
  const Json* const created = json.find_set("created_at");
  if (filename == nullptr || !filename->is_string() || purpose == nullptr ||
      !purpose->is_string() || created == nullptr) {
    return std::nullopt;
  }
  return StoredFile{id, *filename->as_string(), *purpose->as_string(), 0,
                    created->as_int64().value_or(0)};
}

}  // namespace

std::string random_name(std::string_view prefix) {
  return std::string(prefix) + random_id().substr(0, 24);
}

void append_file_object(std::string& out, const StoredFile& file) {
  JsonWriter writer(out);
  writer.begin_object();
  append_facts(writer, file);
  writer.string("object", "file").string("status", "processed").end_object();
}

FileStore::FileStore(std::filesystem::path folder, const FileStoreLimits& limits)
    : folder_(std::move(folder)), limits_(limits) {}

FileStore::~FileStore() {
  if (lock_ >= 0) ::close(lock_);
}

std::filesystem::path FileStore::path(const std::string& id) const {
  FATHOM_CHECK(is_name(id, kFilePrefix));
  return folder_ / id;
}

Status FileStore::open() {
  const std::lock_guard guard(mutex_);
  return open_locked(false);
}

Status FileStore::open_locked(bool make) {
  if (opened_) return {};
  std::error_code error;
  if (!std::filesystem::is_directory(folder_, error)) {
    if (!make) return {};
    if (const Status made = make_folders(folder_); !made.ok()) {
      return {Code::kUnavailable, "the folder of stored files '" + folder_.string() +
                                      "' (--file-storage-path) cannot be made: " + made.message()};
    }
  }
  const std::filesystem::path lock = folder_ / "lock";
  lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) return file_failure(lock, "opened");
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(std::exchange(lock_, -1));
    return {Code::kUnavailable, "another server uses the folder of stored files '" +
                                    folder_.string() + "'; give each its --file-storage-path"};
  }
  if (Status status = read_folder(); !status.ok()) {  // as if it had not been tried
    ::close(std::exchange(lock_, -1));
    files_.clear();
    bytes_ = 0;
    return status;
  }
  opened_ = true;
  return {};
}

Status FileStore::read_folder() {
  const Result<std::vector<std::string>> names = names_of_records(folder_, kFilePrefix);
  FATHOM_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    const Result<Json> json = read_record(folder_, name);
    std::optional<StoredFile> file = json.ok() ? read_facts(*json, name) : std::nullopt;
    std::error_code missing;
    const auto bytes = std::filesystem::file_size(folder_ / name, missing);
    if (!file || missing) {
      log_warning("stored file " + name + " cannot be read; it is left out");
      continue;
    }
    file->bytes = static_cast<std::int64_t>(bytes);
    bytes_ += file->bytes;
    files_.emplace(name, std::move(*file));
  }
  return remove_what_is_not_whole();
}

// A content is written before its record, and both under another name first.
Status FileStore::remove_what_is_not_whole() {
  const Result<std::vector<std::string>> names = names_in(folder_);
  FATHOM_RETURN_IF_ERROR(names.status());
  const std::set<std::string> all(names->begin(), names->end());
  for (const std::string& name : *names) {
    const bool content = is_name(name, kFilePrefix);
    if (content ? all.contains(name + std::string(kRecordEnd)) : !is_unfinished(name)) continue;
    if (::unlink((folder_ / name).c_str()) != 0) {
      log_warning(file_failure(folder_ / name, "deleted").message());
    } else {
      log_info(name + " among the stored files was not stored whole; it is removed");
    }
  }
  return {};
}

Status FileStore::put(const StoredFile& file) {
  std::string record;
  JsonWriter writer(record);
  writer.begin_object();
  append_facts(writer, file);
  writer.end_object();
  return write_whole_file(folder_ / (file.id + std::string(kRecordEnd)), record);
}

Result<StoredFile> FileStore::add(std::string_view filename,
                                  std::string_view purpose,
                                  std::string_view content) {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(true));
  const auto bytes = static_cast<std::int64_t>(content.size());
  if (files_.size() >= limits_.max_files || bytes_ + bytes > limits_.max_bytes) {
    return Status(Code::kResourceExhausted,
                  "the store holds " + std::to_string(files_.size()) + " files of " +
                      std::to_string(bytes_) + " bytes, expected at most " +
                      std::to_string(limits_.max_files) + " and " +
                      std::to_string(limits_.max_bytes) + "; delete some");
  }
  StoredFile file{random_name(kFilePrefix), std::string(filename.substr(0, kMaxFileNameBytes)),
                  std::string(purpose.substr(0, kMaxFileNameBytes)), bytes,
                  static_cast<std::int64_t>(unix_time_s())};
  FATHOM_RETURN_IF_ERROR(write_whole_file(path(file.id), content));
  if (Status status = put(file); !status.ok()) {
    ::unlink(path(file.id).c_str());
    return status;
  }
  bytes_ += bytes;
  files_.emplace(file.id, file);
  return file;
}

Result<StoredFile> FileStore::add_growing(std::string_view filename, std::string_view purpose) {
  return add(filename, purpose, "");
}

Status FileStore::resize(const std::string& id) {
  const std::lock_guard guard(mutex_);
  const auto found = files_.find(id);
  if (found == files_.end()) return {};
  std::error_code error;
  const auto bytes = std::filesystem::file_size(folder_ / id, error);
  if (error) return {Code::kUnavailable, id + ": " + error.message()};
  bytes_ += static_cast<std::int64_t>(bytes) - found->second.bytes;
  found->second.bytes = static_cast<std::int64_t>(bytes);
  if (bytes_ <= limits_.max_bytes) return {};
  return {Code::kResourceExhausted,
          "the stored files have more than " + std::to_string(limits_.max_bytes) + " bytes"};
}

Result<std::vector<StoredFile>> FileStore::list() {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(false));
  std::vector<StoredFile> files;
  for (const auto& [id, file] : files_) files.push_back(file);
  std::sort(files.begin(), files.end(), [](const StoredFile& a, const StoredFile& b) {
    return a.created_at != b.created_at ? a.created_at > b.created_at : a.id < b.id;
  });
  return files;
}

Result<std::optional<StoredFile>> FileStore::find(const std::string& id) {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(false));
  const auto found = files_.find(id);
  if (found == files_.end()) return std::optional<StoredFile>();
  return std::optional<StoredFile>(found->second);
}

Result<StoredContent> FileStore::content(const std::string& id) {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(false));
  if (!files_.contains(id)) return invalid_argument("there is no file " + id);
  return StoredContent::open(path(id));
}

Result<bool> FileStore::remove(const std::string& id) {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(false));
  const auto found = files_.find(id);
  if (found == files_.end()) return false;
  const std::filesystem::path record = folder_ / (id + std::string(kRecordEnd));
  if (::unlink(record.c_str()) != 0 && errno != ENOENT) return file_failure(record, "deleted");
  if (::unlink(path(id).c_str()) != 0 && errno != ENOENT) return file_failure(path(id), "deleted");
  bytes_ -= found->second.bytes;
  files_.erase(found);
  return true;
}

Status FileStore::put_record(const std::string& name, const Json& value) {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(true));
  const std::string text = to_json(value);
  if (text.size() > kMaxRecordBytes) {  // it could not be read again
    return invalid_argument("the record " + name + " has " + std::to_string(text.size()) +
                            " bytes, at most " + std::to_string(kMaxRecordBytes) + " are kept");
  }
  return write_whole_file(folder_ / (name + std::string(kRecordEnd)), text);
}

Status FileStore::remove_record(const std::string& name) {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(false));
  const std::filesystem::path record = folder_ / (name + std::string(kRecordEnd));
  if (::unlink(record.c_str()) != 0 && errno != ENOENT) return file_failure(record, "deleted");
  return {};
}

Result<std::map<std::string, Json>> FileStore::records(std::string_view prefix) {
  const std::lock_guard guard(mutex_);
  FATHOM_RETURN_IF_ERROR(open_locked(false));
  std::map<std::string, Json> records;
  if (!opened_) return records;
  Result<std::vector<std::string>> names = names_of_records(folder_, prefix);
  FATHOM_RETURN_IF_ERROR(names.status());
  for (std::string& name : *names) {
    Result<Json> json = read_record(folder_, name);
    if (json.ok()) {
      records.emplace(std::move(name), std::move(*json));
    } else {
      log_warning("record " + name + " cannot be read: " + json.status().message());
    }
  }
  return records;
}

}  // namespace fathom::api
