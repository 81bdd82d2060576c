#include <algorithm>
#include <iterator>

#include "text/jinja/convert.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"

namespace fathom::text::jinja {

namespace {

bool is_sequence_kind(const Value& value, SequenceKind kind) {
  return value.is(Kind::kSequence) && value.as_sequence().kind == kind;
}

template <Operator op>
bool compares(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  const Slots slots = bind(evaluator.budget(), "a comparison", arguments, {"other"}, 1);
  return compare(evaluator.budget(), op, value, *slots[0]);
}

template <Kind kind>
bool is_kind(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  return value.is(kind);
}

template <bool wanted>
bool is_exactly(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  return value.is(Kind::kBool) && value.as_bool() == wanted;
}

bool is_defined(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  return !value.is_undefined();
}

bool is_integer(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  return value.is(Kind::kInt) || value.is(Kind::kBigInt);
}

bool is_number(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  return value.is_numeric();
}

bool is_sequence(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  if (value.is(Kind::kSequence)) {
    return !is_sequence_kind(value, SequenceKind::kView) &&
           !is_sequence_kind(value, SequenceKind::kGenerator);
  }
  return value.is(Kind::kString) || value.is(Kind::kDict) || value.is_undefined();
}

bool is_iterable(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  return value.is(Kind::kString) || value.is(Kind::kDict) || value.is(Kind::kSequence) ||
         value.is_undefined() || value.is(Kind::kLoop);
}

bool is_callable(Evaluator& /*evaluator*/, const Value& value, const Arguments& /*arguments*/) {
  return value.is(Kind::kFunction) || value.is(Kind::kMethod) || value.is(Kind::kMacro) ||
         value.is(Kind::kLoop) || value.is_undefined();
}

bool has_remainder(Evaluator& evaluator, const Value& value, const Value& by, std::int64_t rest) {
  Budget& budget = evaluator.budget();
  const Value left = calculate(budget, Operator::kModulo, value, by);
  return budget.ok() && equal(budget, left, Value::integer(rest));
}

bool is_odd(Evaluator& evaluator, const Value& value, const Arguments& /*arguments*/) {
  return has_remainder(evaluator, value, Value::integer(2), 1);
}

bool is_even(Evaluator& evaluator, const Value& value, const Arguments& /*arguments*/) {
  return has_remainder(evaluator, value, Value::integer(2), 0);
}

bool is_divisible(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  const Slots slots = bind(evaluator.budget(), "divisibleby", arguments, {"num"}, 1);
  return evaluator.budget().ok() && has_remainder(evaluator, value, *slots[0], 0);
}

template <TextClass wanted>
bool is_text_class(Evaluator& evaluator, const Value& value, const Arguments& /*arguments*/) {
  return is_class(to_text(evaluator.budget(), value), wanted);
}

// Identity, as far as values have one.
bool is_same(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  const Slots slots = bind(evaluator.budget(), "sameas", arguments, {"other"}, 1);
  const Value& other = *slots[0];
  if (value.kind() != other.kind()) return false;
  if (value.is(Kind::kSequence)) return value.shared_sequence() == other.shared_sequence();
  if (value.is(Kind::kDict)) return value.shared_dict() == other.shared_dict();
  return equal(evaluator.budget(), value, other);
}

struct Entry {
  std::string_view name;
  Test test;
};

constexpr Entry kTests[] = {
    {"!=", compares<Operator::kNotEqual>},
    {"<", compares<Operator::kLess>},
    {"<=", compares<Operator::kLessEqual>},
    {"==", compares<Operator::kEqual>},
    {">", compares<Operator::kGreater>},
    {">=", compares<Operator::kGreaterEqual>},
    {"boolean", is_kind<Kind::kBool>},
    {"callable", is_callable},
    {"defined", is_defined},
    {"divisibleby", is_divisible},
    {"eq", compares<Operator::kEqual>},
    {"equalto", compares<Operator::kEqual>},
    {"even", is_even},
    {"false", is_exactly<false>},
    {"float", is_kind<Kind::kFloat>},
    {"ge", compares<Operator::kGreaterEqual>},
    {"greaterthan", compares<Operator::kGreater>},
    {"gt", compares<Operator::kGreater>},
    {"in", compares<Operator::kIn>},
    {"integer", is_integer},
    {"iterable", is_iterable},
    {"le", compares<Operator::kLessEqual>},
    {"lessthan", compares<Operator::kLess>},
    {"lower", is_text_class<TextClass::kLower>},
    {"lt", compares<Operator::kLess>},
    {"mapping", is_kind<Kind::kDict>},
    {"ne", compares<Operator::kNotEqual>},
    {"none", is_kind<Kind::kNone>},
    {"number", is_number},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", is_sequence},
    {"string", is_kind<Kind::kString>},
    {"true", is_exactly<true>},
    {"undefined", is_kind<Kind::kUndefined>},
    {"upper", is_text_class<TextClass::kUpper>},
};

}  // namespace

Test find_test(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kTests), std::end(kTests),
                                         [name](const Entry& entry) { return entry.name == name; });
  return found == std::end(kTests) ? nullptr : found->test;
}

}  // namespace fathom::text::jinja
