#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace fathom::observe {

// The bounds that SGLang's histograms have when no flag gives others: seconds, and tokens.
std::vector<double> first_token_bounds();
std::vector<double> inter_token_bounds();
std::vector<double> request_latency_bounds();
std::vector<double> queue_time_bounds();
std::vector<double> token_count_bounds();
std::vector<double> retraction_bounds();
std::vector<double> stage_bounds();
std::vector<double> function_bounds();
std::vector<double> compilation_bounds();

// What --prompt-tokens-buckets and --generation-tokens-buckets say, ascending, each bound once:
// - nothing or "default": token_count_bounds();
// - "custom" and numbers: these, none negative, none twice, one at least;
// - "tse" MIDDLE BASE COUNT (two-sided exponential): MIDDLE and MIDDLE ± BASE^i for i from 1 to
//   COUNT / 2, rounded up; what would be negative is 0. BASE is above 1, the others are above 0,
//   COUNT is at most 512.
// kInvalidArgument says what is wrong with them.
Result<std::vector<double>> token_bounds(const std::vector<std::string>& rule);

// Bounds given as numbers: sorted, each once. kInvalidArgument when one is not finite.
Result<std::vector<double>> given_bounds(std::vector<double> bounds);

}  // namespace fathom::observe
