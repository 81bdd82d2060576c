#include <ctime>
#include <utility>

#include "text/jinja/convert.h"
#include "text/jinja/evaluator.h"
#include "text/utf8.h"

namespace fathom::text::jinja {

namespace {

Value make_range(Evaluator& evaluator, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "range", arguments, {"start", "stop", "step"}, 1);
  for (const Value* slot : slots) {
    if (slot != nullptr && !slot->is_integral()) {
      return evaluator.fail("range: expected whole numbers, was a " +
                            std::string(type_name(*slot)));
    }
  }
  if (!budget.ok()) return {};
  const std::int64_t begin = slots[1] == nullptr ? 0 : slots[0]->as_int();
  const std::int64_t end = slots[1] == nullptr ? slots[0]->as_int() : slots[1]->as_int();
  const std::int64_t step = slots[2] == nullptr ? 1 : slots[2]->as_int();
  if (step == 0) return evaluator.fail("range: the step is 0");
  // Two's complement differences are right as unsigned numbers.
  const auto distance = step > 0
                            ? static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin)
                            : static_cast<std::uint64_t>(begin) - static_cast<std::uint64_t>(end);
  const auto stride = step > 0 ? static_cast<std::uint64_t>(step)
                               : std::uint64_t{0} - static_cast<std::uint64_t>(step);
  const bool empty = step > 0 ? begin >= end : begin <= end;
  const std::uint64_t count = empty ? 0 : (distance - 1) / stride + 1;
  if (count > budget.limits().max_range) {
    return evaluator.fail("range: has " + std::to_string(count) + " numbers, the limit is " +
                          std::to_string(budget.limits().max_range));
  }
  std::vector<Value> items;
  std::int64_t at = begin;
  for (std::uint64_t i = 0; i < count; ++i) {
    items.push_back(Value::integer(at));
    if (i + 1 < count) at += step;
  }
  return make_sequence(budget, SequenceKind::kRange, std::move(items));
}

// The members that dict() and namespace() are given.
std::vector<std::pair<Value, Value>> members(Evaluator& evaluator, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1) {
    evaluator.fail("dict and namespace take one argument without a name");
    return items;
  }
  Budget& budget = evaluator.budget();
  for (const Value& given : arguments.positional) {
    if (given.is(Kind::kDict)) {
      if (!budget.take(given.as_dict().items.size() * 2 * sizeof(Value))) return items;
      items = given.as_dict().items;
      continue;
    }
    const std::shared_ptr<const Sequence> pairs = iterate(budget, given);
    if (pairs == nullptr) return items;
    for (const Value& pair : pairs->items) {
      const std::shared_ptr<const Sequence> both = iterate(budget, pair);
      if (both == nullptr || !budget.take(2 * sizeof(Value))) return items;
      if (both->items.size() != 2) {
        evaluator.fail("dict and namespace need pairs");
        return items;
      }
      items.emplace_back(both->items[0], both->items[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) {
    items.emplace_back(Value::string(name), value);
  }
  return items;
}

Value make_namespace(Evaluator& evaluator, const Arguments& arguments) {
  const Value dict = make_dict(evaluator.budget(), members(evaluator, arguments));
  Namespace* const made = evaluator.make_namespace();
  if (!evaluator.budget().ok()) return {};
  for (const auto& [key, value] : dict.as_dict().items) {
    if (!key.is(Kind::kString)) return evaluator.fail("a namespace needs texts for names");
    made->attributes.emplace_back(key.as_string(), value);
  }
  return Value::name_space(made);
}

// Always a failure: what the template has to say to the client.
Value raise(Evaluator& evaluator, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "raise_exception", arguments, {"message"}, 1);
  const std::string message = to_text(budget, *slots[0]);
  return evaluator.fail(message);
}

Value strftime_now(Evaluator& evaluator, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "strftime_now", arguments, {"format"}, 1);
  constexpr std::size_t kMost = 256;
  const std::string format = to_text(budget, *slots[0]);
  if (!budget.ok() || format.empty()) return Value::string({});
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  char text[kMost];
  // The format is the operator's, and what strftime() makes of any is bounded by the buffer.
  const std::size_t size =
      format.size() < kMost ? std::strftime(text, kMost, format.c_str(), &local) : 0;
  if (size == 0) return evaluator.fail("strftime_now: the format is empty or too long");
  const std::string_view shown(text, size);
  if (valid_utf8_prefix(shown) != size) return evaluator.fail("strftime_now: no text");
  return make_text(budget, std::string(shown));
}

}  // namespace

Value call_function(Evaluator& evaluator, Function function, const Arguments& arguments) {
  switch (function) {
    case Function::kRange:
      return make_range(evaluator, arguments);
    case Function::kNamespace:
      return make_namespace(evaluator, arguments);
    case Function::kDict:
      return make_dict(evaluator.budget(), members(evaluator, arguments));
    case Function::kRaise:
      return raise(evaluator, arguments);
    case Function::kStrftimeNow:
      return strftime_now(evaluator, arguments);
  }
  return {};
}

}  // namespace fathom::text::jinja
