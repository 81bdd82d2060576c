#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "text/jinja/budget.h"

namespace fathom::text::jinja {

struct Sequence;
struct Dict;
struct Namespace;
struct LoopState;
struct Method;
struct Macro;

enum class Kind : std::uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kBigInt,  // a whole number past 64 bits: it can be carried, compared and written
  kFloat,
  kString,
  kSequence,
  kDict,
  kNamespace,
  kLoop,
  kFunction,
  kMethod,
  kMacro
};

// The functions that every template may call.
enum class Function : std::uint8_t { kRange, kNamespace, kDict, kRaise, kStrftimeNow };

// A value of the template language, with Python's meaning. Lists, tuples, dicts and texts are
// shared and never change; namespaces do, and belong to the rendering.
//
// Every text is valid UTF-8. No value nests deeper than kMostDepth.
//
// Threads: one.
class Value {
 public:
  static constexpr int kMostDepth = 200;

  // None.
  Value() : value_(std::in_place_index<1>) {}
  // `why` is what using it is refused with: "'x' is undefined".
  static Value undefined(std::string why);
  static Value boolean(bool value);
  static Value integer(std::int64_t value);
  static Value big_integer(std::string digits);
  static Value number(double value);
  static Value string(std::string value);
  static Value sequence(std::shared_ptr<Sequence> value);
  static Value dict(std::shared_ptr<const Dict> value);
  static Value name_space(Namespace* value);
  static Value loop(std::shared_ptr<LoopState> value);
  static Value function(Function value);
  static Value method(std::shared_ptr<const Method> value);
  static Value macro(const Macro* value);

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is(Kind kind_wanted) const { return kind() == kind_wanted; }
  bool is_undefined() const { return is(Kind::kUndefined); }
  bool is_none() const { return is(Kind::kNone); }
  // A bool counts as a number, as in Python.
  bool is_integral() const { return is(Kind::kBool) || is(Kind::kInt); }
  bool is_numeric() const { return is_integral() || is(Kind::kBigInt) || is(Kind::kFloat); }

  // Each requires that kind.
  const std::string& why_undefined() const;
  bool as_bool() const { return std::get<bool>(value_); }
  const std::string& as_digits() const;
  const std::string& as_string() const;
  const Sequence& as_sequence() const { return *std::get<std::shared_ptr<Sequence>>(value_); }
  const std::shared_ptr<Sequence>& shared_sequence() const {
    return std::get<std::shared_ptr<Sequence>>(value_);
  }
  const Dict& as_dict() const { return *std::get<std::shared_ptr<const Dict>>(value_); }
  const std::shared_ptr<const Dict>& shared_dict() const {
    return std::get<std::shared_ptr<const Dict>>(value_);
  }
  Namespace* as_namespace() const { return std::get<Namespace*>(value_); }
  const std::shared_ptr<LoopState>& as_loop() const {
    return std::get<std::shared_ptr<LoopState>>(value_);
  }
  Function as_function() const { return std::get<Function>(value_); }
  const Method& as_method() const { return *std::get<std::shared_ptr<const Method>>(value_); }
  const Macro* as_macro() const { return std::get<const Macro*>(value_); }
  // Requires is_integral().
  std::int64_t as_int() const;
  // Requires is_numeric().
  double as_float() const;

  // How many containers are inside each other, this one included.
  int depth() const;

 private:
  using Text = std::shared_ptr<const std::string>;
  struct Undefined {
    Text why;
  };
  struct BigInt {
    Text digits;
  };
  using Variant = std::variant<Undefined,
                               std::monostate,
                               bool,
                               std::int64_t,
                               BigInt,
                               double,
                               Text,
                               std::shared_ptr<Sequence>,
                               std::shared_ptr<const Dict>,
                               Namespace*,
                               std::shared_ptr<LoopState>,
                               Function,
                               std::shared_ptr<const Method>,
                               const Macro*>;
  explicit Value(Variant value) : value_(std::move(value)) {}

  Variant value_;  // in the order of Kind
};

enum class SequenceKind : std::uint8_t {
  kList,
  kTuple,
  kRange,
  kView,       // what dict.items() and its like give: a length, no places
  kGenerator,  // what filters like map give: can be gone through once
};

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  std::vector<Value> items;
  int depth = 1;
  bool consumed = false;  // a generator that has been gone through
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;  // no two keys are equal
  int depth = 1;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

// The variable `loop` of one run of a for loop.
struct LoopState {
  std::shared_ptr<const Sequence> items;
  std::size_t index = 0;  // from 0
};

enum class MethodName : std::uint8_t {
  kCapitalize,
  kCount,
  kEndsWith,
  kFind,
  kGet,
  kIndex,
  kIsAlnum,
  kIsAlpha,
  kIsDigit,
  kIsLower,
  kIsSpace,
  kIsUpper,
  kItems,
  kJoin,
  kKeys,
  kLoopCycle,
  kLower,
  kLstrip,
  kRemovePrefix,
  kRemoveSuffix,
  kReplace,
  kRfind,
  kRsplit,
  kRstrip,
  kSplit,
  kSplitLines,
  kStartsWith,
  kStrip,
  kTitle,
  kUpper,
  kValues,
  kUnsupported,  // a method that Python has and this subset has not
  kForbidden,    // one that would change its object
};

// A method taken from a value, to be called.
struct Method {
  Value self;
  MethodName name;
  std::string spelling;
};

// Python's name of the type: "str", "int", "Undefined" …
std::string_view type_name(const Value& value);

bool truthy(const Value& value);

// Makes a list or the like; fails when it would nest too deeply. None then.
Value make_sequence(Budget& budget, SequenceKind kind, std::vector<Value> items);
// Keys that repeat keep their first place and their last value. Fails on keys that cannot be one.
Value make_dict(Budget& budget, std::vector<std::pair<Value, Value>> items);
// A text, charged.
Value make_text(Budget& budget, std::string text);

// Whether Python could look the value up: no list, no dict and no tuple that has one.
bool hashable(Budget& budget, const Value& value);

// The member; null when there is none. Looks at the members in turn.
const Value* find(Budget& budget, const Dict& dict, const Value& key);
const Value* find(Budget& budget, const Dict& dict, std::string_view key);

// ==, as Python has it.
bool equal(Budget& budget, const Value& a, const Value& b);
// <, or a failure when the two have no order.
bool less(Budget& budget, const Value& a, const Value& b);

// The items that a loop over `value` goes through; null with a failure when there are none. Uses a
// generator up.
std::shared_ptr<const Sequence> iterate(Budget& budget, const Value& value);

// Copies numbers, texts, arrays and objects; a number past what a template computes with is kept by
// its digits.
Value from_json(Budget& budget, const Json& json);

}  // namespace fathom::text::jinja
