#include "api/message_turns.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/request_fields.h"

namespace fathom::api {

namespace {

std::string place(std::string_view name, std::size_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

Result<std::string> text_of(const Json& object, std::string_view name) {
  const Json* const value = object.find_set(name);
  if (value == nullptr) return invalid_argument(std::string(name) + ": is missing");
  if (value->is_string()) return *value->as_string();
  return invalid_argument(std::string(name) + ": " + wrong_json_kind("a string", *value));
}

Json message_of(std::string_view role, Json content) {
  Json message = Json::object();
  message.set("role", Json::string(std::string(role)));
  message.set("content", std::move(content));
  return message;
}

// Texts as the content of one message.
Json content_of(std::vector<std::string> texts) {
  if (texts.empty()) return Json::string("");
  if (texts.size() == 1) return Json::string(std::move(texts.front()));
  Json::Array parts;
  for (std::string& text : texts) {
    Json part = Json::object();
    part.set("type", Json::string("text"));
    part.set("text", Json::string(std::move(text)));
    parts.push_back(std::move(part));
  }
  return Json::array(std::move(parts));
}

Result<std::string> type_of(const Json& block) {
  if (!block.is_object()) return invalid_argument(wrong_json_kind("an object", block));
  return text_of(block, "type");
}

Status wrong_type(const std::string& type, std::string_view expected) {
  std::string message =
      "type: was " + brief(Json::string(type)) + ", expected " + std::string(expected);
  if (type == "image" || type == "document") message += ": this model reads text alone";
  return invalid_argument(std::move(message));
}

// A text, or blocks of nothing but text.
Result<std::vector<std::string>> read_texts(const Json& content) {
  std::vector<std::string> texts;
  if (const std::string* const text = content.as_string()) {
    texts.push_back(*text);
    return texts;
  }
  const Json::Array* const blocks = content.as_array();
  if (blocks == nullptr) {
    return invalid_argument(wrong_json_kind("a string or an array of blocks", content));
  }
  for (std::size_t i = 0; i < blocks->size(); ++i) {
    const Json& block = (*blocks)[i];
    const Result<std::string> type = type_of(block);
    FATHOM_RETURN_IF_ERROR(type.status().in(place("content", i)));
    if (*type != "text") return wrong_type(*type, "text").in(place("content", i));
    Result<std::string> text = text_of(block, "text");
    FATHOM_RETURN_IF_ERROR(text.status().in(place("content", i)));
    texts.push_back(std::move(*text));
  }
  return texts;
}

class TurnReader {
 public:
  explicit TurnReader(Json::Array& out) : out_(&out) {}

  Status add(const Json& message);
  // After the last message.
  Status finish() const { return calls_.empty() ? Status() : missing_result().in("messages"); }

 private:
  // What the blocks of one message add up to.
  struct Turn {
    std::vector<std::string> texts;
    std::string reasoning;
    Json::Array calls;
    std::vector<std::string> call_ids;
    std::vector<Json> results;  // a tool's message for each of calls_; null: not there yet
  };

  Status add_user_block(const Json& block, const std::string& type, Turn& turn) const;
  Status add_result(const Json& block, Turn& turn) const;
  static Status add_assistant_block(const Json& block, const std::string& type, Turn& turn);
  static Status add_call(const Json& block, Turn& turn);
  Status end_user(Turn turn);
  void end_assistant(Turn turn);
  Status missing_result() const {
    return invalid_argument("tool_use " + brief(Json::string(calls_.front())) +
                            " has no tool_result in the message behind it");
  }

  Json::Array* out_;
  std::vector<std::string> calls_;  // ids that the next message has to have results for
};

Status TurnReader::add_result(const Json& block, Turn& turn) const {
  const Result<std::string> id = text_of(block, "tool_use_id");
  FATHOM_RETURN_IF_ERROR(id.status());
  const auto call = std::ranges::find(calls_, *id);
  if (call == calls_.end()) {
    return invalid_argument("tool_use_id: was " + brief(Json::string(*id)) +
                            ", expected the id of a tool_use in the message before");
  }
  Json& result = turn.results[static_cast<std::size_t>(call - calls_.begin())];
  if (!result.is_null()) {
    return invalid_argument("tool_use_id: " + brief(Json::string(*id)) + " has a result already");
  }
  std::vector<std::string> texts;
  if (const Json* const content = block.find_set("content")) {
    Result<std::vector<std::string>> read = read_texts(*content);
    FATHOM_RETURN_IF_ERROR(read.status());
    texts = std::move(*read);
  }
  result = message_of("tool", content_of(std::move(texts)));
  result.set("tool_call_id", Json::string(*id));
  return {};
}

Status TurnReader::add_user_block(const Json& block, const std::string& type, Turn& turn) const {
  if (type == "tool_result") return add_result(block, turn);
  if (type != "text") return wrong_type(type, "text or tool_result");
  Result<std::string> text = text_of(block, "text");
  FATHOM_RETURN_IF_ERROR(text.status());
  turn.texts.push_back(std::move(*text));
  return {};
}

Status TurnReader::add_call(const Json& block, Turn& turn) {
  Result<std::string> id = text_of(block, "id");
  FATHOM_RETURN_IF_ERROR(id.status());
  if (std::ranges::find(turn.call_ids, *id) != turn.call_ids.end()) {
    return invalid_argument("id: " + brief(Json::string(*id)) + " is that of another tool_use");
  }
  Result<std::string> name = text_of(block, "name");
  FATHOM_RETURN_IF_ERROR(name.status());
  const Json* const input = block.find_set("input");
  if (input == nullptr) return invalid_argument("input: is missing");
  if (!input->is_object())
    return invalid_argument("input: " + wrong_json_kind("an object", *input));
  Json function = Json::object();
  function.set("name", Json::string(std::move(*name)));
  function.set("arguments", Json::string(to_json(*input)));
  Json call = Json::object();
  call.set("id", Json::string(*id));
  call.set("type", Json::string("function"));
  call.set("function", std::move(function));
  turn.calls.push_back(std::move(call));
  turn.call_ids.push_back(std::move(*id));
  return {};
}

Status TurnReader::add_assistant_block(const Json& block, const std::string& type, Turn& turn) {
  if (type == "redacted_thinking") return {};
  if (type == "tool_use") return add_call(block, turn);
  const bool thinks = type == "thinking";
  if (!thinks && type != "text") {
    return wrong_type(type, "text, thinking, redacted_thinking or tool_use");
  }
  Result<std::string> text = text_of(block, type);
  FATHOM_RETURN_IF_ERROR(text.status());
  if (thinks) {
    turn.reasoning += *text;
  } else {
    turn.texts.push_back(std::move(*text));
  }
  return {};
}

Status TurnReader::end_user(Turn turn) {
  const auto missing = std::ranges::find_if(turn.results, &Json::is_null);
  if (missing != turn.results.end()) {
    calls_.erase(calls_.begin(), calls_.begin() + (missing - turn.results.begin()));
    return missing_result();
  }
  calls_.clear();
  const bool answers = !turn.results.empty();
  for (Json& result : turn.results) out_->push_back(std::move(result));
  if (!answers || !turn.texts.empty()) {
    out_->push_back(message_of("user", content_of(std::move(turn.texts))));
  }
  return {};
}

void TurnReader::end_assistant(Turn turn) {
  std::string content;
  for (const std::string& text : turn.texts) content += text;
  Json message = message_of("assistant", Json::string(std::move(content)));
  if (!turn.reasoning.empty()) {
    message.set("reasoning_content", Json::string(std::move(turn.reasoning)));
  }
  if (!turn.calls.empty()) message.set("tool_calls", Json::array(std::move(turn.calls)));
  calls_ = std::move(turn.call_ids);
  out_->push_back(std::move(message));
}

Status TurnReader::add(const Json& message) {
  if (!message.is_object()) return invalid_argument(wrong_json_kind("an object", message));
  const Result<std::string> role = text_of(message, "role");
  FATHOM_RETURN_IF_ERROR(role.status());
  const bool user = *role == "user";
  if (!user && *role != "assistant") {
    return invalid_argument("role: was " + brief(Json::string(*role)) +
                            ", expected user or assistant");
  }
  if (!user && !calls_.empty()) return missing_result();
  const Json* const content = message.find_set("content");
  if (content == nullptr) return invalid_argument("content: is missing");
  Turn turn;
  if (user) turn.results.resize(calls_.size());
  if (const std::string* const text = content->as_string()) {
    turn.texts.push_back(*text);
  } else if (const Json::Array* const blocks = content->as_array()) {
    if (blocks->empty()) return invalid_argument("content: is empty, expected at least one block");
    for (std::size_t i = 0; i < blocks->size(); ++i) {
      const Json& block = (*blocks)[i];
      const Result<std::string> type = type_of(block);
      FATHOM_RETURN_IF_ERROR(type.status().in(place("content", i)));
      const Status status =
          user ? add_user_block(block, *type, turn) : add_assistant_block(block, *type, turn);
      FATHOM_RETURN_IF_ERROR(status.in(place("content", i)));
    }
  } else {
    return invalid_argument("content: " +
                            wrong_json_kind("a string or an array of blocks", *content));
  }
  if (user) return end_user(std::move(turn));
  end_assistant(std::move(turn));
  return {};
}

}  // namespace

Status read_turns(const Json* system, const Json& messages, Json::Array& out) {
  const Json::Array* const turns = messages.as_array();
  if (turns == nullptr) {
    return invalid_argument("messages: " + wrong_json_kind("an array", messages));
  }
  if (turns->empty()) return invalid_argument("messages: is empty, expected at least one");
  if (system != nullptr) {
    Result<std::vector<std::string>> texts = read_texts(*system);
    FATHOM_RETURN_IF_ERROR(texts.status().in("system"));
    if (!texts->empty()) out.push_back(message_of("system", content_of(std::move(*texts))));
  }
  TurnReader reader(out);
  for (std::size_t i = 0; i < turns->size(); ++i) {
    FATHOM_RETURN_IF_ERROR(reader.add((*turns)[i]).in(place("messages", i)));
  }
  return reader.finish();
}

}  // namespace fathom::api
