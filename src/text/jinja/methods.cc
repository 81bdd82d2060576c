#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

#include "text/jinja/convert.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"

namespace fathom::text::jinja {

namespace {

struct Entry {
  std::string_view spelling;
  MethodName name;
};

constexpr Entry kOfText[] = {
    {"capitalize", MethodName::kCapitalize},
    {"count", MethodName::kCount},
    {"endswith", MethodName::kEndsWith},
    {"find", MethodName::kFind},
    {"index", MethodName::kIndex},
    {"isalnum", MethodName::kIsAlnum},
    {"isalpha", MethodName::kIsAlpha},
    {"isdigit", MethodName::kIsDigit},
    {"islower", MethodName::kIsLower},
    {"isspace", MethodName::kIsSpace},
    {"isupper", MethodName::kIsUpper},
    {"join", MethodName::kJoin},
    {"lower", MethodName::kLower},
    {"lstrip", MethodName::kLstrip},
    {"removeprefix", MethodName::kRemovePrefix},
    {"removesuffix", MethodName::kRemoveSuffix},
    {"replace", MethodName::kReplace},
    {"rfind", MethodName::kRfind},
    {"rsplit", MethodName::kRsplit},
    {"rstrip", MethodName::kRstrip},
    {"split", MethodName::kSplit},
    {"splitlines", MethodName::kSplitLines},
    {"startswith", MethodName::kStartsWith},
    {"strip", MethodName::kStrip},
    {"title", MethodName::kTitle},
    {"upper", MethodName::kUpper},
    {"casefold", MethodName::kUnsupported},
    {"center", MethodName::kUnsupported},
    {"encode", MethodName::kUnsupported},
    {"expandtabs", MethodName::kUnsupported},
    {"format", MethodName::kUnsupported},
    {"format_map", MethodName::kUnsupported},
    {"isascii", MethodName::kUnsupported},
    {"isdecimal", MethodName::kUnsupported},
    {"isidentifier", MethodName::kUnsupported},
    {"isnumeric", MethodName::kUnsupported},
    {"isprintable", MethodName::kUnsupported},
    {"istitle", MethodName::kUnsupported},
    {"ljust", MethodName::kUnsupported},
    {"maketrans", MethodName::kUnsupported},
    {"partition", MethodName::kUnsupported},
    {"rindex", MethodName::kUnsupported},
    {"rjust", MethodName::kUnsupported},
    {"rpartition", MethodName::kUnsupported},
    {"swapcase", MethodName::kUnsupported},
    {"translate", MethodName::kUnsupported},
    {"zfill", MethodName::kUnsupported},
};

constexpr Entry kOfDict[] = {
    {"get", MethodName::kGet},           {"items", MethodName::kItems},
    {"keys", MethodName::kKeys},         {"values", MethodName::kValues},
    {"copy", MethodName::kUnsupported},  {"fromkeys", MethodName::kUnsupported},
    {"clear", MethodName::kForbidden},   {"pop", MethodName::kForbidden},
    {"popitem", MethodName::kForbidden}, {"setdefault", MethodName::kForbidden},
    {"update", MethodName::kForbidden},
};

constexpr Entry kOfList[] = {
    {"count", MethodName::kCount},      {"index", MethodName::kIndex},
    {"copy", MethodName::kUnsupported}, {"append", MethodName::kForbidden},
    {"clear", MethodName::kForbidden},  {"extend", MethodName::kForbidden},
    {"insert", MethodName::kForbidden}, {"pop", MethodName::kForbidden},
    {"remove", MethodName::kForbidden}, {"reverse", MethodName::kForbidden},
    {"sort", MethodName::kForbidden},
};

// Of tuples and ranges.
constexpr Entry kOfTuple[] = {{"count", MethodName::kCount}, {"index", MethodName::kIndex}};
constexpr Entry kOfLoop[] = {{"cycle", MethodName::kLoopCycle}};

std::span<const Entry> methods_of(const Value& self) {
  switch (self.kind()) {
    case Kind::kString:
      return kOfText;
    case Kind::kDict:
      return kOfDict;
    case Kind::kLoop:
      return kOfLoop;
    case Kind::kSequence:
      if (self.as_sequence().kind == SequenceKind::kList) return kOfList;
      if (self.as_sequence().kind == SequenceKind::kTuple) return kOfTuple;
      if (self.as_sequence().kind == SequenceKind::kRange) return kOfTuple;
      return {};
    default:
      return {};
  }
}

Value text_list(Budget& budget, const std::vector<std::string_view>& parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) {
    if (!budget.take(part.size() + sizeof(Value) + 48)) return {};
    items.push_back(Value::string(std::string(part)));
  }
  return make_sequence(budget, SequenceKind::kList, std::move(items));
}

// Memory for the parts of a text.
bool take_parts(Budget& budget, std::size_t count) {
  return budget.take(count * sizeof(std::string_view));
}

// One call of a method of a text.
class TextCall {
 public:
  TextCall(Evaluator& evaluator, const Method& method, const Arguments& arguments)
      : evaluator_(evaluator),
        budget_(evaluator.budget()),
        name_(method.spelling),
        text_(method.self.as_string()),
        arguments_(arguments) {}

  Value run(MethodName method);

 private:
  Slots bound(std::initializer_list<std::string_view> names, std::size_t required = 0) {
    return bind(budget_, name_, arguments_, names, required);
  }
  // A parameter that is a text; empty with a failure when it is another thing.
  std::string_view text_of(const Value* value);
  std::optional<std::string_view> optional_text(const Value* value);
  Value plain(std::string (*change)(std::string_view));
  Value stripped(bool front, bool back);
  Value parted(bool from_right);
  Value lines();
  Value affix(bool front);
  Value without_affix(bool front);
  Value found(MethodName method);
  Value counted();
  Value replaced();
  Value of_class(TextClass wanted);
  Value joined();

  Evaluator& evaluator_;
  Budget& budget_;
  const std::string& name_;
  const std::string& text_;
  const Arguments& arguments_;
};

std::string_view TextCall::text_of(const Value* value) {
  if (value != nullptr && value->is(Kind::kString)) return value->as_string();
  if (value != nullptr) {
    evaluator_.fail(name_ + ": expected a text, was a " + std::string(type_name(*value)));
  }
  return {};
}

std::optional<std::string_view> TextCall::optional_text(const Value* value) {
  if (value == nullptr || value->is_none()) return std::nullopt;
  return text_of(value);
}

Value TextCall::plain(std::string (*change)(std::string_view)) {
  bound({});
  if (!budget_.take_text(3 * text_.size())) return {};
  return make_text(budget_, change(text_));
}

Value TextCall::stripped(bool front, bool back) {
  const Slots slots = bound({"chars"});
  const std::optional<std::string_view> set = optional_text(slots[0]);
  // A search in the set for each character that goes.
  if (!budget_.spend((set ? set->size() / 16 + 1 : 1) * (text_.size() / 64 + 1))) return {};
  return make_text(budget_, std::string(strip(text_, front, back, set)));
}

Value TextCall::parted(bool from_right) {
  const Slots slots = bound({"sep", "maxsplit"});
  const std::optional<std::string_view> separator = optional_text(slots[0]);
  const std::int64_t most = integer_or(budget_, slots[1], -1);
  if (separator && separator->empty()) return evaluator_.fail(name_ + ": the separator is empty");
  if (separator && !budget_.spend_search(text_.size(), separator->size())) return {};
  const std::size_t count = separator ? count_of(text_, *separator) : text_.size() / 2;
  if (!budget_.ok() || !take_parts(budget_, 1 + count)) return {};
  return text_list(budget_, from_right ? split_from_right(text_, separator, most)
                                       : split(text_, separator, most));
}

Value TextCall::lines() {
  const Slots slots = bound({"keepends"});
  if (!budget_.ok() || !take_parts(budget_, 1 + text_.size())) return {};
  return text_list(budget_, split_lines(text_, truth_or(slots[0], false)));
}

Value TextCall::affix(bool front) {
  const Slots slots = bound({"prefix", "start", "end"}, 1);
  if (slots[1] != nullptr || slots[2] != nullptr) {
    return evaluator_.fail(name_ + ": places are not supported");
  }
  const auto matches = [&](const Value& one) {
    const std::string_view wanted = text_of(&one);
    return front ? text_.starts_with(wanted) : text_.ends_with(wanted);
  };
  const Value& given = *slots[0];
  if (given.is(Kind::kSequence) && given.as_sequence().kind == SequenceKind::kTuple) {
    for (const Value& one : given.as_sequence().items) {
      if (!budget_.spend(1)) return {};
      if (matches(one)) return Value::boolean(true);
    }
    return Value::boolean(false);
  }
  return Value::boolean(matches(given));
}

Value TextCall::without_affix(bool front) {
  const Slots slots = bound({"affix"}, 1);
  const std::string_view affix = text_of(slots[0]);
  std::string_view rest = text_;
  if (front && rest.starts_with(affix)) rest.remove_prefix(affix.size());
  if (!front && rest.ends_with(affix)) rest.remove_suffix(affix.size());
  return make_text(budget_, std::string(rest));
}

Value TextCall::found(MethodName method) {
  const Slots slots = bound({"sub", "start", "end"}, 1);
  if (slots[1] != nullptr || slots[2] != nullptr) {
    return evaluator_.fail(name_ + ": places are not supported");
  }
  const std::string_view part = text_of(slots[0]);
  if (!budget_.spend_search(text_.size(), part.size())) return {};
  const std::size_t at = method == MethodName::kRfind ? text_.rfind(part) : text_.find(part);
  if (at != std::string::npos) {
    return Value::integer(
        static_cast<std::int64_t>(character_count(std::string_view(text_).substr(0, at))));
  }
  if (method == MethodName::kIndex) return evaluator_.fail("index: the text is not there");
  return Value::integer(-1);
}

Value TextCall::counted() {
  const Slots slots = bound({"sub"}, 1);
  const std::string_view part = text_of(slots[0]);
  if (!budget_.spend_search(text_.size(), part.size())) return {};
  return Value::integer(static_cast<std::int64_t>(count_of(text_, part)));
}

Value TextCall::replaced() {
  const Slots slots = bound({"old", "new", "count"}, 2);
  text_of(slots[0]);
  text_of(slots[1]);
  if (!budget_.ok()) return {};
  return find_filter("replace")(evaluator_, Value::string(text_), arguments_);
}

Value TextCall::of_class(TextClass wanted) {
  bound({});
  if (!budget_.spend(text_.size() / 16)) return {};
  return Value::boolean(is_class(text_, wanted));
}

Value TextCall::joined() {
  const Slots slots = bound({"iterable"}, 1);
  const std::shared_ptr<const Sequence> items =
      budget_.ok() ? iterate(budget_, *slots[0]) : nullptr;
  if (items == nullptr) return {};
  std::string out;
  for (std::size_t i = 0; i < items->items.size(); ++i) {
    const std::string_view part = text_of(&items->items[i]);
    if (!room(budget_, out, text_.size() + part.size())) return {};
    if (i > 0) out += text_;
    out += part;
  }
  return Value::string(std::move(out));
}

// NOLINTNEXTLINE(readability-function-cognitive-complexity): one line for each method
Value TextCall::run(MethodName method) {
  switch (method) {
    case MethodName::kCapitalize:
      return plain(capitalize);
    case MethodName::kLower:
      return plain(lower);
    case MethodName::kTitle:
      return plain(title);
    case MethodName::kUpper:
      return plain(upper);
    case MethodName::kStrip:
      return stripped(true, true);
    case MethodName::kLstrip:
      return stripped(true, false);
    case MethodName::kRstrip:
      return stripped(false, true);
    case MethodName::kSplit:
      return parted(false);
    case MethodName::kRsplit:
      return parted(true);
    case MethodName::kSplitLines:
      return lines();
    case MethodName::kStartsWith:
      return affix(true);
    case MethodName::kEndsWith:
      return affix(false);
    case MethodName::kRemovePrefix:
      return without_affix(true);
    case MethodName::kRemoveSuffix:
      return without_affix(false);
    case MethodName::kFind:
    case MethodName::kRfind:
    case MethodName::kIndex:
      return found(method);
    case MethodName::kCount:
      return counted();
    case MethodName::kReplace:
      return replaced();
    case MethodName::kJoin:
      return joined();
    case MethodName::kIsAlnum:
      return of_class(TextClass::kAlnum);
    case MethodName::kIsAlpha:
      return of_class(TextClass::kAlpha);
    case MethodName::kIsDigit:
      return of_class(TextClass::kDigit);
    case MethodName::kIsLower:
      return of_class(TextClass::kLower);
    case MethodName::kIsSpace:
      return of_class(TextClass::kSpace);
    case MethodName::kIsUpper:
      return of_class(TextClass::kUpper);
    default:
      return evaluator_.fail("there is no method \"" + name_ + "\"");
  }
}

Value call_dict(Evaluator& evaluator, const Method& method, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Dict& dict = method.self.as_dict();
  if (method.name == MethodName::kGet) {
    const Slots slots = bind(budget, "get", arguments, {"key", "default"}, 1);
    if (!budget.ok()) return {};
    if (!hashable(budget, *slots[0])) {
      return evaluator.fail("get: a " + std::string(type_name(*slots[0])) + " cannot be a key");
    }
    if (const Value* found = find(budget, dict, *slots[0])) return *found;
    return slots[1] == nullptr ? Value() : *slots[1];
  }
  bind(budget, method.spelling, arguments, {});
  if (!budget.take(dict.items.size() * sizeof(Value))) return {};
  std::vector<Value> items;
  items.reserve(dict.items.size());
  for (const auto& [key, value] : dict.items) {
    switch (method.name) {
      case MethodName::kKeys:
        items.push_back(key);
        break;
      case MethodName::kValues:
        items.push_back(value);
        break;
      default:
        items.push_back(make_sequence(budget, SequenceKind::kTuple, {key, value}));
    }
  }
  return make_sequence(budget, SequenceKind::kView, std::move(items));
}

Value call_list(Evaluator& evaluator, const Method& method, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, method.spelling, arguments, {"value"}, 1);
  std::int64_t count = 0;
  const std::vector<Value>& items = method.self.as_sequence().items;
  for (std::size_t i = 0; i < items.size() && budget.spend(1); ++i) {
    if (!equal(budget, items[i], *slots[0])) continue;
    if (method.name == MethodName::kIndex) return Value::integer(static_cast<std::int64_t>(i));
    ++count;
  }
  if (method.name == MethodName::kIndex) return evaluator.fail("index: the value is not there");
  return Value::integer(count);
}

}  // namespace

std::shared_ptr<const Method> find_method(const Value& self, const std::string& name) {
  for (const Entry& entry : methods_of(self)) {
    if (entry.spelling == name) {
      return std::make_shared<const Method>(Method{self, entry.name, name});
    }
  }
  return nullptr;
}

Value call_method(Evaluator& evaluator, const Method& method, const Arguments& arguments) {
  if (!evaluator.budget().ok()) return {};
  if (method.name == MethodName::kUnsupported) {
    return evaluator.fail("the method \"" + method.spelling + "\" of a " +
                          std::string(type_name(method.self)) + " is not supported");
  }
  if (method.name == MethodName::kForbidden) {
    return evaluator.fail("\"" + method.spelling + "\" would change a " +
                          std::string(type_name(method.self)) + ", which templates may not");
  }
  switch (method.self.kind()) {
    case Kind::kString:
      return TextCall(evaluator, method, arguments).run(method.name);
    case Kind::kDict:
      return call_dict(evaluator, method, arguments);
    case Kind::kLoop: {
      if (arguments.positional.empty()) return evaluator.fail("cycle: needs values");
      return arguments.positional[method.self.as_loop()->index % arguments.positional.size()];
    }
    default:
      return call_list(evaluator, method, arguments);
  }
}

}  // namespace fathom::text::jinja
