#include "system/evaluation.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <optional>
#include <thread>

#include "base/check.h"
#include "http/client.h"

namespace fathom::system_test {

namespace {

constexpr int kMaxTokens = 700;
constexpr int kClients = 16;  // at once

const std::string& text_of(const Json& object, std::string_view name) {
  const Json* const value = object.find(name);
  FATHOM_CHECK(value != nullptr && value->as_string() != nullptr);
  return *value->as_string();
}

// Equal contents: members in any order, numbers by value.
bool same(const Json& a, const Json& b) {
  if (a.kind() != b.kind()) return false;
  if (a.is_number()) return a.as_double() == b.as_double();
  if (a.is_array()) {
    return std::equal(a.as_array()->begin(), a.as_array()->end(), b.as_array()->begin(),
                      b.as_array()->end(), same);
  }
  if (!a.is_object()) return a == b;
  if (a.as_object()->size() != b.as_object()->size()) return false;
  return std::all_of(a.as_object()->begin(), a.as_object()->end(), [&](const JsonMember& member) {
    const Json* const other = b.find(member.key);
    return other != nullptr && same(member.value, *other);
  });
}

std::string_view after_thinking(std::string_view content) {
  constexpr std::string_view kEnd = "</think>";
  const std::size_t end = content.find(kEnd);
  return end == std::string_view::npos ? content : content.substr(end + kEnd.size());
}

// Cuts `text` behind the first `mark`; what stood before it, or nothing when it does not occur.
std::optional<std::string_view> take_until(std::string_view& text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view before = text.substr(0, at);
  text.remove_prefix(at + mark.size());
  return before;
}

// The parameters of one call, in the form
// <｜DSML｜parameter name="K" string="true">VALUE</｜DSML｜parameter>; nothing when malformed.
std::optional<Json> read_arguments(std::string_view body) {
  Json arguments = Json::object();
  while (take_until(body, "<｜DSML｜parameter name=\"")) {
    const auto name = take_until(body, "\" string=\"");
    const auto is_text = take_until(body, "\">");
    const auto value = take_until(body, "</｜DSML｜parameter>");
    if (!name || !is_text || !value) return std::nullopt;
    if (*is_text == "true") {
      arguments.set(*name, Json::string(std::string(*value)));
      continue;
    }
    Result<Json> parsed = parse_json(*value);
    if (!parsed.ok()) return std::nullopt;
    arguments.set(*name, std::move(parsed).value());
  }
  return arguments;
}

std::optional<Json> read_tool_calls(std::string_view reply) {
  Json calls = Json::array();
  while (take_until(reply, "<｜DSML｜invoke name=\"")) {
    const auto name = take_until(reply, "\">");
    const auto body = take_until(reply, "</｜DSML｜invoke>");
    if (!name || !body) return std::nullopt;
    auto arguments = read_arguments(*body);
    if (!arguments) return std::nullopt;
    Json call = Json::object();
    call.set("name", Json::string(std::string(*name)));
    call.set("arguments", std::move(*arguments));
    calls.as_array()->push_back(std::move(call));
  }
  return calls;
}

// The reply's content; says why in it when there is none.
std::string ask(http::Client& client, const EvaluationCase& evaluation) {
  http::Request request;
  request.method = "POST";
  request.target = "/v1/chat/completions";
  request.headers.add("Content-Type", "application/json");
  request.body = chat_request(evaluation);
  const Result<http::Response> response = client.send(request);
  if (!response.ok()) return "failed: " + response.status().message();
  if (response->status != 200) return "refused: " + response->body;
  const Json json = parse_json(response->body).value();
  const Json* const content =
      json.find("choices")->as_array()->front().find("message")->find("content");
  return content->as_string() == nullptr ? "" : *content->as_string();
}

}  // namespace

std::vector<EvaluationCase> read_evaluation(const std::filesystem::path& path) {
  std::ifstream file(path);
  FATHOM_CHECK_MSG(file.good(), path.string());
  std::vector<EvaluationCase> cases;
  std::string line;
  while (std::getline(file, line)) {
    const Json json = parse_json(line).value();
    EvaluationCase one;
    one.number = cases.size();
    one.task = text_of(json, "task");
    one.messages = *json.find("messages");
    if (const Json* const tools = json.find("tools")) one.tools = *tools;
    one.thinking = json.find("thinking")->as_bool().value();
    const JsonMember& expect = json.find("expect")->as_object()->front();
    one.kind = expect.key;
    one.expected = expect.value;
    cases.push_back(std::move(one));
  }
  return cases;
}

std::string chat_request(const EvaluationCase& evaluation) {
  Json thinking = Json::object();
  thinking.set("thinking", Json::boolean(evaluation.thinking));
  Json body = Json::object();
  body.set("messages", evaluation.messages);
  if (!evaluation.tools.is_null()) body.set("tools", evaluation.tools);
  body.set("chat_template_kwargs", std::move(thinking));
  body.set("temperature", Json::integer(0));
  body.set("max_tokens", Json::integer(kMaxTokens));
  return to_json(body);
}

bool is_right(const EvaluationCase& evaluation, std::string_view content) {
  const std::string_view reply = evaluation.thinking ? after_thinking(content) : content;
  const std::string* const text = evaluation.expected.as_string();
  if (evaluation.kind == "exact") return reply == *text;
  if (evaluation.kind == "contains") return reply.find(*text) != std::string_view::npos;
  if (evaluation.kind == "prefix") return reply.starts_with(*text);
  if (evaluation.kind == "json") {
    const Result<Json> parsed = parse_json(reply);
    return parsed.ok() && same(*parsed, evaluation.expected);
  }
  FATHOM_CHECK_MSG(evaluation.kind == "tool_calls", evaluation.kind);
  const std::optional<Json> calls = read_tool_calls(reply);
  return calls && same(*calls, evaluation.expected);
}

std::vector<std::string> ask_all(std::uint16_t port, const std::vector<EvaluationCase>& cases) {
  std::vector<std::string> replies(cases.size());
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> clients;
  clients.reserve(kClients);
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      http::Client client({"127.0.0.1", port, ""});
      for (std::size_t at = next++; at < cases.size(); at = next++) {
        replies[at] = ask(client, cases[at]);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  return replies;
}

Verdict judge(const std::vector<EvaluationCase>& cases, const std::vector<std::string>& replies) {
  Verdict verdict;
  std::map<std::string, std::string> misses;  // by task
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (is_right(cases[i], replies[i])) {
      ++verdict.right;
      continue;
    }
    misses[cases[i].task] += "\n  case " + std::to_string(cases[i].number) + ", expected " +
                             cases[i].kind + " " + to_json(cases[i].expected) + ", was " +
                             to_json(Json::string(replies[i]));
  }
  for (const auto& [task, lines] : misses) {
    verdict.misses.append("\n").append(task).append(":").append(lines);
  }
  return verdict;
}

}  // namespace fathom::system_test
