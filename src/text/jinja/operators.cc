#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/strings.h"

namespace fathom::text::jinja {

namespace {

constexpr std::string_view kTooLarge = "a whole number passes 64 bits";

std::string kinds(const Value& a, const Value& b) {
  return std::string(type_name(a)) + " and " + std::string(type_name(b));
}

std::string_view spelling(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    case Operator::kPower:
      return "**";
    default:
      return "?";
  }
}

Value checked(Budget& budget, bool overflow, std::int64_t value) {
  if (!overflow) return Value::integer(value);
  budget.fail(kTooLarge);
  return {};
}

// Towards minus infinity. Requires b != 0 and no overflow.
std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value integer_power(Budget& budget, std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base != 0) {
      return Value::number(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
    budget.fail("division by zero");
    return {};
  }
  std::int64_t result = 1;
  // More rounds than bits happen with 0, 1 and -1 alone, which repeat.
  if (base >= -1 && base <= 1) exponent = exponent == 0 ? 0 : 2 - exponent % 2;
  for (; exponent > 0; --exponent) {
    if (__builtin_mul_overflow(result, base, &result)) return checked(budget, true, 0);
  }
  return Value::integer(result);
}

Value calculate_integers(Budget& budget, Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  switch (op) {
    case Operator::kAdd: {
      const bool overflow = __builtin_add_overflow(a, b, &result);
      return checked(budget, overflow, result);
    }
    case Operator::kSubtract: {
      const bool overflow = __builtin_sub_overflow(a, b, &result);
      return checked(budget, overflow, result);
    }
    case Operator::kMultiply: {
      const bool overflow = __builtin_mul_overflow(a, b, &result);
      return checked(budget, overflow, result);
    }
    case Operator::kPower:
      return integer_power(budget, a, b);
    default:
      break;
  }
  if (b == 0) {
    budget.fail("division by zero");
    return {};
  }
  if (op == Operator::kDivide) {
    return Value::number(static_cast<double>(a) / static_cast<double>(b));
  }
  if (a == std::numeric_limits<std::int64_t>::min() && b == -1) {
    return op == Operator::kModulo ? Value::integer(0) : checked(budget, true, 0);
  }
  const std::int64_t quotient = floor_divide(a, b);
  return Value::integer(op == Operator::kModulo ? a - quotient * b : quotient);
}

double float_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

Value calculate_floats(Budget& budget, Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value::number(a + b);
    case Operator::kSubtract:
      return Value::number(a - b);
    case Operator::kMultiply:
      return Value::number(a * b);
    case Operator::kPower:
      if ((a == 0 && b < 0) || (a < 0 && b != std::floor(b) && std::isfinite(b))) {
        budget.fail("** has no real result");
        return {};
      }
      return Value::number(std::pow(a, b));
    default:
      break;
  }
  if (b == 0) {
    budget.fail("division by zero");
    return {};
  }
  if (op == Operator::kDivide) return Value::number(a / b);
  const double rest = float_modulo(a, b);
  return Value::number(op == Operator::kModulo ? rest : std::round((a - rest) / b));
}

Value calculate_numbers(Budget& budget, Operator op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    return calculate_integers(budget, op, a.as_int(), b.as_int());
  }
  if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) {
    budget.fail(kTooLarge);
    return {};
  }
  return calculate_floats(budget, op, a.as_float(), b.as_float());
}

Value repeated(Budget& budget, const Value& value, std::int64_t times) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  if (value.is(Kind::kString)) {
    const std::string& text = value.as_string();
    if (!text.empty() && count > budget.limits().max_output_bytes / text.size()) {
      budget.fail("a text gets longer than " + std::to_string(budget.limits().max_output_bytes) +
                  " bytes");
      return {};
    }
    if (!budget.take_text(text.size() * count)) return {};
    if (text.size() == 1) return Value::string(std::string(count, text.front()));
    std::string out;
    out.reserve(text.size() * count);
    for (std::size_t i = 0; i < count && !text.empty(); ++i) out += text;
    return Value::string(std::move(out));
  }
  const Sequence& sequence = value.as_sequence();
  std::vector<Value> items;
  for (std::size_t i = 0; i < count && !sequence.items.empty(); ++i) {
    if (!budget.take(sequence.items.size() * sizeof(Value))) return {};
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return make_sequence(budget, sequence.kind, std::move(items));
}

bool is_list_or_tuple(const Value& value) {
  return value.is(Kind::kSequence) && (value.as_sequence().kind == SequenceKind::kList ||
                                       value.as_sequence().kind == SequenceKind::kTuple);
}

bool repeats(const Value& value) { return value.is(Kind::kString) || is_list_or_tuple(value); }

Value joined(Budget& budget, const Value& a, const Value& b) {
  if (a.is(Kind::kString)) {
    if (!budget.take_text(a.as_string().size() + b.as_string().size())) return {};
    return Value::string(a.as_string() + b.as_string());
  }
  std::vector<Value> items = a.as_sequence().items;
  if (!budget.take((items.size() + b.as_sequence().items.size()) * sizeof(Value))) return {};
  items.insert(items.end(), b.as_sequence().items.begin(), b.as_sequence().items.end());
  return make_sequence(budget, a.as_sequence().kind, std::move(items));
}

}  // namespace

Value calculate(Budget& budget, Operator op, const Value& a, const Value& b) {
  if (!budget.ok()) return {};
  if (a.is_numeric() && b.is_numeric()) return calculate_numbers(budget, op, a, b);
  if (op == Operator::kModulo && a.is(Kind::kString)) {
    budget.fail("formatting with % is not supported");
    return {};
  }
  if (a.is_undefined() || b.is_undefined()) {
    budget.fail(a.is_undefined() ? a.why_undefined() : b.why_undefined());
    return {};
  }
  if (op == Operator::kAdd) {
    const bool texts = a.is(Kind::kString) && b.is(Kind::kString);
    const bool lists =
        is_list_or_tuple(a) && is_list_or_tuple(b) && a.as_sequence().kind == b.as_sequence().kind;
    if (texts || lists) return joined(budget, a, b);
  }
  if (op == Operator::kMultiply) {
    if (repeats(a) && b.is_integral()) return repeated(budget, a, b.as_int());
    if (repeats(b) && a.is_integral()) return repeated(budget, b, a.as_int());
  }
  budget.fail("\"" + std::string(spelling(op)) + "\" does not work on " + kinds(a, b));
  return {};
}

Value negate(Budget& budget, const Value& value) {
  if (value.is_integral())
    return calculate_integers(budget, Operator::kSubtract, 0, value.as_int());
  if (value.is(Kind::kFloat)) return Value::number(-value.as_float());
  if (value.is(Kind::kBigInt)) {
    const std::string& digits = value.as_digits();
    return Value::big_integer(digits.front() == '-' ? digits.substr(1) : "-" + digits);
  }
  if (value.is_undefined()) {
    budget.fail(value.why_undefined());
  } else {
    budget.fail("\"-\" does not work on a " + std::string(type_name(value)));
  }
  return {};
}

bool contains(Budget& budget, const Value& a, const Value& b) {
  if (b.is(Kind::kString)) {
    if (!a.is(Kind::kString)) {
      return budget.fail("\"in\" a text needs a text, not a " + std::string(type_name(a)));
    }
    return budget.spend_search(b.as_string().size(), a.as_string().size()) &&
           b.as_string().find(a.as_string()) != std::string::npos;
  }
  if (b.is(Kind::kDict)) {
    if (!hashable(budget, a)) {
      return budget.fail("a " + std::string(type_name(a)) + " cannot be a key");
    }
    return find(budget, b.as_dict(), a) != nullptr;
  }
  const std::shared_ptr<const Sequence> items = iterate(budget, b);
  if (items == nullptr) return false;
  for (const Value& item : items->items) {
    if (!budget.spend(1)) return false;
    if (equal(budget, a, item)) return true;
  }
  return false;
}

bool compare(Budget& budget, Operator op, const Value& a, const Value& b) {
  if (!budget.ok()) return false;
  const bool unordered = (a.is(Kind::kFloat) && std::isnan(a.as_float())) ||
                         (b.is(Kind::kFloat) && std::isnan(b.as_float()));
  switch (op) {
    case Operator::kEqual:
      return equal(budget, a, b);
    case Operator::kNotEqual:
      return !equal(budget, a, b);
    case Operator::kLess:
      return less(budget, a, b);
    case Operator::kGreater:
      return less(budget, b, a);
    case Operator::kLessEqual:
      return !less(budget, b, a) && !unordered;
    case Operator::kGreaterEqual:
      return !less(budget, a, b) && !unordered;
    case Operator::kIn:
      return contains(budget, a, b);
    case Operator::kNotIn:
      return !contains(budget, a, b);
    default:
      return false;
  }
}

namespace {

struct Range {
  std::int64_t begin = 0;
  std::int64_t step = 1;
  std::int64_t count = 0;
};

// What a slice takes of `size` items: Python's slice.indices().
std::optional<Range> range_of(Budget& budget,
                              std::int64_t size,
                              const Value& begin,
                              const Value& end,
                              const Value& step_value) {
  for (const Value* part : {&begin, &end, &step_value}) {
    if (!part->is_none() && !part->is_integral()) {
      budget.fail("a slice needs whole numbers, not a " + std::string(type_name(*part)));
      return std::nullopt;
    }
  }
  const std::int64_t step = step_value.is_none() ? 1 : step_value.as_int();
  if (step == 0) {
    budget.fail("the step of a slice is 0");
    return std::nullopt;
  }
  const std::int64_t least = step > 0 ? 0 : -1;
  const std::int64_t most = step > 0 ? size : size - 1;
  const auto place = [&](const Value& value, std::int64_t fallback) {
    if (value.is_none()) return fallback;
    const std::int64_t given = value.as_int();
    // From the end, unless that is past the front anyway.
    const std::int64_t at = given >= 0 ? given : given < -size ? least : given + size;
    return std::clamp(at, least, most);
  };
  const std::int64_t from = place(begin, step > 0 ? least : most);
  const std::int64_t to = place(end, step > 0 ? most : least);
  const std::int64_t distance = step > 0 ? to - from : from - to;
  if (distance <= 0) return Range{from, step, 0};
  if (step == std::numeric_limits<std::int64_t>::min()) return Range{from, -1, 1};
  return Range{from, step, (distance - 1) / std::abs(step) + 1};
}

Value slice_text(Budget& budget, const std::string& text, const Range& range) {
  std::string out;
  if (range.step == 1) {
    const std::size_t begin = byte_of(text, static_cast<std::size_t>(range.begin));
    const std::string_view rest = std::string_view(text).substr(begin);
    return make_text(
        budget, std::string(rest.substr(0, byte_of(rest, static_cast<std::size_t>(range.count)))));
  }
  if (!budget.take(text.size() * sizeof(std::size_t))) return {};
  std::vector<std::size_t> begins;
  for (std::size_t at = 0; at < text.size(); at += byte_of(std::string_view(text).substr(at), 1)) {
    begins.push_back(at);
  }
  begins.push_back(text.size());
  std::int64_t at = range.begin;
  for (std::int64_t i = 0; i < range.count; ++i) {
    const auto index = static_cast<std::size_t>(at);
    out.append(text, begins[index], begins[index + 1] - begins[index]);
    if (i + 1 < range.count) at += range.step;
  }
  return make_text(budget, std::move(out));
}

}  // namespace

Value slice(Budget& budget,
            const Value& value,
            const Value& begin,
            const Value& end,
            const Value& step) {
  if (value.is_undefined()) {
    budget.fail(value.why_undefined());
    return {};
  }
  if (value.is(Kind::kString)) {
    const std::string& text = value.as_string();
    if (!budget.spend(text.size() / 64)) return {};
    const auto size = static_cast<std::int64_t>(character_count(text));
    const std::optional<Range> range = range_of(budget, size, begin, end, step);
    return range ? slice_text(budget, text, *range) : Value();
  }
  const bool sliced = value.is(Kind::kSequence) &&
                      value.as_sequence().kind != SequenceKind::kGenerator &&
                      value.as_sequence().kind != SequenceKind::kView;
  if (!sliced) {
    budget.fail("a " + std::string(type_name(value)) + " has no slices");
    return {};
  }
  const Sequence& sequence = value.as_sequence();
  const std::optional<Range> range =
      range_of(budget, static_cast<std::int64_t>(sequence.items.size()), begin, end, step);
  if (!range || !budget.take(static_cast<std::size_t>(range->count) * sizeof(Value))) return {};
  std::vector<Value> items;
  std::int64_t at = range->begin;
  for (std::int64_t i = 0; i < range->count; ++i) {
    items.push_back(sequence.items[static_cast<std::size_t>(at)]);
    if (i + 1 < range->count) at += range->step;
  }
  return make_sequence(budget, sequence.kind, std::move(items));
}

std::int64_t length(Budget& budget, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      if (!budget.spend(value.as_string().size() / 64)) return -1;
      return static_cast<std::int64_t>(character_count(value.as_string()));
    case Kind::kSequence:
      if (value.as_sequence().kind == SequenceKind::kGenerator) break;
      return static_cast<std::int64_t>(value.as_sequence().items.size());
    case Kind::kDict:
      return static_cast<std::int64_t>(value.as_dict().items.size());
    case Kind::kLoop:
      return static_cast<std::int64_t>(value.as_loop()->items->items.size());
    default:
      break;
  }
  budget.fail("a " + std::string(type_name(value)) + " has no length");
  return -1;
}

}  // namespace fathom::text::jinja
