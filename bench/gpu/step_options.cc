#include "bench/gpu/step_options.h"

#include <charconv>
#include <string_view>

namespace fathom::bench {

namespace {

constexpr std::int32_t kMostRows = 1024;

Status parse_number(std::string_view flag,
                    std::string_view text,
                    std::int32_t least,
                    std::int32_t most,
                    std::int32_t& to) {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, to);
  if (error == std::errc() && stopped == end && to >= least && to <= most) return {};
  return invalid_argument(std::string(flag) + " is \"" + std::string(text) + "\", expected " +
                          std::to_string(least) + " to " + std::to_string(most));
}

Status parse_batch(std::string_view text, StepBatch& to) {
  const std::size_t slash = text.find('/');
  FATHOM_RETURN_IF_ERROR(
      parse_number("--batches", text.substr(0, slash), 1, kMostRows, to.requests));
  to.rows = to.requests;
  if (slash == std::string_view::npos) return {};
  return parse_number("--batches", text.substr(slash + 1), to.requests, kMostRows, to.rows);
}

Status parse_batches(std::string_view text, std::vector<StepBatch>& to) {
  to.clear();
  while (true) {
    const std::size_t comma = text.find(',');
    FATHOM_RETURN_IF_ERROR(parse_batch(text.substr(0, comma), to.emplace_back()));
    if (comma == std::string_view::npos) return {};
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

Result<StepOptions> parse_step_options(std::span<char* const> arguments) {
  StepOptions options;
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const std::string_view flag = arguments[i];
    const bool known =
        flag == "--layers" || flag == "--batches" || flag == "--context" || flag == "--json";
    if (!known || i + 1 == arguments.size()) {
      return invalid_argument("\"" + std::string(flag) + "\": " +
                              (known ? "a value is missing"
                                     : "expected --layers N, --batches N,N/ROWS, --context N or "
                                       "--json FILE"));
    }
    const std::string_view value = arguments[i + 1];
    if (flag == "--layers") {
      FATHOM_RETURN_IF_ERROR(parse_number(flag, value, 1, 60, options.moe_layers));
    } else if (flag == "--batches") {
      FATHOM_RETURN_IF_ERROR(parse_batches(value, options.batches));
    } else if (flag == "--context") {
      FATHOM_RETURN_IF_ERROR(parse_number(flag, value, 64, 163840, options.context));
    } else {
      options.json = value;
    }
  }
  return options;
}

}  // namespace fathom::bench
