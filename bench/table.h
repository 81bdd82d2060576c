#pragma once

#include <string>
#include <vector>

namespace fathom::bench {

// A table that can be read on a terminal and pasted into a Markdown document. Rows appear as they
// are added, so the widths come with the headings.
class Table {
 public:
  struct Column {
    std::string name;
    int width = 10;  // at least the name's
  };
  // Prints the headings. The first column is aligned to the left, the others to the right.
  explicit Table(std::vector<Column> columns);
  // Requires one cell a column.
  void row(const std::vector<std::string>& cells) const;

 private:
  std::vector<Column> columns_;
};

std::string number(double value, int decimals);
// "87 %".
std::string percent(double fraction);
// 1.23 ms, 45.6 us: three digits and the unit that suits.
std::string duration(double seconds);

}  // namespace fathom::bench
