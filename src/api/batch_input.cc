#include "api/batch_input.h"

#include <unordered_set>

#include "api/batch_files.h"
#include "api/batch_line.h"
#include "api/batch_record.h"
#include "base/log_bounds.h"

namespace fathom::api {

namespace {
constexpr std::size_t kMaxErrors = 100;  // told of one input file
}  // namespace

Result<BatchInput> check_batch_input(const std::filesystem::path& path,
                                     const std::string& endpoint,
                                     std::size_t max_lines) {
  Result<LineFile> input = LineFile::open(path);
  FATHOM_RETURN_IF_ERROR(input.status());
  BatchInput found;
  std::unordered_set<std::string> ids;
  const auto wrong = [&](std::string_view code, const std::string& message) {
    if (found.errors.size() >= kMaxErrors) return;
    found.errors.push_back(batch_error(code, message, input->number()));
  };
  while (true) {
    const auto text = input->next();
    FATHOM_RETURN_IF_ERROR(text.status());
    if (!text->has_value()) break;
    if ((*text)->find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ++found.lines;
    std::string id;
    const Result<BatchLine> line = parse_batch_line(**text, id);
    if (!line.ok()) {
      wrong("invalid_line", line.status().message());
    } else if (line->url != endpoint) {
      wrong("mismatched_endpoint", "url: was " + quoted_for_log(line->url) +
                                       ", expected the batch's endpoint '" + endpoint + "'");
    } else if (!ids.insert(id).second) {
      wrong("duplicate_custom_id",
            "custom_id: " + quoted_for_log(id) + " belongs to an earlier line already");
    }
  }
  if (found.lines == 0) wrong("empty_file", "the input file has no lines");
  if (found.lines > static_cast<std::int64_t>(max_lines)) {
    wrong("too_many_lines", "the input file has " + std::to_string(found.lines) +
                                " lines, expected at most " + std::to_string(max_lines));
  }
  return found;
}

}  // namespace fathom::api
