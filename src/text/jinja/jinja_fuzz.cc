// Any bytes as a template, with fixed variables: it renders or is refused, within its limits.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "text/jinja/template.h"
#include "text/utf8.h"

namespace {

using fathom::text::jinja::Limits;

const fathom::Json& variables() {
  static const fathom::Json made =
      fathom::parse_json(R"({"messages":[{"role":"system","content":"Be kind."},
        {"role":"user","content":"你好 🎉"},{"role":"assistant","content":null,"tool_calls":[
        {"type":"function","function":{"name":"f","arguments":{"a":[1,2.5,true]}}}]}],
        "tools":null,"bos_token":"<s>","s":"text","n":12345678901234567890,"xs":[3,1,2],
        "add_generation_prompt":true})")
          .value();
  return made;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const Limits limits{.max_operations = 200'000,
                      .max_output_bytes = std::size_t{1} << 20,
                      .max_memory_bytes = std::size_t{16} << 20};
  const auto parsed = fathom::text::jinja::Template::parse(source, limits);
  if (!parsed.ok()) return 0;
  const fathom::Result<std::string> text = parsed->render(variables(), limits);
  if (text.ok()) {
    FATHOM_CHECK(text->size() <= limits.max_output_bytes);
    FATHOM_CHECK(fathom::text::valid_utf8_prefix(*text) == text->size());
  }
  return 0;
}
