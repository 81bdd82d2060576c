// Any bytes: what is accepted is what simdjson's DOM accepts, and it survives writing and reading.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "base/check.h"
#include "base/json.h"

namespace {

// The DOM cannot hold every number, so it is no judge of texts that it refuses for one.
void compare_with_dom(std::string_view text, bool accepted) {
  simdjson::dom::parser parser;
  const simdjson::error_code error = parser.parse(simdjson::padded_string(text)).error();
  if (error == simdjson::SUCCESS) {
    FATHOM_CHECK(accepted);
  } else if (error != simdjson::NUMBER_ERROR) {
    FATHOM_CHECK(!accepted);
  }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  constexpr int kDepth = 1000;  // a little less than the DOM follows
  const fathom::Result<fathom::Json> json =
      fathom::parse_json(text, {.max_depth = kDepth, .max_number_bytes = size});
  if (size < kDepth) compare_with_dom(text, json.ok());
  if (json.ok()) {
    const std::string written = fathom::to_json(*json);
    const fathom::Result<fathom::Json> again = fathom::parse_json(written, {.max_depth = kDepth});
    FATHOM_CHECK_MSG(again.ok(), written);
    FATHOM_CHECK(*again == *json && fathom::to_json(*again) == written);
  }
  std::string string;
  fathom::append_json_string(string, text);
  FATHOM_CHECK(fathom::parse_json(string).ok());
  return 0;
}
