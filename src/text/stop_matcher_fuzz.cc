// Looks for stops in texts, whole and cut. An input is a byte that seeds the cuts, and three lines'
// worth of bytes, each ended by 0xFF: a stop string, a regular expression, and the text.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/stop_matcher.h"

namespace {

using namespace fathom::text;  // NOLINT(google-build-using-namespace)

std::string_view take_part(std::string_view& input) {
  const std::size_t size = input.find('\xFF');
  const std::string_view part = input.substr(0, size);
  input.remove_prefix(size == std::string_view::npos ? input.size() : size + 1);
  return part;
}

struct Outcome {
  std::string text;
  std::optional<StopMatch> match;
  bool gave_up = false;
};

template <class NextSize>
Outcome stop_in_pieces(const std::shared_ptr<const StopRules>& rules,
                       std::string_view text,
                       NextSize next_size) {
  StopMatcher matcher(rules);
  Outcome outcome;
  while (!text.empty() && !outcome.match) {
    const std::string_view piece = text.substr(0, next_size());
    outcome.match = matcher.push(piece, outcome.text);
    text.remove_prefix(piece.size());
  }
  if (!outcome.match) outcome.match = matcher.finish(outcome.text);
  outcome.gave_up = matcher.gave_up();
  return outcome;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> strings{std::string(take_part(input))};
  std::vector<std::string> regexes;
  if (const std::string_view regex = take_part(input); !regex.empty()) regexes.emplace_back(regex);
  const auto rules = StopRules::create(strings, regexes, (data[0] & 1) != 0);
  if (!rules.ok()) return 0;
  const Outcome whole = stop_in_pieces(*rules, input, [&] { return input.size(); });
  FATHOM_CHECK(whole.match || !regexes.empty() || whole.text == input);
  std::minstd_rand random(data[0]);
  const Outcome bytes = stop_in_pieces(*rules, input, [] { return 1; });
  const Outcome pieces = stop_in_pieces(*rules, input, [&] { return 1 + random() % 9; });
  for (const Outcome& cut : {bytes, pieces}) {
    if (whole.gave_up || cut.gave_up) continue;
    FATHOM_CHECK(cut.text == whole.text && cut.match == whole.match);
  }
  return 0;
}
