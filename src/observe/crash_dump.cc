#include "observe/crash_dump.h"

#include <array>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/clock.h"

namespace fathom::observe {

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "host";
  return name.data();
}

std::string time_name() {
  const auto seconds = static_cast<std::time_t>(unix_time_s());
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t length = strftime(text.data(), text.size(), "%Y-%m-%d_%H-%M-%S", &parts);
  return {text.data(), length};
}

}  // namespace

CrashDump::CrashDump(std::string folder) : folder_(std::move(folder)) {}

bool CrashDump::enabled() const {
  const std::lock_guard lock(mutex_);
  return !folder_.empty();
}

std::string CrashDump::folder() const {
  const std::lock_guard lock(mutex_);
  return folder_;
}

void CrashDump::set_folder(std::string folder) {
  const std::lock_guard lock(mutex_);
  folder_ = std::move(folder);
  if (!folder_.empty()) return;
  kept_.clear();
  bytes_ = 0;
}

void CrashDump::keep(std::string line, std::int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (folder_.empty() || line.size() > kMostBytes) return;
  bytes_ += line.size();
  kept_.push_back({now_ns, std::move(line)});
  while (bytes_ > kMostBytes || now_ns - kept_.front().at_ns > kKeptNs) {
    bytes_ -= kept_.front().line.size();
    kept_.pop_front();
  }
}

Result<std::string> CrashDump::write(const std::vector<std::string>& unfinished) {
  const std::lock_guard lock(mutex_);
  if (folder_.empty() || !written_.empty()) return written_;
  const std::filesystem::path folder = std::filesystem::path(folder_) / host_name();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const std::filesystem::path path = folder / ("crash_dump_" + time_name() + ".jsonl");
  std::ofstream file(path);
  // Before anything is in it: users' prompts are nobody else's business.
  using std::filesystem::perms;
  std::filesystem::permissions(path, perms::owner_read | perms::owner_write, error);
  for (const Kept& kept : kept_) file << kept.line << '\n';
  for (const std::string& line : unfinished) file << line << '\n';
  file.close();
  if (!file) {
    return Status(Code::kUnavailable, "--crash-dump-folder: cannot write " + path.string());
  }
  written_ = path.string();
  return written_;
}

}  // namespace fathom::observe
