#include "api/responses_input.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom::api {

namespace {

Json message_of(std::string_view role, std::string content) {
  Json message = Json::object();
  message.set("role", Json::string(std::string(role)));
  message.set("content", Json::string(std::move(content)));
  return message;
}

// The member as a text; null when it is missing or something else.
const std::string* text_of(const Json& object, std::string_view name) {
  const Json* const value = object.find_set(name);
  return value == nullptr ? nullptr : value->as_string();
}

// What the model did between two messages of others, and what its calls gave.
struct Turn {
  struct Call {
    std::string id;
    std::string place;  // of the item, for messages
    Json json;          // as chat has it
    std::optional<std::string> output;
  };
  std::string reasoning;
  std::optional<std::string> content;
  std::vector<Call> calls;

  bool has_outputs() const {
    return std::any_of(calls.begin(), calls.end(),
                       [](const Call& call) { return call.output.has_value(); });
  }
};

class InputReader {
 public:
  explicit InputReader(FieldReader& fields) : fields_(&fields) {}

  void add_system(const std::string& text);
  void add_user(std::string text) { add_message("user", std::move(text)); }
  void add_item(const Json& item, std::size_t index);
  Json::Array finish();

 private:
  void add_message(std::string_view role, std::string text);
  void add_role(const Json& item);
  void add_answer(std::string text);
  void add_reasoning(const Json& item);
  void add_call(const Json& item);
  void add_output(const Json& item);
  // Appends the turn to the messages and begins the next.
  void end_turn();

  // A text, or the texts of a list of parts, joined by `glue`.
  std::string read_text(const Json& item, std::string_view name, std::string_view glue);
  std::string read_parts(const Json::Array& parts, std::string_view name, std::string_view glue);
  // A text that has to be there.
  std::string read_name(const Json& item, std::string_view name);
  void refuse(std::string_view member, std::string_view what);

  FieldReader* fields_;
  std::string place_;  // of the item that is read: "input[3]"
  Turn turn_;
  Json::Array messages_;
};

void InputReader::refuse(std::string_view member, std::string_view what) {
  std::string text = place_;
  if (!member.empty()) text += '.';
  text += member;
  text += ": ";
  text += what;
  fields_->refuse(Refusal::semantic(std::move(text)));
}

std::string InputReader::read_name(const Json& item, std::string_view name) {
  const std::string* const text = text_of(item, name);
  if (text != nullptr && !text->empty()) return *text;
  refuse(name, "expected a string that is not empty");
  return {};
}

std::string InputReader::read_parts(const Json::Array& parts,
                                    std::string_view name,
                                    std::string_view glue) {
  std::string joined;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string* const type = text_of(parts[i], "type");
    const bool refusal = type != nullptr && *type == "refusal";
    const bool known =
        refusal || (type != nullptr && (type->ends_with("_text") || *type == "text"));
    const std::string* const text = text_of(parts[i], refusal ? "refusal" : "text");
    if (!known || text == nullptr) {
      const std::string was = type == nullptr ? "" : "was " + brief(*parts[i].find("type")) + ", ";
      refuse(std::string(name) + "[" + std::to_string(i) + "]",
             was +
                 "expected a part with a text (input_text, output_text); this model reads text "
                 "alone");
      return {};
    }
    if (i > 0) joined += glue;
    joined += *text;
  }
  return joined;
}

std::string InputReader::read_text(const Json& item, std::string_view name, std::string_view glue) {
  const Json* const value = item.find_set(name);
  if (value == nullptr) {
    refuse(name, "is missing");
    return {};
  }
  if (const std::string* const text = value->as_string()) return *text;
  if (const Json::Array* const parts = value->as_array()) return read_parts(*parts, name, glue);
  refuse(name, wrong_json_kind("a string or an array of parts", *value));
  return {};
}

void InputReader::end_turn() {
  Turn turn = std::exchange(turn_, {});
  if (!turn.content && turn.calls.empty()) return;
  Json message = message_of("assistant", turn.content.value_or(""));
  if (!turn.reasoning.empty()) {
    message.set("reasoning_content", Json::string(std::move(turn.reasoning)));
  }
  Json::Array calls;
  for (Turn::Call& call : turn.calls) calls.push_back(std::move(call.json));
  if (!calls.empty()) message.set("tool_calls", Json::array(std::move(calls)));
  messages_.push_back(std::move(message));
  for (Turn::Call& call : turn.calls) {
    if (!call.output) {
      fields_->refuse(Refusal::semantic(call.place +
                                        ": no function_call_output behind it has the "
                                        "call_id " +
                                        brief(Json::string(call.id))));
      return;
    }
    Json result = message_of("tool", *std::move(call.output));
    result.set("tool_call_id", Json::string(std::move(call.id)));
    messages_.push_back(std::move(result));
  }
}

void InputReader::add_message(std::string_view role, std::string text) {
  end_turn();
  messages_.push_back(message_of(role, std::move(text)));
}

void InputReader::add_system(const std::string& text) {
  end_turn();
  if (!messages_.empty() && *text_of(messages_.back(), "role") == "system") {
    const std::string before = *text_of(messages_.back(), "content");
    messages_.back().set("content", Json::string(before + "\n\n" + text));
    return;
  }
  messages_.push_back(message_of("system", text));
}

void InputReader::add_answer(std::string text) {
  const bool open = !turn_.calls.empty() && !turn_.has_outputs();
  if (!open && (turn_.content || !turn_.calls.empty())) end_turn();
  turn_.content = turn_.content.value_or("") + std::move(text);
}

void InputReader::add_role(const Json& item) {
  const std::string role = read_name(item, "role");
  if (role == "assistant") {
    add_answer(read_text(item, "content", ""));
  } else if (role == "user") {
    add_user(read_text(item, "content", " "));
  } else if (role == "system" || role == "developer") {
    add_system(read_text(item, "content", " "));
  } else if (!role.empty()) {
    refuse("role",
           "was " + brief(Json::string(role)) + ", expected user, assistant, system or developer");
  }
}

void InputReader::add_reasoning(const Json& item) {
  if (turn_.content || !turn_.calls.empty()) end_turn();
  // The thoughts themselves, or what there is of them.
  for (const std::string_view name : {"content", "summary"}) {
    const Json* const parts = item.find_set(name);
    if (parts == nullptr) continue;
    if (parts->is_array() && parts->as_array()->empty()) continue;
    turn_.reasoning += read_text(item, name, "\n\n");
    return;
  }
}

void InputReader::add_call(const Json& item) {
  if (turn_.has_outputs()) end_turn();
  Json function = Json::object();
  function.set("name", Json::string(read_name(item, "name")));
  std::string arguments = read_name(item, "arguments");
  const Result<Json> parsed = parse_json(arguments);
  if (fields_->ok() && (!parsed.ok() || !parsed->is_object())) {
    refuse("arguments", "expected the text of a JSON object" +
                            (parsed.ok() ? std::string() : ": " + parsed.status().message()));
  }
  function.set("arguments", Json::string(std::move(arguments)));
  std::string id = read_name(item, "call_id");
  const bool known = std::any_of(turn_.calls.begin(), turn_.calls.end(),
                                 [&id](const Turn::Call& call) { return call.id == id; });
  if (known) refuse("call_id", "is that of the call before, too");
  Json call = Json::object();
  call.set("id", Json::string(id));
  call.set("type", Json::string("function"));
  call.set("function", std::move(function));
  turn_.calls.push_back({std::move(id), place_, std::move(call), std::nullopt});
}

void InputReader::add_output(const Json& item) {
  const std::string id = read_name(item, "call_id");
  const auto call = std::find_if(turn_.calls.begin(), turn_.calls.end(),
                                 [&id](const Turn::Call& one) { return one.id == id; });
  if (call == turn_.calls.end()) {
    refuse("call_id", "was " + brief(Json::string(id)) +
                          ", expected that of a function_call in the turn before it");
  } else if (call->output) {
    refuse("call_id", "its function_call has an output already");
  } else {
    call->output = read_text(item, "output", " ");
  }
}

void InputReader::add_item(const Json& item, std::size_t index) {
  place_ = "input[" + std::to_string(index) + "]";
  if (!item.is_object()) {
    refuse("", wrong_json_kind("an object", item));
    return;
  }
  const Json* const type = item.find_set("type");
  const std::string* const name = type == nullptr ? nullptr : type->as_string();
  if (type == nullptr || (name != nullptr && *name == "message")) {
    add_role(item);
  } else if (name != nullptr && *name == "reasoning") {
    add_reasoning(item);
  } else if (name != nullptr && *name == "function_call") {
    add_call(item);
  } else if (name != nullptr && *name == "function_call_output") {
    add_output(item);
  } else {
    refuse("type", "was " + brief(*type) +
                       ", expected message, reasoning, function_call or function_call_output");
  }
}

Json::Array InputReader::finish() {
  end_turn();
  return std::move(messages_);
}

}  // namespace

Json::Array read_input(FieldReader& fields, const std::string& instructions) {
  InputReader reader(fields);
  if (!instructions.empty()) reader.add_system(instructions);
  const Json* const input = fields.find("input");
  if (input == nullptr) {
    fields.refuse(Refusal::shape("input: is missing, expected a text or a list of items"));
  } else if (const std::string* const text = input->as_string()) {
    reader.add_user(*text);
  } else if (const Json::Array* const items = input->as_array()) {
    for (std::size_t i = 0; i < items->size() && fields.ok(); ++i) {
      reader.add_item((*items)[i], i);
    }
    if (items->empty()) fields.refuse(Refusal::semantic("input: is empty, expected an item"));
  } else {
    fields.refuse_kind("input", *input, "a string or an array of items");
  }
  return reader.finish();
}

}  // namespace fathom::api
