#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "config/parse_flags.h"

// A file of flags, taken as YAML and as a command line with one word a line. What is accepted can
// be told as JSON and as a line of the log.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const fathom::config::FileReader same_text = [&](const std::filesystem::path&) {
    return fathom::Result<std::string>(text);
  };
  const std::vector<std::string> from_file = {"--config", "flags.yaml"};
  std::vector<std::string> words;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  for (const auto& args : {from_file, words}) {
    const auto parsed =
        fathom::config::parse_flags(args, {.model_may_come_first = true, .read_file = same_text});
    if (!parsed.ok()) continue;
    FATHOM_CHECK(fathom::config::server_arguments(parsed->values).is_object());
    FATHOM_CHECK(!fathom::config::server_arguments_line(parsed->values).empty());
  }
  return 0;
}
