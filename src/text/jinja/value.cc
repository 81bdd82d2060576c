#include "text/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "text/utf8.h"

namespace fathom::text::jinja {

Value Value::undefined(std::string why) {
  return Value(Variant(Undefined{std::make_shared<const std::string>(std::move(why))}));
}
Value Value::boolean(bool value) { return Value(Variant(value)); }
Value Value::integer(std::int64_t value) { return Value(Variant(value)); }
Value Value::big_integer(std::string digits) {
  return Value(Variant(BigInt{std::make_shared<const std::string>(std::move(digits))}));
}
Value Value::number(double value) { return Value(Variant(value)); }
Value Value::string(std::string value) {
  return Value(Variant(std::make_shared<const std::string>(std::move(value))));
}
Value Value::sequence(std::shared_ptr<Sequence> value) { return Value(Variant(std::move(value))); }
Value Value::dict(std::shared_ptr<const Dict> value) { return Value(Variant(std::move(value))); }
Value Value::name_space(Namespace* value) { return Value(Variant(value)); }
Value Value::loop(std::shared_ptr<LoopState> value) { return Value(Variant(std::move(value))); }
Value Value::function(Function value) { return Value(Variant(value)); }
Value Value::method(std::shared_ptr<const Method> value) {
  return Value(Variant(std::move(value)));
}
Value Value::macro(const Macro* value) { return Value(Variant(value)); }

const std::string& Value::why_undefined() const { return *std::get<Undefined>(value_).why; }
const std::string& Value::as_digits() const { return *std::get<BigInt>(value_).digits; }
const std::string& Value::as_string() const { return *std::get<Text>(value_); }

std::int64_t Value::as_int() const {
  return is(Kind::kBool) ? static_cast<std::int64_t>(as_bool()) : std::get<std::int64_t>(value_);
}

double Value::as_float() const {
  if (is(Kind::kFloat)) return std::get<double>(value_);
  if (!is(Kind::kBigInt)) return static_cast<double>(as_int());
  const std::string& digits = as_digits();
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) {
    value = digits.front() == '-' ? -std::numeric_limits<double>::infinity()
                                  : std::numeric_limits<double>::infinity();
  }
  return value;
}

int Value::depth() const {
  switch (kind()) {
    case Kind::kSequence:
      return as_sequence().depth;
    case Kind::kDict:
      return as_dict().depth;
    case Kind::kLoop:
      return as_loop()->items->depth + 1;
    case Kind::kMethod:
      return as_method().self.depth() + 1;
    default:
      return 0;
  }
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kSequence:
      switch (value.as_sequence().kind) {
        case SequenceKind::kList:
          return "list";
        case SequenceKind::kTuple:
          return "tuple";
        case SequenceKind::kRange:
          return "range";
        case SequenceKind::kView:
          return "dict view";
        case SequenceKind::kGenerator:
          return "generator";
      }
      return "list";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kFunction:
    case Kind::kMethod:
      return "function";
    case Kind::kMacro:
      return "Macro";
  }
  return "object";
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_float() != 0;
    case Kind::kString:
      return !value.as_string().empty();
    case Kind::kSequence:
      return value.as_sequence().kind == SequenceKind::kGenerator ||
             !value.as_sequence().items.empty();
    case Kind::kDict:
      return !value.as_dict().items.empty();
    default:
      return true;
  }
}

namespace {

bool bounded(Budget& budget, int depth) {
  if (depth <= Value::kMostDepth) return true;
  return budget.fail("values nest deeper than " + std::to_string(Value::kMostDepth));
}

// Steps that a search through so many members costs.
std::size_t search_cost(std::size_t members) { return 1 + members / 8; }

}  // namespace

// As deep as the value. Tuples may share their items, so that there are more ways through one than
// it has items. NOLINTNEXTLINE(misc-no-recursion)
bool hashable(Budget& budget, const Value& value) {
  if (!budget.spend(1) || value.is(Kind::kDict)) return false;
  if (!value.is(Kind::kSequence)) return true;
  const Sequence& sequence = value.as_sequence();
  if (sequence.kind != SequenceKind::kTuple) return sequence.kind != SequenceKind::kList;
  return std::all_of(sequence.items.begin(), sequence.items.end(),
                     // NOLINTNEXTLINE(misc-no-recursion)
                     [&budget](const Value& item) { return hashable(budget, item); });
}

Value make_sequence(Budget& budget, SequenceKind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  for (const Value& item : items) sequence->depth = std::max(sequence->depth, item.depth() + 1);
  if (!budget.take(sizeof(Sequence) + items.size() * sizeof(Value)) ||
      !budget.spend(items.size()) || !bounded(budget, sequence->depth)) {
    return {};
  }
  sequence->items = std::move(items);
  return Value::sequence(std::move(sequence));
}

// Its members are moved from. NOLINTNEXTLINE(performance-unnecessary-value-param)
Value make_dict(Budget& budget, std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_shared<Dict>();
  if (!budget.take(sizeof(Dict) + items.size() * 2 * sizeof(Value))) return {};
  for (auto& [key, value] : items) {
    const bool sequence = key.is(Kind::kSequence);
    if (!hashable(budget, key) || (sequence && key.as_sequence().kind != SequenceKind::kTuple)) {
      budget.fail("a " + std::string(type_name(key)) + " cannot be a key");
      return {};
    }
    dict->depth = std::max({dict->depth, key.depth() + 1, value.depth() + 1});
    const Value* const there = find(budget, *dict, key);
    if (!budget.ok() || !bounded(budget, dict->depth)) return {};
    if (there != nullptr) {
      *const_cast<Value*>(there) = std::move(value);
    } else {
      dict->items.emplace_back(std::move(key), std::move(value));
    }
  }
  return Value::dict(std::move(dict));
}

Value make_text(Budget& budget, std::string text) {
  if (!budget.take_text(text.size())) return {};
  return Value::string(std::move(text));
}

const Value* find(Budget& budget, const Dict& dict, const Value& key) {
  if (key.is(Kind::kString)) return find(budget, dict, std::string_view(key.as_string()));
  if (!budget.spend(search_cost(dict.items.size()))) return nullptr;
  for (const auto& [name, value] : dict.items) {
    if (equal(budget, name, key)) return &value;
  }
  return nullptr;
}

const Value* find(Budget& budget, const Dict& dict, std::string_view key) {
  if (!budget.spend(search_cost(dict.items.size()))) return nullptr;
  for (const auto& [name, value] : dict.items) {
    if (name.is(Kind::kString) && name.as_string() == key) return &value;
  }
  return nullptr;
}

namespace {

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
  if (a.is(Kind::kBigInt) && b.is(Kind::kBigInt)) return a.as_digits() == b.as_digits();
  // One of them is past 64 bits, the other is not.
  if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) return false;
  return a.as_float() == b.as_float();
}

// As deep as the values. NOLINTNEXTLINE(misc-no-recursion)
bool equal_sequences(Budget& budget, const Value& a, const Value& b) {
  if (a.shared_sequence() == b.shared_sequence()) return true;
  const Sequence& left = a.as_sequence();
  const Sequence& right = b.as_sequence();
  if (left.kind != right.kind || left.items.size() != right.items.size()) return false;
  if (left.kind == SequenceKind::kGenerator) return false;
  for (std::size_t i = 0; i < left.items.size() && budget.spend(1); ++i) {
    if (!equal(budget, left.items[i], right.items[i])) return false;
  }
  return budget.ok();
}

// NOLINTNEXTLINE(misc-no-recursion)
bool equal_dicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* const other = find(budget, b, key);
    if (other == nullptr || !equal(budget, value, *other)) return false;
  }
  return budget.ok();
}

}  // namespace

// NOLINTNEXTLINE(misc-no-recursion)
bool equal(Budget& budget, const Value& a, const Value& b) {
  if (a.is_numeric() && b.is_numeric()) return equal_numbers(a, b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return budget.spend(a.as_string().size() / 256) && a.as_string() == b.as_string();
    case Kind::kSequence:
      return equal_sequences(budget, a, b);
    case Kind::kDict:
      return equal_dicts(budget, a.as_dict(), b.as_dict());
    case Kind::kNamespace:
      return a.as_namespace() == b.as_namespace();
    case Kind::kLoop:
      return a.as_loop() == b.as_loop();
    case Kind::kFunction:
      return a.as_function() == b.as_function();
    case Kind::kMacro:
      return a.as_macro() == b.as_macro();
    default:
      return false;
  }
}

// NOLINTNEXTLINE(misc-no-recursion)
bool less(Budget& budget, const Value& a, const Value& b) {
  if (a.is_numeric() && b.is_numeric()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int();
    return a.as_float() < b.as_float();
  }
  if (a.is(Kind::kString) && b.is(Kind::kString)) {
    // UTF-8 sorts as its code points do.
    return budget.spend(a.as_string().size() / 256) && a.as_string() < b.as_string();
  }
  if (a.is_undefined()) return budget.fail(a.why_undefined());
  if (b.is_undefined()) return budget.fail(b.why_undefined());
  if (a.is(Kind::kSequence) && b.is(Kind::kSequence)) {
    const Sequence& left = a.as_sequence();
    const Sequence& right = b.as_sequence();
    const bool ordered = left.kind == right.kind &&
                         (left.kind == SequenceKind::kList || left.kind == SequenceKind::kTuple);
    if (ordered) {
      const std::size_t common = std::min(left.items.size(), right.items.size());
      for (std::size_t i = 0; i < common && budget.spend(1); ++i) {
        if (!equal(budget, left.items[i], right.items[i])) {
          return less(budget, left.items[i], right.items[i]);
        }
      }
      return left.items.size() < right.items.size();
    }
  }
  return budget.fail("'<' is not supported between " + std::string(type_name(a)) + " and " +
                     std::string(type_name(b)));
}

std::shared_ptr<const Sequence> iterate(Budget& budget, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return std::make_shared<const Sequence>();
    case Kind::kSequence: {
      Sequence& sequence = *value.shared_sequence();
      if (sequence.kind == SequenceKind::kGenerator) {
        if (sequence.consumed) return std::make_shared<const Sequence>();
        sequence.consumed = true;
      }
      return value.shared_sequence();
    }
    case Kind::kString: {
      const std::string& text = value.as_string();
      auto letters = std::make_shared<Sequence>();
      for (std::size_t at = 0; at < text.size();) {
        if (!budget.take(2 * sizeof(Value) + 64)) return nullptr;
        const std::size_t size = decode_trusted(text.data() + at).size;
        letters->items.push_back(Value::string(text.substr(at, size)));
        at += size;
      }
      return letters;
    }
    case Kind::kDict: {
      auto keys = std::make_shared<Sequence>();
      if (!budget.take(value.as_dict().items.size() * sizeof(Value))) return nullptr;
      for (const auto& [key, item] : value.as_dict().items) keys->items.push_back(key);
      keys->depth = value.depth();
      return keys;
    }
    default:
      budget.fail("a " + std::string(type_name(value)) + " cannot be gone through");
      return nullptr;
  }
}

namespace {

Value number_from_json(Budget& budget, const std::string& text) {
  if (text.find_first_of(".eE") != std::string::npos) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc::result_out_of_range) {
      // Either past the largest or below the least: the sign of the exponent tells.
      const bool small =
          text.find("e-") != std::string::npos || text.find("E-") != std::string::npos;
      value = small ? 0 : std::numeric_limits<double>::infinity();
      if (text.front() == '-') value = -value;
    }
    return Value::number(value);
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{}) return Value::integer(value);
  if (!budget.take(text.size())) return {};
  return Value::big_integer(text);
}

Value text_from_json(Budget& budget, const std::string& text) {
  if (valid_utf8_prefix(text) == text.size()) return make_text(budget, text);
  std::string repaired;
  Utf8Repair repair;
  repair.push(text, repaired);
  repair.flush(repaired);
  return make_text(budget, std::move(repaired));
}

}  // namespace

// As deep as the JSON, which its parser has bounded. NOLINTNEXTLINE(misc-no-recursion)
Value from_json(Budget& budget, const Json& json) {
  if (!budget.spend(1)) return {};
  switch (json.kind()) {
    case Json::Kind::kNull:
      return {};
    case Json::Kind::kBool:
      return Value::boolean(*json.as_bool());
    case Json::Kind::kNumber:
      return number_from_json(budget, *json.as_number_text());
    case Json::Kind::kString:
      return text_from_json(budget, *json.as_string());
    case Json::Kind::kArray: {
      std::vector<Value> items;
      items.reserve(json.as_array()->size());
      for (const Json& element : *json.as_array()) items.push_back(from_json(budget, element));
      return make_sequence(budget, SequenceKind::kList, std::move(items));
    }
    case Json::Kind::kObject: {
      // Keys of an object are unique, so they need no search.
      auto dict = std::make_shared<Dict>();
      if (!budget.take(sizeof(Dict) + json.as_object()->size() * 2 * sizeof(Value))) return {};
      dict->items.reserve(json.as_object()->size());
      for (const JsonMember& member : *json.as_object()) {
        Value value = from_json(budget, member.value);
        dict->depth = std::max(dict->depth, value.depth() + 1);
        dict->items.emplace_back(text_from_json(budget, member.key), std::move(value));
      }
      if (!bounded(budget, dict->depth)) return {};
      return Value::dict(std::move(dict));
    }
  }
  return {};
}

}  // namespace fathom::text::jinja
