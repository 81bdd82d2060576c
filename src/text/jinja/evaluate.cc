#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/jinja/convert.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"

// NOLINTBEGIN(misc-no-recursion): as deep as Budget::descend() lets it
namespace fathom::text::jinja {

Value Evaluator::evaluate(const Expression& expression) {
  Value value;
  if (budget_.descend() && budget_.spend(1)) {
    budget_.at(expression.line);
    value = evaluate_at(expression);
  }
  budget_.ascend();
  return value;
}

// NOLINTNEXTLINE(readability-function-cognitive-complexity): one case for each kind
Value Evaluator::evaluate_at(const Expression& expression) {
  const auto operand = [&](std::size_t i) { return evaluate(*expression.operands[i]); };
  switch (expression.kind) {
    case ExpressionKind::kConstant:
      return expression.constant;
    case ExpressionKind::kName:
      return variable(expression.name);
    case ExpressionKind::kList:
      return make_sequence(budget_, SequenceKind::kList, evaluate_all(expression.operands));
    case ExpressionKind::kTuple:
      return make_sequence(budget_, SequenceKind::kTuple, evaluate_all(expression.operands));
    case ExpressionKind::kDict:
      return evaluate_dict(expression);
    case ExpressionKind::kAttribute:
      return attribute(operand(0), expression.text);
    case ExpressionKind::kItem: {
      const Value object = operand(0);
      return item(object, operand(1));
    }
    case ExpressionKind::kSlice:
      return evaluate_slice(expression);
    case ExpressionKind::kCall:
      return evaluate_call(expression);
    case ExpressionKind::kFilter: {
      const Value value = expression.operands[0] ? operand(0) : *filtered_;
      return filter(expression.text, value, evaluate_arguments(expression.arguments));
    }
    case ExpressionKind::kTest: {
      const Value value = operand(0);
      return Value::boolean(test(expression.text, value, evaluate_arguments(expression.arguments)));
    }
    case ExpressionKind::kNegative:
      return negate(budget_, operand(0));
    case ExpressionKind::kPositive: {
      Value value = operand(0);
      if (value.is(Kind::kBool)) return Value::integer(value.as_int());
      if (!value.is_numeric())
        return fail("\"+\" does not work on a " + std::string(type_name(value)));
      return value;
    }
    case ExpressionKind::kArithmetic: {
      Value value = operand(0);
      for (std::size_t i = 0; i < expression.operators.size() && budget_.ok(); ++i) {
        const Value right = operand(i + 1);
        budget_.at(expression.line);
        value = calculate(budget_, expression.operators[i], value, right);
      }
      return value;
    }
    case ExpressionKind::kConcat:
      return evaluate_concat(expression);
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr: {
      const bool ends_at = expression.kind == ExpressionKind::kOr;
      Value value = operand(0);
      for (std::size_t i = 1; i < expression.operands.size() && truthy(value) != ends_at; ++i) {
        value = operand(i);
      }
      return value;
    }
    case ExpressionKind::kNot:
      return Value::boolean(!truthy(operand(0)));
    case ExpressionKind::kCompare:
      return Value::boolean(evaluate_compare(expression));
    case ExpressionKind::kConditional:
      if (truthy(operand(1))) return operand(0);
      if (expression.operands[2]) return operand(2);
      return Value::undefined("the conditional expression has no else");
  }
  return {};
}

std::vector<Value> Evaluator::evaluate_all(const std::vector<ExpressionPointer>& expressions) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const ExpressionPointer& expression : expressions) {
    if (!budget_.ok()) break;
    values.push_back(evaluate(*expression));
  }
  return values;
}

Value Evaluator::variable(NameId name) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (!budget_.spend(scope->variables.size() / 16)) return {};
    for (const auto& [id, value] : scope->variables) {
      if (id == name) return value;
    }
  }
  const std::string& text = syntax_.names[name];
  if (text == "range") return Value::function(Function::kRange);
  if (text == "namespace") return Value::function(Function::kNamespace);
  if (text == "dict") return Value::function(Function::kDict);
  if (text == "raise_exception") return Value::function(Function::kRaise);
  if (text == "strftime_now") return Value::function(Function::kStrftimeNow);
  return Value::undefined("\"" + text + "\" is undefined");
}

Value Evaluator::evaluate_dict(const Expression& expression) {
  std::vector<std::pair<Value, Value>> items;
  for (std::size_t i = 0; i + 1 < expression.operands.size() && budget_.ok(); i += 2) {
    Value key = evaluate(*expression.operands[i]);
    items.emplace_back(std::move(key), evaluate(*expression.operands[i + 1]));
  }
  return make_dict(budget_, std::move(items));
}

Value Evaluator::evaluate_slice(const Expression& expression) {
  const Value object = evaluate(*expression.operands[0]);
  Value parts[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (expression.operands[i + 1]) parts[i] = evaluate(*expression.operands[i + 1]);
  }
  if (!budget_.ok()) return {};
  return slice(budget_, object, parts[0], parts[1], parts[2]);
}

Value Evaluator::evaluate_concat(const Expression& expression) {
  std::string text;
  for (const ExpressionPointer& operand : expression.operands) {
    const Value value = evaluate(*operand);
    if (!budget_.ok()) return {};
    append_text(budget_, text, value);
  }
  return Value::string(std::move(text));
}

bool Evaluator::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.operands[0]);
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.operands[i + 1]);
    budget_.at(expression.line);
    if (!compare(budget_, expression.operators[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Evaluator::evaluate_arguments(const ArgumentList& list) {
  Arguments arguments;
  arguments.positional = evaluate_all(list.positional);
  for (const auto& [name, expression] : list.named) {
    if (!budget_.ok()) return arguments;
    arguments.named.emplace_back(name, evaluate(*expression));
  }
  if (list.spread && budget_.ok()) {
    const std::shared_ptr<const Sequence> items = iterate(budget_, evaluate(*list.spread));
    if (items == nullptr || !budget_.take(items->items.size() * sizeof(Value))) return arguments;
    arguments.positional.insert(arguments.positional.end(), items->items.begin(),
                                items->items.end());
  }
  if (list.spread_named && budget_.ok()) {
    const Value named = evaluate(*list.spread_named);
    if (!named.is(Kind::kDict)) {
      fail("\"**\" needs a dict, not a " + std::string(type_name(named)));
      return arguments;
    }
    for (const auto& [key, value] : named.as_dict().items) {
      if (!budget_.take(sizeof(Value))) return arguments;
      if (!key.is(Kind::kString)) {
        fail("\"**\" needs texts for names");
        return arguments;
      }
      arguments.named.emplace_back(key.as_string(), value);
    }
  }
  return arguments;
}

Value Evaluator::evaluate_call(const Expression& expression) {
  const Value callee = evaluate(*expression.operands[0]);
  const Arguments arguments = evaluate_arguments(expression.arguments);
  if (!budget_.ok()) return {};
  budget_.at(expression.line);
  return call(callee, arguments);
}

Value Evaluator::call(const Value& callee, const Arguments& arguments) {
  switch (callee.kind()) {
    case Kind::kFunction:
      return call_function(*this, callee.as_function(), arguments);
    case Kind::kMethod:
      return call_method(*this, callee.as_method(), arguments);
    case Kind::kMacro:
      return call_macro(*callee.as_macro(), arguments);
    case Kind::kUndefined:
      return fail(callee.why_undefined());
    case Kind::kLoop:
      return fail("recursive loops are not supported");
    default:
      return fail("a " + std::string(type_name(callee)) + " cannot be called");
  }
}

Value Evaluator::filter(const std::string& name, const Value& value, const Arguments& arguments) {
  if (!budget_.ok()) return {};
  const Filter found = find_filter(name);
  if (found == nullptr) return fail("there is no filter \"" + name + "\"");
  return found(*this, value, arguments);
}

bool Evaluator::test(const std::string& name, const Value& value, const Arguments& arguments) {
  if (!budget_.ok()) return false;
  const Test found = find_test(name);
  if (found == nullptr) return budget_.fail("there is no test \"" + name + "\"");
  return found(*this, value, arguments);
}

Namespace* Evaluator::make_namespace() {
  if (!budget_.take(sizeof(Namespace))) return nullptr;
  return &namespaces_.emplace_back();
}

namespace {

std::string missing(const Value& object, const std::string& name) {
  return "a " + std::string(type_name(object)) + " has no \"" + name + "\"";
}

}  // namespace

Value Evaluator::loop_attribute(const Value& object, const std::string& name) {
  const LoopState& loop = *object.as_loop();
  const auto integer = [](std::size_t value) {
    return Value::integer(static_cast<std::int64_t>(value));
  };
  const std::vector<Value>& items = loop.items->items;
  if (name == "index") return integer(loop.index + 1);
  if (name == "index0") return integer(loop.index);
  if (name == "revindex") return integer(items.size() - loop.index);
  if (name == "revindex0") return integer(items.size() - loop.index - 1);
  if (name == "first") return Value::boolean(loop.index == 0);
  if (name == "last") return Value::boolean(loop.index + 1 == items.size());
  if (name == "length") return integer(items.size());
  // How deep a loop calls itself, which none does.
  if (name == "depth") return Value::integer(1);
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem") {
    return loop.index == 0 ? Value::undefined("there is no previous item") : items[loop.index - 1];
  }
  if (name == "nextitem") {
    return loop.index + 1 == items.size() ? Value::undefined("there is no next item")
                                          : items[loop.index + 1];
  }
  if (name == "changed") return fail("loop.changed is not supported");
  if (std::shared_ptr<const Method> method = find_method(object, name)) {
    return Value::method(std::move(method));
  }
  return Value::undefined(missing(object, name));
}

Value Evaluator::dict_attribute(const Value& object, const std::string& name) {
  if (std::shared_ptr<const Method> method = find_method(object, name)) {
    return Value::method(std::move(method));
  }
  const Value* const found = find(budget_, object.as_dict(), std::string_view(name));
  return found != nullptr ? *found : Value::undefined(missing(object, name));
}

Value Evaluator::attribute(const Value& object, const std::string& name) {
  if (!budget_.ok()) return {};
  switch (object.kind()) {
    case Kind::kUndefined:
      return fail(object.why_undefined());
    case Kind::kDict:
      return dict_attribute(object, name);
    case Kind::kLoop:
      return loop_attribute(object, name);
    case Kind::kNamespace:
      if (!budget_.spend(object.as_namespace()->attributes.size() / 8)) return {};
      for (const auto& [key, value] : object.as_namespace()->attributes) {
        if (key == name) return value;
      }
      return Value::undefined(missing(object, name));
    default:
      if (std::shared_ptr<const Method> method = find_method(object, name)) {
        return Value::method(std::move(method));
      }
      return Value::undefined(missing(object, name));
  }
}

Value Evaluator::item(const Value& object, const Value& key) {
  if (!budget_.ok()) return {};
  if (object.is_undefined()) return fail(object.why_undefined());
  if (object.is(Kind::kDict)) {
    // A list is equal to no key, as none can be one.
    if (const Value* found = find(budget_, object.as_dict(), key)) return *found;
  }
  if (key.is(Kind::kString)) return attribute(object, key.as_string());
  if (key.is_integral()) {
    const bool has_places = object.is(Kind::kSequence) &&
                            object.as_sequence().kind != SequenceKind::kGenerator &&
                            object.as_sequence().kind != SequenceKind::kView;
    if (has_places || object.is(Kind::kString)) {
      const std::int64_t size = length(budget_, object);
      std::int64_t at = key.as_int();
      if (at < 0 && at >= -size) at += size;
      if (at >= 0 && at < size) {
        const auto index = static_cast<std::size_t>(at);
        if (has_places) return object.as_sequence().items[index];
        const Value begin = Value::integer(at);
        return slice(budget_, object, begin, Value::integer(at + 1), Value());
      }
    }
  }
  std::string shown;
  if (key.is_numeric()) shown = " " + to_text(budget_, key);
  return Value::undefined("a " + std::string(type_name(object)) + " has no item" + shown);
}

Slots bind(Budget& budget,
           std::string_view what,
           const Arguments& arguments,
           std::initializer_list<std::string_view> names,
           std::size_t required) {
  Slots slots(names.size(), nullptr);
  const std::string caller = std::string(what) + ": ";
  const auto fail = [&](std::string_view before, std::string_view name, std::string_view behind) {
    std::string message = caller;
    message.append(before).append("\"").append(name).append("\"").append(behind);
    budget.fail(message);
  };
  const std::size_t given = arguments.positional.size();
  if (given > names.size()) {
    budget.fail(caller + "takes at most " + std::to_string(names.size()) + " arguments, got " +
                std::to_string(given));
  }
  for (std::size_t i = 0; i < std::min(given, names.size()); ++i) {
    slots[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.named) {
    const auto* const place = std::find(names.begin(), names.end(), name);
    if (place == names.end()) {
      fail("has no parameter ", name, "");
      continue;
    }
    const Value*& slot = slots[static_cast<std::size_t>(place - names.begin())];
    if (slot != nullptr) fail("", name, " is given twice");
    slot = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (slots[i] != nullptr) continue;
    fail("needs ", names.begin()[i], "");
    static const Value none;
    slots[i] = &none;  // so that callers may look
  }
  return slots;
}

std::int64_t integer_or(Budget& budget, const Value* value, std::int64_t fallback) {
  if (value == nullptr || value->is_none()) return fallback;
  if (value->is_integral()) return value->as_int();
  budget.fail("expected a whole number, was a " + std::string(type_name(*value)));
  return fallback;
}

bool truth_or(const Value* value, bool fallback) {
  return value == nullptr ? fallback : truthy(*value);
}

}  // namespace fathom::text::jinja
// NOLINTEND(misc-no-recursion)
