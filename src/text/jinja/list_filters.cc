#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "text/jinja/convert.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"

// NOLINTBEGIN(misc-no-recursion): filters call filters, as deep as their list of names
namespace fathom::text::jinja {

namespace {

using Items = std::shared_ptr<const Sequence>;

// What Python's sorting filters compare: texts without regard to case.
Value sort_key(Budget& budget, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is(Kind::kString)) return value;
  return make_text(budget, lower(value.as_string()));
}

bool given(const Value* slot) { return slot != nullptr && !slot->is_none(); }

Value length_of(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  bind(evaluator.budget(), "length", arguments, {});
  return Value::integer(length(evaluator.budget(), value));
}

Value or_default(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  const Slots slots = bind(evaluator.budget(), "default", arguments, {"default_value", "boolean"});
  const bool absent = value.is_undefined() || (truth_or(slots[1], false) && !truthy(value));
  if (!absent) return value;
  return slots[0] == nullptr ? Value::string({}) : *slots[0];
}

Value to_list(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  bind(budget, "list", arguments, {});
  const Items items = budget.ok() ? iterate(budget, value) : nullptr;
  if (items == nullptr) return {};
  return make_sequence(budget, SequenceKind::kList, items->items);
}

Value first_of(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  bind(evaluator.budget(), "first", arguments, {});
  const Items items = iterate(evaluator.budget(), value);
  if (items == nullptr) return {};
  if (items->items.empty()) return Value::undefined("there is no first item");
  return items->items.front();
}

bool is_generator(const Value& value) {
  return value.is(Kind::kSequence) && value.as_sequence().kind == SequenceKind::kGenerator;
}

Value last_of(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  bind(evaluator.budget(), "last", arguments, {});
  if (is_generator(value)) return evaluator.fail("last: make a list of the generator first");
  const Items items = iterate(evaluator.budget(), value);
  if (items == nullptr) return {};
  if (items->items.empty()) return Value::undefined("there is no last item");
  return items->items.back();
}

Value reversed(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  bind(budget, "reverse", arguments, {});
  if (value.is(Kind::kString)) return slice(budget, value, {}, {}, Value::integer(-1));
  const SequenceKind kind = is_generator(value) ? SequenceKind::kList : SequenceKind::kGenerator;
  const Items items = budget.ok() ? iterate(budget, value) : nullptr;
  if (items == nullptr || !budget.take(items->items.size() * sizeof(Value))) return {};
  return make_sequence(budget, kind, {items->items.rbegin(), items->items.rend()});
}

Value items_of(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  bind(budget, "items", arguments, {});
  if (value.is_undefined()) return make_sequence(budget, SequenceKind::kGenerator, {});
  if (!value.is(Kind::kDict)) {
    return evaluator.fail("items: expected a dict, was a " + std::string(type_name(value)));
  }
  std::vector<Value> pairs;
  for (const auto& [key, member] : value.as_dict().items) {
    pairs.push_back(make_sequence(budget, SequenceKind::kTuple, {key, member}));
    if (!budget.ok()) return {};
  }
  return make_sequence(budget, SequenceKind::kGenerator, std::move(pairs));
}

Value attribute_of(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  const Slots slots = bind(evaluator.budget(), "attr", arguments, {"name"}, 1);
  if (!slots[0]->is(Kind::kString)) return evaluator.fail("attr: \"name\" needs a text");
  const std::string& name = slots[0]->as_string();
  // A member of a dict is none of its attributes.
  if (value.is(Kind::kDict) && find_method(value, name) == nullptr) {
    return Value::undefined("a dict has no attribute \"" + name + "\"");
  }
  if (value.is_undefined()) return evaluator.fail(value.why_undefined());
  return evaluator.attribute(value, name);
}

// map, select and reject and their kin.

Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

Value map_attribute(Evaluator& evaluator, const Items& items, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "map", arguments, {"attribute", "default"}, 1);
  std::vector<Value> out;
  for (const Value& item : items->items) {
    if (!budget.spend(1) || !budget.take(sizeof(Value))) return {};
    Value value = attribute_path(evaluator, item, *slots[0]);
    if (value.is_undefined() && given(slots[1])) value = *slots[1];
    out.push_back(std::move(value));
  }
  return make_sequence(budget, SequenceKind::kGenerator, std::move(out));
}

Value mapped(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  if (!truthy(value)) return make_sequence(budget, SequenceKind::kGenerator, {});
  const Items items = iterate(budget, value);
  if (items == nullptr) return {};
  if (arguments.positional.empty()) {
    if (!arguments.named.empty()) return map_attribute(evaluator, items, arguments);
    return evaluator.fail("map: needs the name of a filter or an attribute");
  }
  const Value& name = arguments.positional.front();
  if (!name.is(Kind::kString)) return evaluator.fail("map: a filter's name is a text");
  const Arguments rest = without_first(arguments, 1);
  std::vector<Value> out;
  for (const Value& item : items->items) {
    if (!budget.descend() || !budget.spend(1) || !budget.take(sizeof(Value))) return {};
    out.push_back(evaluator.filter(name.as_string(), item, rest));
    budget.ascend();
  }
  return make_sequence(budget, SequenceKind::kGenerator, std::move(out));
}

template <bool kept, bool by_attribute>
Value selected(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  if (!truthy(value)) return make_sequence(budget, SequenceKind::kGenerator, {});
  const std::size_t offset = by_attribute ? 1 : 0;
  if (arguments.positional.size() < offset) {
    return evaluator.fail("selectattr and rejectattr need the name of an attribute");
  }
  const Value* const test_name =
      arguments.positional.size() > offset ? &arguments.positional[offset] : nullptr;
  if (test_name != nullptr && !test_name->is(Kind::kString)) {
    return evaluator.fail("a test's name is a text");
  }
  const Arguments rest = test_name == nullptr ? Arguments() : without_first(arguments, offset + 1);
  const Items items = iterate(budget, value);
  if (items == nullptr) return {};
  std::vector<Value> out;
  for (const Value& item : items->items) {
    if (!budget.spend(1) || !budget.take(sizeof(Value))) return {};
    const Value looked_at =
        by_attribute ? attribute_path(evaluator, item, arguments.positional.front()) : item;
    if (!budget.ok()) return {};
    const bool passes = test_name == nullptr
                            ? truthy(looked_at)
                            : evaluator.test(test_name->as_string(), looked_at, rest);
    if (passes == kept) out.push_back(item);
  }
  return make_sequence(budget, SequenceKind::kGenerator, std::move(out));
}

// Sorting.

struct Keyed {
  std::vector<Value> keys;
  const Value* value;
};

bool before(Budget& budget, const Keyed& a, const Keyed& b) {
  for (std::size_t i = 0; i < a.keys.size() && budget.spend(1); ++i) {
    if (!equal(budget, a.keys[i], b.keys[i])) return less(budget, a.keys[i], b.keys[i]);
  }
  return false;
}

std::vector<Value> in_order(Budget& budget, std::vector<Keyed> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    if (!budget.ok()) return false;
    return reverse ? before(budget, b, a) : before(budget, a, b);
  });
  std::vector<Value> out;
  out.reserve(keyed.size());
  for (const Keyed& one : keyed) out.push_back(*one.value);
  return out;
}

Value sorted(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = truth_or(slots[1], false);
  const Items items = budget.ok() ? iterate(budget, value) : nullptr;
  if (items == nullptr) return {};
  std::vector<Value> paths;
  if (given(slots[2]) && slots[2]->is(Kind::kString)) {
    for (const std::string_view path : split(slots[2]->as_string(), ",", -1)) {
      paths.push_back(Value::string(std::string(path)));
    }
  } else if (given(slots[2])) {
    paths.push_back(*slots[2]);
  }
  std::vector<Keyed> keyed;
  for (const Value& item : items->items) {
    if (!budget.take(sizeof(Keyed) + (paths.size() + 2) * sizeof(Value))) return {};
    Keyed& one = keyed.emplace_back(Keyed{{}, &item});
    for (const Value& path : paths) {
      one.keys.push_back(sort_key(budget, attribute_path(evaluator, item, path), case_sensitive));
    }
    if (paths.empty()) one.keys.push_back(sort_key(budget, item, case_sensitive));
  }
  return make_sequence(budget, SequenceKind::kList,
                       in_order(budget, std::move(keyed), truth_or(slots[0], false)));
}

Value sorted_members(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (!value.is(Kind::kDict)) {
    return evaluator.fail("dictsort: expected a dict, was a " + std::string(type_name(value)));
  }
  const std::string by = slots[1] == nullptr ? "key" : to_text(budget, *slots[1]);
  if (by != "key" && by != "value") return evaluator.fail("dictsort: by is \"key\" or \"value\"");
  std::vector<Value> pairs;
  for (const auto& [key, member] : value.as_dict().items) {
    pairs.push_back(make_sequence(budget, SequenceKind::kTuple, {key, member}));
    if (!budget.ok()) return {};
  }
  std::vector<Keyed> keyed;
  for (const Value& pair : pairs) {
    const Value& key = pair.as_sequence().items[by == "key" ? 0 : 1];
    keyed.push_back({{sort_key(budget, key, truth_or(slots[0], false))}, &pair});
  }
  return make_sequence(budget, SequenceKind::kList,
                       in_order(budget, std::move(keyed), truth_or(slots[2], false)));
}

Value unique(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "unique", arguments, {"case_sensitive", "attribute"});
  const Items items = budget.ok() ? iterate(budget, value) : nullptr;
  if (items == nullptr) return {};
  std::vector<Value> keys;
  std::vector<Value> out;
  for (const Value& item : items->items) {
    if (!budget.spend(1 + keys.size()) || !budget.take(2 * sizeof(Value))) return {};
    const Value looked_at = given(slots[1]) ? attribute_path(evaluator, item, *slots[1]) : item;
    Value key = sort_key(budget, looked_at, truth_or(slots[0], false));
    if (!hashable(budget, key)) {
      return evaluator.fail("unique: a " + std::string(type_name(key)) + " cannot be looked up");
    }
    const bool known = std::any_of(keys.begin(), keys.end(),
                                   [&](const Value& other) { return equal(budget, key, other); });
    if (known) continue;
    keys.push_back(std::move(key));
    out.push_back(item);
  }
  return make_sequence(budget, SequenceKind::kGenerator, std::move(out));
}

template <bool greatest>
Value extreme(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "min and max", arguments, {"case_sensitive", "attribute"});
  const Items items = budget.ok() ? iterate(budget, value) : nullptr;
  if (items == nullptr) return {};
  const Value* best = nullptr;
  Value best_key;
  for (const Value& item : items->items) {
    if (!budget.spend(1)) return {};
    const Value looked_at = given(slots[1]) ? attribute_path(evaluator, item, *slots[1]) : item;
    Value key = sort_key(budget, looked_at, truth_or(slots[0], false));
    const bool better =
        best == nullptr || (greatest ? less(budget, best_key, key) : less(budget, key, best_key));
    if (!better) continue;
    best = &item;
    best_key = std::move(key);
  }
  return best == nullptr ? Value::undefined("there are no items") : *best;
}

// Numbers.

Value sum(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "sum", arguments, {"attribute", "start"});
  const Items items = budget.ok() ? iterate(budget, value) : nullptr;
  if (items == nullptr) return {};
  Value total = slots[1] == nullptr ? Value::integer(0) : *slots[1];
  if (total.is(Kind::kString)) return evaluator.fail("sum: texts have no sum; join them");
  for (const Value& item : items->items) {
    if (!budget.spend(1)) return {};
    total = calculate(budget, Operator::kAdd, total,
                      given(slots[0]) ? attribute_path(evaluator, item, *slots[0]) : item);
  }
  return total;
}

Value absolute(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  bind(evaluator.budget(), "abs", arguments, {});
  if (value.is(Kind::kFloat)) return Value::number(std::abs(value.as_float()));
  if (value.is_integral() && value.as_int() >= 0) return Value::integer(value.as_int());
  if (value.is(Kind::kBigInt) && value.as_digits().front() != '-') return value;
  return negate(evaluator.budget(), value);
}

Value from_float(Evaluator& evaluator, double value, const Value& fallback) {
  if (!std::isfinite(value)) return fallback;
  constexpr double kBound = 9223372036854775808.0;  // 2^63
  if (value < -kBound || value >= kBound) return evaluator.fail("int: past 64 bits");
  return Value::integer(static_cast<std::int64_t>(value));
}

Value to_int(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "int", arguments, {"default", "base"});
  Value fallback = slots[0] == nullptr ? Value::integer(0) : *slots[0];
  if (value.is_undefined()) return evaluator.fail(value.why_undefined());
  if (value.is_integral()) return Value::integer(value.as_int());
  if (value.is(Kind::kBigInt)) return value;
  if (value.is(Kind::kFloat)) return from_float(evaluator, value.as_float(), fallback);
  if (!value.is(Kind::kString)) return fallback;
  const std::int64_t base = integer_or(budget, slots[1], 10);
  if (const auto whole = parse_int(value.as_string(), base)) return Value::integer(*whole);
  const std::optional<double> number = parse_float(value.as_string());
  return number ? from_float(evaluator, *number, fallback) : fallback;
}

Value to_float(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  const Slots slots = bind(evaluator.budget(), "float", arguments, {"default"});
  if (value.is_undefined()) return evaluator.fail(value.why_undefined());
  if (value.is_numeric()) return Value::number(value.as_float());
  if (value.is(Kind::kString)) {
    if (const auto number = parse_float(value.as_string())) return Value::number(*number);
  }
  return slots[0] == nullptr ? Value::number(0) : *slots[0];
}

Value rounded(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "round", arguments, {"precision", "method"});
  constexpr std::int64_t kMostPlaces = 300;
  const std::int64_t places = integer_or(budget, slots[0], 0);
  const std::string method = slots[1] == nullptr ? "common" : to_text(budget, *slots[1]);
  if (!value.is_numeric()) return evaluator.fail("round: expected a number");
  if (places < 0 || places > kMostPlaces) return evaluator.fail("round: unsupported precision");
  if (method == "common") {
    if (!value.is(Kind::kFloat))
      return value.is(Kind::kBool) ? Value::integer(value.as_int()) : value;
    if (!std::isfinite(value.as_float())) return value;
    // Printing rounds the exact value, ties to even, as Python does.
    char text[1024];
    std::snprintf(text, sizeof text, "%.*f", static_cast<int>(places), value.as_float());
    return Value::number(std::strtod(text, nullptr));
  }
  if (method != "ceil" && method != "floor") {
    return evaluator.fail("round: the method is common, ceil or floor");
  }
  const double scale = std::pow(10.0, static_cast<double>(places));
  const double scaled = value.as_float() * scale;
  return Value::number((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

constexpr FilterEntry kFilters[] = {
    {"abs", absolute},
    {"attr", attribute_of},
    {"count", length_of},
    {"d", or_default},
    {"default", or_default},
    {"dictsort", sorted_members},
    {"first", first_of},
    {"float", to_float},
    {"int", to_int},
    {"items", items_of},
    {"last", last_of},
    {"length", length_of},
    {"list", to_list},
    {"map", mapped},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", selected<false, false>},
    {"rejectattr", selected<false, true>},
    {"reverse", reversed},
    {"round", rounded},
    {"select", selected<true, false>},
    {"selectattr", selected<true, true>},
    {"sort", sorted},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

Value attribute_path(Evaluator& evaluator, const Value& object, const Value& path) {
  if (!path.is(Kind::kString)) return evaluator.item(object, path);
  Value value = object;
  for (const std::string_view part : split(path.as_string(), ".", -1)) {
    if (!evaluator.budget().spend(1)) return {};
    const bool place = !part.empty() && std::all_of(part.begin(), part.end(),
                                                    [](char c) { return c >= '0' && c <= '9'; });
    const std::optional<std::int64_t> number = place ? parse_int(part) : std::nullopt;
    value =
        evaluator.item(value, number ? Value::integer(*number) : Value::string(std::string(part)));
  }
  return value;
}

std::span<const FilterEntry> list_filters() { return kFilters; }

Filter find_filter(std::string_view name) {
  for (const std::span<const FilterEntry> group : {text_filters(), list_filters()}) {
    for (const FilterEntry& entry : group) {
      if (entry.name == name) return entry.filter;
    }
  }
  return nullptr;
}

}  // namespace fathom::text::jinja
// NOLINTEND(misc-no-recursion)
