#include "bench/table.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <utility>

#include "base/check.h"

namespace fathom::bench {

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  std::vector<std::string> names;
  for (Column& column : columns_) {
    column.width = std::max(column.width, static_cast<int>(column.name.size()));
    names.push_back(column.name);
  }
  row(names);
  std::string line = "|";
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const auto width = static_cast<std::size_t>(columns_[i].width);
    line += i == 0 ? std::string(width + 2, '-') : std::string(width + 1, '-') + ":";
    line += "|";
  }
  std::cout << line << "\n";
}

void Table::row(const std::vector<std::string>& cells) const {
  FATHOM_CHECK(cells.size() == columns_.size());
  std::string line = "|";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto width = static_cast<std::size_t>(columns_[i].width);
    const std::string space(width > cells[i].size() ? width - cells[i].size() : 0, ' ');
    line += " ";
    line += i == 0 ? cells[i] + space : space + cells[i];
    line += " |";
  }
  std::cout << line << std::endl;
}

std::string number(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string percent(double fraction) { return number(fraction * 100, 0) + " %"; }

std::string duration(double seconds) {
  const char* unit = " s";
  if (seconds < 1e-3) {
    seconds *= 1e6;
    unit = " us";
  } else if (seconds < 1) {
    seconds *= 1e3;
    unit = " ms";
  }
  const int decimals = seconds < 10 ? 2 : seconds < 100 ? 1 : 0;
  return number(seconds, decimals) + unit;
}

}  // namespace fathom::bench
