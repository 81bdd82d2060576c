#pragma once

#include <vector>

namespace fathom::bench {

// Of an even count the upper of the two in the middle. Requires numbers.
double median(std::vector<double> numbers);

}  // namespace fathom::bench
