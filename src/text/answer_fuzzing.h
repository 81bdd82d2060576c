#pragma once

#include <cstdint>
#include <random>
#include <string_view>

#include "base/check.h"
#include "text/answer_testing.h"

namespace fathom::text {

// Parses `text` whole, byte by byte and in random pieces, checks that all tell the same, and
// returns it. Only fuzz targets use it.
inline ToldAnswer check_answer(const AnswerParserOptions& options,
                               std::string_view text,
                               std::uint32_t seed) {
  ToldAnswer told = parse_whole(options, text);
  FATHOM_CHECK(parse_in_pieces(options, text, [] { return 1; }) == told);
  std::minstd_rand random(seed);
  FATHOM_CHECK(parse_in_pieces(options, text, [&] { return 1 + random() % 9; }) == told);
  return told;
}

}  // namespace fathom::text
