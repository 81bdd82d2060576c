#include "app/chat_reply.h"

#include <algorithm>
#include <utility>

namespace fathom::app {

namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";

// How many bytes at the end of `text` may be the beginning of `tag`.
std::size_t tag_begun(std::string_view text, std::string_view tag) {
  for (std::size_t size = std::min(text.size(), tag.size() - 1); size > 0; --size) {
    if (text.ends_with(tag.substr(0, size))) return size;
  }
  return 0;
}

const std::string* string_member(const Json& object, std::string_view key) {
  const Json* const member = object.find(key);
  return member == nullptr ? nullptr : member->as_string();
}

// The message of {"error": {"message": …}}, {"error": "…"}, {"message": …} or {"detail": …}.
const std::string* find_error(const Json& json) {
  if (const Json* const error = json.find_set("error")) {
    if (const std::string* const message = string_member(*error, "message")) return message;
    if (const std::string* const message = error->as_string()) return message;
  }
  if (json.find("choices") != nullptr) return nullptr;
  if (const std::string* const message = string_member(json, "message")) return message;
  return string_member(json, "detail");
}

}  // namespace

ChatReply::ChatReply(bool thinking, OnText on_text)
    : on_text_(std::move(on_text)), thinking_(thinking) {}

Status ChatReply::read(std::string_view data) {
  if (data == "[DONE]") {
    done_ = true;
    return {};
  }
  const Result<Json> json = parse_json(data);
  if (!json.ok()) {
    return Status(Code::kUnavailable, json.status().message()).in("the server's answer");
  }
  if (const std::string* const error = find_error(*json)) return {Code::kUnavailable, *error};
  if (!json->is_object()) return {Code::kUnavailable, "the server's answer is no completion"};
  if (const Json* const usage = json->find_set("usage")) {
    const Json* const prompt = usage->find("prompt_tokens");
    const Json* const completion = usage->find("completion_tokens");
    if (prompt != nullptr) prompt_tokens_ = prompt->as_int64();
    if (completion != nullptr) completion_tokens_ = completion->as_int64();
  }
  const Json* const choices = json->find("choices");
  const Json::Array* const array = choices == nullptr ? nullptr : choices->as_array();
  if (array != nullptr && !array->empty()) read_choice(array->front());
  return {};
}

void ChatReply::read_choice(const Json& choice) {
  const Json* delta = choice.find_set("delta");
  if (delta == nullptr) delta = choice.find_set("message");
  if (delta != nullptr) {
    for (const char* key : {"reasoning_content", "reasoning"}) {
      const std::string* const text = string_member(*delta, key);
      if (text == nullptr || text->empty()) continue;
      place_ = Place::kAnswer;  // this server tells the two apart itself
      tell(*text, true);
      break;
    }
    if (const std::string* const text = string_member(*delta, "content")) add_content(*text);
  }
  if (const std::string* const reason = string_member(choice, "finish_reason")) {
    finish_reason_ = *reason;
  }
}

void ChatReply::add_content(std::string_view text) {
  held_ += text;
  if (place_ == Place::kStart) {
    const bool undecided = held_.size() < kOpen.size() && kOpen.starts_with(held_);
    if (undecided) return;
    const bool opened = held_.starts_with(kOpen);
    if (opened) held_.erase(0, kOpen.size());
    place_ = opened || thinking_ ? Place::kReasoning : Place::kAnswer;
  }
  if (place_ == Place::kReasoning) {
    const std::size_t close = held_.find(kClose);
    const bool closed = close != std::string::npos;
    const std::size_t sure = closed ? close : held_.size() - tag_begun(held_, kClose);
    tell(std::string_view(held_).substr(0, sure), true);
    held_.erase(0, closed ? close + kClose.size() : sure);
    if (!closed) return;
    place_ = Place::kAnswer;
  }
  tell(std::exchange(held_, {}), false);
}

void ChatReply::end() {
  const bool reasoning = place_ == Place::kReasoning || (place_ == Place::kStart && thinking_);
  tell(std::exchange(held_, {}), reasoning);
}

void ChatReply::tell(std::string_view text, bool reasoning) {
  if (text.empty()) return;
  if (!reasoning) content_ += text;
  on_text_(text, reasoning);
}

std::string error_message(std::string_view body) {
  const Result<Json> json = parse_json(body);
  const std::string* const message = json.ok() ? find_error(*json) : nullptr;
  if (message != nullptr) return *message;
  return std::string(body.substr(0, 500));
}

}  // namespace fathom::app
