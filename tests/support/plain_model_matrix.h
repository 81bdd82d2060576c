#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fathom::test_support {

// Rows of doubles, dense.
struct PlainMatrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> numbers;

  PlainMatrix() = default;
  PlainMatrix(std::int64_t row_count, std::int64_t column_count)
      : rows(row_count),
        columns(column_count),
        numbers(static_cast<std::size_t>(row_count * column_count)) {}

  std::span<double> row(std::int64_t i) {
    return std::span(numbers).subspan(static_cast<std::size_t>(i * columns),
                                      static_cast<std::size_t>(columns));
  }
  std::span<const double> row(std::int64_t i) const {
    return std::span(numbers).subspan(static_cast<std::size_t>(i * columns),
                                      static_cast<std::size_t>(columns));
  }
};

}  // namespace fathom::test_support
