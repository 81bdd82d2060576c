#include <algorithm>
#include <utility>

#include "text/jinja/convert.h"
#include "text/jinja/evaluator.h"

// NOLINTBEGIN(misc-no-recursion): as deep as Budget::descend() lets it
namespace fathom::text::jinja {

class Evaluator::Inside {
 public:
  Inside(Evaluator& evaluator, Scope* parent)
      : evaluator_(evaluator), outside_(evaluator.scope_), scope_(std::make_unique<Scope>()) {
    scope_->parent = parent;
    evaluator_.scope_ = scope_.get();
  }
  explicit Inside(Evaluator& evaluator) : Inside(evaluator, evaluator.scope_) {}
  ~Inside() {
    evaluator_.scope_ = outside_;
    if (scope_->captured) evaluator_.captured_.push_back(std::move(scope_));
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Evaluator& evaluator_;
  Scope* outside_;
  std::unique_ptr<Scope> scope_;
};

class Evaluator::Capture {
 public:
  explicit Capture(Evaluator& evaluator)
      : evaluator_(evaluator), outer_(std::exchange(evaluator.out_, &text_)) {}
  ~Capture() { evaluator_.out_ = outer_; }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  Value take() { return Value::string(std::move(text_)); }

 private:
  Evaluator& evaluator_;
  std::string text_;
  std::string* outer_;
};

std::string Evaluator::run(const Variables& variables) {
  std::string text;
  out_ = &text;
  const Inside globals(*this, nullptr);
  for (const auto& [name, value] : variables) {
    const auto place = std::find(syntax_.names.begin(), syntax_.names.end(), name);
    if (place != syntax_.names.end()) {
      set(static_cast<NameId>(place - syntax_.names.begin()), value);
    }
  }
  execute(syntax_.body);
  return text;
}

void Evaluator::write(std::string_view text) {
  if (room(budget_, *out_, text.size())) *out_ += text;
}

void Evaluator::print(const Value& value) {
  if (value.is(Kind::kString)) {
    write(value.as_string());
  } else if (budget_.ok()) {
    append_text(budget_, *out_, value);
  }
}

Evaluator::Flow Evaluator::execute(const Body& body) {
  Flow flow = Flow::kOn;
  if (budget_.descend()) {
    for (const Statement& statement : body) {
      if (!budget_.spend(1)) break;
      flow = execute(statement);
      if (flow != Flow::kOn) break;
    }
  }
  budget_.ascend();
  return flow;
}

Evaluator::Flow Evaluator::execute(const Statement& statement) {
  budget_.at(statement.line);
  switch (statement.kind) {
    case StatementKind::kText:
      write(statement.text);
      return Flow::kOn;
    case StatementKind::kPrint:
      for (const ExpressionPointer& expression : statement.expressions)
        print(evaluate(*expression));
      return Flow::kOn;
    case StatementKind::kIf:
      return execute_if(statement);
    case StatementKind::kFor:
      return execute_for(statement);
    case StatementKind::kSet:
      assign(statement.target, evaluate(*statement.expressions[0]));
      return Flow::kOn;
    case StatementKind::kSetBlock:
      return execute_set_block(statement);
    case StatementKind::kWith:
      return execute_with(statement);
    case StatementKind::kFilter:
      return execute_filter(statement);
    case StatementKind::kScope:
      return execute_scope(statement.body);
    case StatementKind::kMacro:
      execute_macro(statement);
      return Flow::kOn;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

Evaluator::Flow Evaluator::execute_if(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition == nullptr) return execute(branch.body);
    const bool chosen = truthy(evaluate(*branch.condition));
    if (!budget_.ok()) return Flow::kOn;
    if (chosen) return execute(branch.body);
  }
  return Flow::kOn;
}

Evaluator::Flow Evaluator::execute_scope(const Body& body) {
  const Inside inside(*this);
  return execute(body);
}

Evaluator::Flow Evaluator::execute_with(const Statement& statement) {
  std::vector<Value> values = evaluate_all(statement.expressions);
  if (!budget_.ok()) return Flow::kOn;
  const Inside inside(*this);
  for (std::size_t i = 0; i < values.size(); ++i) assign(statement.targets[i], values[i]);
  return execute(statement.body);
}

Evaluator::Flow Evaluator::execute_set_block(const Statement& statement) {
  Flow flow = Flow::kOn;
  Value value;
  {
    Capture capture(*this);
    flow = execute_scope(statement.body);
    value = capture.take();
  }
  // A block that is left early sets nothing.
  if (flow != Flow::kOn || !budget_.ok()) return flow;
  if (statement.expressions[0]) {
    const Value* const outer = std::exchange(filtered_, &value);
    Value through = evaluate(*statement.expressions[0]);
    filtered_ = outer;
    value = std::move(through);
  }
  assign(statement.target, value);
  return flow;
}

Evaluator::Flow Evaluator::execute_filter(const Statement& statement) {
  Flow flow = Flow::kOn;
  Value value;
  {
    Capture capture(*this);
    flow = execute_scope(statement.body);
    value = capture.take();
  }
  if (flow != Flow::kOn || !budget_.ok()) return flow;
  const Value* const outer = std::exchange(filtered_, &value);
  print(evaluate(*statement.expressions[0]));
  filtered_ = outer;
  return flow;
}

// Whether an item passes the condition of its loop.
bool Evaluator::passes(const Statement& loop, const Value& item) {
  if (loop.expressions[1] == nullptr) return true;
  const Inside inside(*this);
  assign(loop.target, item);
  return truthy(evaluate(*loop.expressions[1]));
}

// What a loop goes through. Where its body asks for `loop`, whatever does not pass the condition is
// left out at once, so that there is a length.
std::shared_ptr<const Sequence> Evaluator::loop_items(const Statement& loop) {
  const Value value = evaluate(*loop.expressions[0]);
  if (!budget_.ok()) return nullptr;
  std::shared_ptr<const Sequence> items = iterate(budget_, value);
  if (items == nullptr || !loop.uses_loop || loop.expressions[1] == nullptr) return items;
  auto passing = std::make_shared<Sequence>();
  passing->depth = items->depth;
  for (const Value& item : items->items) {
    if (!budget_.spend(1)) return nullptr;
    if (!passes(loop, item)) continue;
    if (!budget_.take(sizeof(Value))) return nullptr;
    passing->items.push_back(item);
  }
  return passing;
}

Evaluator::Flow Evaluator::execute_for(const Statement& statement) {
  const std::shared_ptr<const Sequence> items = loop_items(statement);
  if (items == nullptr || !budget_.ok()) return Flow::kOn;
  std::shared_ptr<LoopState> state;
  if (statement.uses_loop) {
    state = std::make_shared<LoopState>();
    state->items = items;
    if (items->depth >= Value::kMostDepth) budget_.fail("values nest too deeply");
  }
  bool ran = false;
  for (std::size_t i = 0; i < items->items.size() && budget_.spend(1); ++i) {
    const Value& item = items->items[i];
    if (!statement.uses_loop && !passes(statement, item)) continue;
    ran = true;
    const Inside inside(*this);
    if (state) {
      state->index = i;
      set(syntax_.loop, Value::loop(state));
    }
    assign(statement.target, item);
    if (execute(statement.body) == Flow::kBreak) break;
  }
  if (!ran && budget_.ok()) return execute_scope(statement.other);
  return Flow::kOn;
}

void Evaluator::set(NameId name, Value value) {
  if (!budget_.spend(scope_->variables.size() / 16)) return;
  for (auto& [id, there] : scope_->variables) {
    if (id == name) {
      there = std::move(value);
      return;
    }
  }
  if (budget_.take(sizeof(Value))) scope_->variables.emplace_back(name, std::move(value));
}

void Evaluator::assign(const Target& target, const Value& value) {
  if (!budget_.ok()) return;
  if (target.kind == Target::Kind::kName) {
    set(target.name, value);
    return;
  }
  if (target.kind == Target::Kind::kAttribute) {
    const Value object = variable(target.name);
    if (!object.is(Kind::kNamespace)) {
      fail("an attribute of a " + std::string(type_name(object)) +
           " cannot be set, only one of a namespace");
      return;
    }
    auto& attributes = object.as_namespace()->attributes;
    if (!budget_.spend(attributes.size() / 8)) return;
    for (auto& [key, there] : attributes) {
      if (key == target.attribute) {
        there = value;
        return;
      }
    }
    if (budget_.take(sizeof(Value) + 64)) attributes.emplace_back(target.attribute, value);
    return;
  }
  const std::shared_ptr<const Sequence> items = iterate(budget_, value);
  if (items == nullptr) return;
  if (items->items.size() != target.parts.size()) {
    fail("expected " + std::to_string(target.parts.size()) + " values to assign, were " +
         std::to_string(items->items.size()));
    return;
  }
  for (std::size_t i = 0; i < target.parts.size(); ++i) assign(target.parts[i], items->items[i]);
}

void Evaluator::execute_macro(const Statement& statement) {
  if (!budget_.take(sizeof(Macro) + sizeof(Scope))) return;
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) {
    scope->captured = true;
  }
  macros_.push_back({statement.macro.get(), scope_});
  set(statement.macro->id, Value::macro(&macros_.back()));
}

// NOLINTNEXTLINE(readability-function-cognitive-complexity): one part for each kind of argument
bool Evaluator::bind_macro(const MacroSyntax& syntax, const Arguments& arguments) {
  const auto given = [&](std::size_t i) -> const Value* {
    if (i < arguments.positional.size()) return &arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
      if (name == syntax.parameters[i].spelling) return &value;
    }
    return nullptr;
  };
  for (std::size_t i = 0; i < syntax.parameters.size() && budget_.ok(); ++i) {
    const Parameter& parameter = syntax.parameters[i];
    if (const Value* value = given(i)) {
      set(parameter.name, *value);
    } else if (parameter.initial) {
      set(parameter.name, evaluate(*parameter.initial));
    } else {
      set(parameter.name,
          Value::undefined("parameter \"" + parameter.spelling + "\" was not provided"));
    }
  }
  std::vector<std::pair<Value, Value>> further;
  for (const auto& [name, value] : arguments.named) {
    std::size_t place = 0;
    while (place < syntax.parameters.size() && syntax.parameters[place].spelling != name) ++place;
    if (place < arguments.positional.size() && place < syntax.parameters.size()) {
      return budget_.fail("macro " + syntax.name + ": \"" + name + "\" is given twice");
    }
    if (place < syntax.parameters.size()) continue;
    if (!syntax.takes_kwargs) {
      return budget_.fail("macro " + syntax.name + ": has no parameter \"" + name + "\"");
    }
    further.emplace_back(Value::string(name), value);
  }
  if (syntax.takes_kwargs) set(syntax_.kwargs, make_dict(budget_, std::move(further)));
  const std::size_t taken = std::min(arguments.positional.size(), syntax.parameters.size());
  std::vector<Value> rest(arguments.positional.begin() + static_cast<std::ptrdiff_t>(taken),
                          arguments.positional.end());
  if (syntax.takes_varargs) {
    set(syntax_.varargs, make_sequence(budget_, SequenceKind::kTuple, std::move(rest)));
  } else if (!rest.empty()) {
    return budget_.fail("macro " + syntax.name + ": takes at most " +
                        std::to_string(syntax.parameters.size()) + " arguments");
  }
  return budget_.ok();
}

Value Evaluator::call_macro(const Macro& macro, const Arguments& arguments) {
  if (!budget_.take(sizeof(Scope))) return {};
  const int line = budget_.line();
  Value value;
  {
    const Inside inside(*this, macro.scope);
    if (bind_macro(*macro.syntax, arguments)) {
      Capture capture(*this);
      execute(macro.syntax->body);
      value = capture.take();
    }
  }
  if (budget_.ok()) budget_.at(line);
  return value;
}

}  // namespace fathom::text::jinja
// NOLINTEND(misc-no-recursion)
