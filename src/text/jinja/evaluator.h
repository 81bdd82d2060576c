#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/budget.h"
#include "text/jinja/syntax.h"
#include "text/jinja/value.h"

namespace fathom::text::jinja {

// What a call passes.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Variables of one run of a block. One that a macro was made in lives as long as the rendering, as
// the macro may look at it later.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<NameId, Value>> variables;
  bool captured = false;
};

struct Macro {
  const MacroSyntax* syntax;
  Scope* scope;
};

// One rendering of a template.
//
// Threads: one.
class Evaluator {
 public:
  using Variables = std::vector<std::pair<std::string, Value>>;

  // Both must outlive the evaluator, and it the values that come from it.
  Evaluator(const Syntax& syntax, Budget& budget) : syntax_(syntax), budget_(budget) {}

  // The text of the template; without meaning after a failure. To be called once.
  std::string run(const Variables& variables);

  Budget& budget() { return budget_; }

  Value evaluate(const Expression& expression);
  // object.name and object[key], the way Jinja looks them up.
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  Value call(const Value& callee, const Arguments& arguments);
  Value filter(const std::string& name, const Value& value, const Arguments& arguments);
  bool test(const std::string& name, const Value& value, const Arguments& arguments);

  // A failure, as a value.
  Value fail(std::string_view message) {
    budget_.fail(message);
    return {};
  }
  Namespace* make_namespace();

 private:
  enum class Flow : std::uint8_t { kOn, kBreak, kContinue };
  // A scope while it is in use.
  class Inside;
  // Sends what is written to a text of its own.
  class Capture;

  // evaluate.cc
  Value evaluate_at(const Expression& expression);
  Value variable(NameId name) const;
  Value evaluate_dict(const Expression& expression);
  Value evaluate_call(const Expression& expression);
  Value evaluate_concat(const Expression& expression);
  bool evaluate_compare(const Expression& expression);
  Value evaluate_slice(const Expression& expression);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPointer>& expressions);
  Arguments evaluate_arguments(const ArgumentList& list);
  Value dict_attribute(const Value& object, const std::string& name);
  Value loop_attribute(const Value& object, const std::string& name);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  bool bind_macro(const MacroSyntax& syntax, const Arguments& arguments);

  // execute.cc
  Flow execute(const Body& body);
  Flow execute(const Statement& statement);
  Flow execute_if(const Statement& statement);
  Flow execute_for(const Statement& statement);
  Flow execute_scope(const Body& body);
  Flow execute_with(const Statement& statement);
  Flow execute_set_block(const Statement& statement);
  Flow execute_filter(const Statement& statement);
  void execute_macro(const Statement& statement);
  bool passes(const Statement& loop, const Value& item);
  std::shared_ptr<const Sequence> loop_items(const Statement& loop);
  void assign(const Target& target, const Value& value);
  void set(NameId name, Value value);
  void write(std::string_view text);
  void print(const Value& value);

  const Syntax& syntax_;
  Budget& budget_;
  std::string* out_ = nullptr;
  Scope* scope_ = nullptr;
  const Value* filtered_ = nullptr;  // what a filter without operand works on
  std::deque<Macro> macros_;
  std::deque<Namespace> namespaces_;
  std::vector<std::unique_ptr<Scope>> captured_;
};

// The arguments of a call in the order of its parameters; null where there is none.
using Slots = std::vector<const Value*>;

// Finds them by the parameters' names. Fails when there are others, and when one of the first
// `required` is missing. What it returns is good as long as `arguments` and has a place for each
// name; those of the first `required` are never null, not even after a failure.
Slots bind(Budget& budget,
           std::string_view what,
           const Arguments& arguments,
           std::initializer_list<std::string_view> names,
           std::size_t required = 0);

// A parameter that is a whole number, a text or a truth; `fallback` when it is not given or None.
std::int64_t integer_or(Budget& budget, const Value* value, std::int64_t fallback);
bool truth_or(const Value* value, bool fallback);

// The functions, methods, filters and tests.
Value call_function(Evaluator& evaluator, Function function, const Arguments& arguments);
Value call_method(Evaluator& evaluator, const Method& method, const Arguments& arguments);
// The method of a value by its name; nothing when its type has no such method.
std::shared_ptr<const Method> find_method(const Value& self, const std::string& name);
using Filter = Value (*)(Evaluator& evaluator, const Value& value, const Arguments& arguments);
Filter find_filter(std::string_view name);  // null: there is none
using Test = bool (*)(Evaluator& evaluator, const Value& value, const Arguments& arguments);
Test find_test(std::string_view name);

}  // namespace fathom::text::jinja
