#include "bench/median.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace fathom::bench {

double median(std::vector<double> numbers) {
  FATHOM_CHECK(!numbers.empty());
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

}  // namespace fathom::bench
