#pragma once

#include <span>
#include <string_view>

#include "text/jinja/evaluator.h"

namespace fathom::text::jinja {

struct FilterEntry {
  std::string_view name;
  Filter filter;
};

// An attribute, or one of an attribute …, by a path with points: "function.name". A part that is a
// number is a place.
Value attribute_path(Evaluator& evaluator, const Value& object, const Value& path);

// Those that make texts of values, and those that work on lists and numbers.
std::span<const FilterEntry> text_filters();
std::span<const FilterEntry> list_filters();

}  // namespace fathom::text::jinja
