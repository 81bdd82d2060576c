#include <algorithm>
#include <utility>

#include "text/jinja/convert.h"
#include "text/jinja/filters.h"
#include "text/jinja/strings.h"

namespace fathom::text::jinja {

namespace {

// The value's text through a function of one text.
template <std::string (*change)(std::string_view)>
Value changed(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  bind(budget, "a filter of texts", arguments, {});
  const std::string text = to_text(budget, value);
  if (!budget.take_text(3 * text.size())) return {};
  return make_text(budget, change(text));
}

// Words begin behind blanks, hyphens and opening brackets here, unlike in str.title().
std::string title_words(std::string_view text) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t end = at;
    const auto separates = [&text](std::size_t place) {
      constexpr std::string_view kMarks = "-({[<";
      return kMarks.find(text[place]) != std::string_view::npos ||
             strip(text.substr(place, byte_of(text.substr(place), 1)), true, false).empty();
    };
    const auto next = [&text](std::size_t place) { return place + byte_of(text.substr(place), 1); };
    while (end < text.size() && !separates(end)) end = next(end);
    if (end > at) {
      const std::size_t second = next(at);
      out += upper(text.substr(at, second - at));
      out += lower(text.substr(second, end - second));
    }
    while (end < text.size() && separates(end)) {
      const std::size_t behind = next(end);
      out += text.substr(end, behind - end);
      end = behind;
    }
    at = end;
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// Text like any other: nothing is escaped unless a template asks for it.
std::string as_it_is(std::string_view text) { return std::string(text); }

Value trim(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "trim", arguments, {"chars"});
  const std::string text = to_text(budget, value);
  if (slots[0] == nullptr || slots[0]->is_none()) {
    return make_text(budget, std::string(strip(text, true, true)));
  }
  if (!slots[0]->is(Kind::kString)) return evaluator.fail("trim: \"chars\" needs a text");
  const std::string& set = slots[0]->as_string();
  if (!budget.spend((set.size() / 16 + 1) * (text.size() / 64 + 1))) return {};
  return make_text(budget, std::string(strip(text, true, true, set)));
}

Value replace_text(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "replace", arguments, {"old", "new", "count"}, 2);
  const std::int64_t most = integer_or(budget, slots[2], -1);
  const std::string text = to_text(budget, value);
  const std::string old = to_text(budget, *slots[0]);
  const std::string by = to_text(budget, *slots[1]);
  if (!budget.spend_search(text.size(), old.size())) return {};
  std::size_t times = count_of(text, old);
  if (most >= 0) times = std::min(times, static_cast<std::size_t>(most));
  if (by.size() > 0 && times > budget.limits().max_output_bytes / by.size()) {
    return evaluator.fail("replace: the text gets too long");
  }
  if (!budget.take_text(text.size() + times * by.size())) return {};
  return Value::string(replace(text, old, by, most));
}

Value indent(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "indent", arguments, {"width", "first", "blank"});
  const bool first = truth_or(slots[1], false);
  const bool blank = truth_or(slots[2], false);
  std::string indentation;
  if (slots[0] != nullptr && slots[0]->is(Kind::kString)) {
    indentation = slots[0]->as_string();
  } else {
    const std::int64_t width = integer_or(budget, slots[0], 4);
    if (!budget.take_text(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)))) return {};
    indentation.assign(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
  }
  if (!value.is(Kind::kString)) {
    return evaluator.fail("indent: expected a text, was a " + std::string(type_name(value)));
  }
  const std::string text = value.as_string() + "\n";
  if (!budget.take(text.size() * sizeof(std::string_view))) return {};
  const std::vector<std::string_view> lines = split_lines(text);
  std::string out = first ? indentation : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (!room(budget, out, lines[i].size() + indentation.size() + 1)) return {};
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indentation;
    out += lines[i];
  }
  return Value::string(std::move(out));
}

Value join(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots = bind(budget, "join", arguments, {"d", "attribute"});
  const std::string between = slots[0] == nullptr ? "" : to_text(budget, *slots[0]);
  const std::shared_ptr<const Sequence> items = budget.ok() ? iterate(budget, value) : nullptr;
  if (items == nullptr) return {};
  const bool by_attribute = slots[1] != nullptr && !slots[1]->is_none();
  std::string out;
  for (std::size_t i = 0; i < items->items.size(); ++i) {
    if (!room(budget, out, between.size())) return {};
    if (i > 0) out += between;
    const Value& item = items->items[i];
    append_text(budget, out, by_attribute ? attribute_path(evaluator, item, *slots[1]) : item);
  }
  return Value::string(std::move(out));
}

Value to_json_text(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  Budget& budget = evaluator.budget();
  const Slots slots =
      bind(budget, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = truth_or(slots[0], false);
  style.sort_keys = truth_or(slots[3], false);
  if (slots[1] != nullptr && !slots[1]->is_none()) {
    if (slots[1]->is(Kind::kString)) {
      style.indent = slots[1]->as_string();
    } else {
      constexpr std::int64_t kMostIndent = 1000;
      const std::int64_t width = integer_or(budget, slots[1], 0);
      if (width > kMostIndent) return evaluator.fail("tojson: \"indent\" is above 1000");
      style.indent.emplace(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
    }
    style.item_separator = ",";
  }
  if (slots[2] != nullptr && !slots[2]->is_none()) {
    const std::shared_ptr<const Sequence> both = iterate(budget, *slots[2]);
    if (both == nullptr) return {};
    const bool texts = both->items.size() == 2 && both->items[0].is(Kind::kString) &&
                       both->items[1].is(Kind::kString);
    if (!texts) return evaluator.fail("tojson: \"separators\" needs two texts");
    style.item_separator = both->items[0].as_string();
    style.key_separator = both->items[1].as_string();
  }
  std::string out;
  if (budget.ok()) append_json_text(budget, out, value, style);
  return Value::string(std::move(out));
}

constexpr FilterEntry kFilters[] = {
    {"capitalize", changed<capitalize>},
    {"e", changed<escaped>},
    {"escape", changed<escaped>},
    {"forceescape", changed<escaped>},
    {"indent", indent},
    {"join", join},
    {"lower", changed<lower>},
    {"replace", replace_text},
    {"safe", changed<as_it_is>},
    {"string", changed<as_it_is>},
    {"title", changed<title_words>},
    {"tojson", to_json_text},
    {"trim", trim},
    {"upper", changed<upper>},
};

}  // namespace

std::span<const FilterEntry> text_filters() { return kFilters; }

}  // namespace fathom::text::jinja
