#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace fathom::api {

// What an input file of a batch holds.
struct BatchInput {
  std::int64_t lines = 0;
  Json::Array errors;  // of OpenAI's form, the first of them; none: every line can be sent
};

// Reads all of the file: its lines have to be requests to `endpoint`, at most `max_lines`, with a
// custom_id each. A failure when it cannot be read.
Result<BatchInput> check_batch_input(const std::filesystem::path& path,
                                     const std::string& endpoint,
                                     std::size_t max_lines);

}  // namespace fathom::api
