#include "app/bundled_model.h"

#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

namespace fathom::app {

namespace {

constexpr const char* kName = "fathom-tiny";

std::vector<std::filesystem::path> places() {
  // Read once at start, before any thread exists.
  if (const char* home = std::getenv("FATHOM_HOME")) {  // NOLINT(concurrency-mt-unsafe)
    return {std::filesystem::path(home) / "models" / kName};
  }
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const std::filesystem::path folder = program.parent_path();
  std::vector<std::filesystem::path> candidates = {folder.parent_path() / "share" / "fathom" /
                                                   "models" / kName};
  for (std::filesystem::path at = folder; at.has_relative_path(); at = at.parent_path()) {
    candidates.push_back(at / "models" / kName);
  }
  return candidates;
}

}  // namespace

Result<std::filesystem::path> bundled_model_folder() {
  std::string tried;
  for (const std::filesystem::path& place : places()) {
    std::error_code error;
    if (std::filesystem::exists(place / "config.json", error)) return place;
    tried += (tried.empty() ? "" : ", ") + place.string();
  }
  return Status(Code::kUnavailable, "the bundled model " + std::string(kName) +
                                        " is in none of: " + tried +
                                        "; name a model folder, or set FATHOM_HOME to the folder "
                                        "that holds models/");
}

Result<std::filesystem::path> model_folder(const std::string& given) {
  if (given.empty()) return bundled_model_folder();
  return std::filesystem::path(given);
}

}  // namespace fathom::app
