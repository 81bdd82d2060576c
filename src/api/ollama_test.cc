#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/service_testing.h"
#include "base/json.h"

namespace fathom::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using wire::Finish;

const std::string kTool =
    R"({"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"c":{"type":"string"}}}}})";

constexpr const char* kCall =
    "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"
    "<｜DSML｜parameter name=\"c\" string=\"true\">Oslo</｜DSML｜parameter>\n"
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>";

ServiceOptions parsing_options() {
  ServiceOptions options = ServiceRig::default_options();
  options.context_tokens = 1 << 16;
  options.max_prompt_tokens = 1 << 16;
  options.reasoning = text::ReasoningFormat::kDeepSeekV3;
  options.tool_calls = text::ToolCallFormat::kDeepSeekV32;
  return options;
}

std::string chat_body(const std::string& more = "") {
  return R"({"model":"m","messages":[{"role":"user","content":"hello"}])" + more + "}";
}

// Every value behind `key`, up to the first of `ends`, replaced by 0.
std::string without_values(std::string text, const std::string& key, const char* ends) {
  for (std::size_t at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
    at += key.size();
    const std::size_t end = std::min(text.find_first_of(ends, at + 1), text.size());
    const bool quoted = end < text.size() && text[end] == '"';
    text.replace(at, end - at + (quoted ? 1 : 0), "0");
  }
  return text;
}

// The lines of an answer; ids, times and durations replaced by 0.
std::vector<std::string> lines_of(const std::string& body) {
  std::string plain = body;
  for (const char* const name : {"created_at", "id", "modified_at"}) {
    plain = without_values(plain, std::string("\"") + name + "\":", "\"");
  }
  plain = without_values(plain, "_duration\":", ",}");
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < plain.size();) {
    const std::size_t end = std::min(plain.find('\n', begin), plain.size());
    lines.push_back(plain.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::string stats(const wire::GenerateRequest& request, int generated) {
  return R"("total_duration":0,"load_duration":0,"prompt_eval_count":)" +
         std::to_string(request.prompt.size()) + R"(,"prompt_eval_duration":0,"eval_count":)" +
         std::to_string(generated) + R"(,"eval_duration":0})";
}

TEST(Ollama, ChatStreamsLines) {
  ServiceRig rig(parsing_options());
  const auto exchange =
      rig.post("/api/chat", chat_body(R"(,"think":true,"tools":[)" + kTool + "]"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_TRUE(request.stream);
  rig.publish(ServiceRig::piece(request, "hm"));
  rig.publish(ServiceRig::piece(request, "</think>yo", 2));
  const std::string call(kCall);
  const std::size_t half = call.find("Oslo");
  rig.publish(ServiceRig::piece(request, call.substr(0, half), 12));
  rig.publish(
      ServiceRig::last(ServiceRig::piece(request, call.substr(half), 12 + half), Finish::kStop));

  const http::Response& response = exchange->wait();
  EXPECT_EQ(*response.headers.find("Content-Type"), "application/x-ndjson");
  const std::string head =
      R"({"model":"m","created_at":0,"message":{"role":"assistant","content":)";
  const int generated = 12 + static_cast<int>(call.size()) + 1;
  EXPECT_THAT(
      lines_of(response.body),
      ElementsAre(head + R"("","thinking":"hm"},"done":false})", head + R"("yo"},"done":false})",
                  head + R"("","tool_calls":[{"id":0,"function":{"index":0,"name":"f",)" +
                      R"("arguments":{"c":"Oslo"}}}]},"done":false})",
                  head + R"(""},"done":true,"done_reason":"stop",)" + stats(request, generated)));
}

TEST(Ollama, ChatAnswersInOneObject) {
  ServiceRig rig(parsing_options());
  const auto exchange = rig.post(
      "/api/chat", chat_body(R"(,"stream":false,"options":{"num_predict":7,"temperature":0,)"
                             R"("top_k":0,"seed":-1,"repeat_penalty":1.5,"num_ctx":9})"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.sampling.max_new_tokens, 7);
  EXPECT_EQ(request.sampling.temperature, 0);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5F);
  rig.publish(ServiceRig::piece(request, "a"));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "b", 1), Finish::kLength));
  EXPECT_EQ(*exchange->wait().headers.find("Content-Type"), "application/json");
  EXPECT_THAT(lines_of(exchange->response().body),
              ElementsAre(R"({"model":"m","created_at":0,"message":{"role":"assistant",)"
                          R"("content":"ab"},"done":true,"done_reason":"length",)" +
                          stats(request, 2)));
}

TEST(Ollama, ACallThatIsCutIsToldWithoutArguments) {
  ServiceRig rig(parsing_options());
  const auto exchange = rig.post("/api/chat", chat_body(R"(,"tools":[)" + kTool + "]"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  const std::string call(kCall);
  rig.publish(ServiceRig::last(ServiceRig::piece(request, call.substr(0, call.find("lo</"))),
                               Finish::kLength));
  EXPECT_THAT(exchange->wait().body,
              HasSubstr(R"("name":"f","arguments":{}}}]},"done":true,"done_reason":"length")"));
}

TEST(Ollama, ChatReadsMessagesAsTheChatEndpointDoes) {
  ServiceRig rig(parsing_options());
  rig.post("/api/chat",
           R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},)"
           R"({"role":"assistant","content":"","thinking":"t","tool_calls":[)"
           R"({"function":{"name":"f","arguments":{"c":"1"}}}]},)"
           R"({"role":"tool","tool_name":"f","content":"r"}],"tools":[)" +
               kTool + "]}");
  rig.post("/v1/chat/completions",
           R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},)"
           R"({"role":"assistant","content":"","tool_calls":[{"type":"function",)"
           R"("function":{"name":"f","arguments":"{\"c\":\"1\"}"}}]},)"
           R"({"role":"tool","content":"r"}],"tools":[)" +
               kTool + "]}");
  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(rig.tokenizer->decode(requests[0].prompt, false),
            rig.tokenizer->decode(requests[1].prompt, false));
}

TEST(Ollama, GenerateWrapsAPromptUnlessItIsRaw) {
  ServiceRig rig;
  rig.post("/api/generate", R"({"prompt":"hello","system":"s"})");
  const auto exchange = rig.post("/api/generate", R"({"model":"m","prompt":"hello","raw":true})");
  const auto requests = rig.engine.wait_requests(2);
  const bool first_is_raw = requests[0].prompt.size() < requests[1].prompt.size();
  const wire::GenerateRequest& raw = requests[first_is_raw ? 0 : 1];
  const wire::GenerateRequest& wrapped = requests[first_is_raw ? 1 : 0];
  EXPECT_EQ(rig.tokenizer->decode(raw.prompt), "hello");
  EXPECT_TRUE(
      rig.tokenizer->decode(wrapped.prompt, false).ends_with("hello<｜Assistant｜></think>"));

  rig.publish(ServiceRig::last(ServiceRig::piece(raw, "yo"), Finish::kStop));
  EXPECT_THAT(lines_of(exchange->wait().body),
              ElementsAre(R"({"model":"m","created_at":0,"response":"yo","done":false})",
                          R"({"model":"m","created_at":0,"response":"","done":true,)"
                          R"("done_reason":"stop",)" +
                              stats(raw, 3)));
}

TEST(Ollama, AskingForNothingTellsThatTheModelIsThere) {
  for (const char* const path : {"/api/generate", "/api/chat"}) {
    ServiceRig rig;
    const auto exchange = rig.post(path, R"({"model":"m"})");
    const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
    EXPECT_EQ(request.sampling.max_new_tokens, 0);
    rig.publish(ServiceRig::last(ServiceRig::piece(request, ""), Finish::kLength));
    const auto lines = lines_of(exchange->wait().body);
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_TRUE(lines[0].ends_with(R"("done":true,"done_reason":"load"})")) << lines[0];
  }
}

TEST(Ollama, AFormatConstrains) {
  const auto constraint = [](const std::string& format) {
    ServiceRig rig;
    rig.post("/api/chat", chat_body(R"(,"format":)" + format));
    return rig.engine.wait_requests(1)[0].constraint.text;
  };
  EXPECT_EQ(constraint(R"("")"), "");
  EXPECT_EQ(constraint(R"("json")"), R"({"type":"object"})");
  EXPECT_EQ(constraint(R"({"type":"array"})"), R"({"type":"array"})");
}

TEST(Ollama, RefusesByName) {
  const auto cases = std::to_array<std::pair<std::string, std::string>>({
      {chat_body(R"(,"format":"xml")"), "format: was \"xml\""},
      {chat_body(R"(,"think":"much")"), "think: was \"much\""},
      {chat_body(R"(,"options":{"num_predict":"x"})"), "options.num_predict: "},
      {chat_body(R"(,"options":{"temperature":-1})"), "options.temperature: was -1"},
      {chat_body(R"(,"tools":3)"), "tools: "},
      {R"({"messages":3})", "messages: "},
      {R"({"messages":[{"role":"user","content":"a","images":["aGk="]}]})",
       "messages[0]: images: this model reads text alone"},
      {R"({"messages":[{"role":"user","content":[]}]})", "messages[0]: content: "},
      {R"({"messages":[{"role":"poet","content":"a"}]})", "messages[0]"},
      {R"({"messages":[{"role":"assistant","tool_calls":[3]}]})", "messages[0]: tool_calls: "},
  });
  ServiceRig rig;
  for (const auto& [body, message] : cases) {
    const http::Response& response = rig.ask("POST", "/api/chat", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_THAT(response.body, HasSubstr(R"({"error":")")) << body;
    const Result<Json> json = parse_json(response.body);
    EXPECT_THAT(*json->find("error")->as_string(), HasSubstr(message)) << body;
  }
  EXPECT_EQ(rig.ask("POST", "/api/generate", R"({"prompt":"a","suffix":"b"})").status, 400);
}

TEST(Ollama, AFailureEndsAStreamWithALine) {
  ServiceRig rig;
  const auto exchange = rig.post("/api/chat", chat_body());
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::piece(request, "a"));
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "", 1), Finish::kAbort);
  output.error = Status(Code::kInternal, "broken");
  rig.publish(std::move(output));
  EXPECT_EQ(lines_of(exchange->wait().body).back(), R"({"error":"broken"})");
}

TEST(Ollama, TellsWhatThereIs) {
  ServiceOptions options = parsing_options();
  options.served_model_name = "tiny";
  options.model_type = "deepseek_v32";
  options.version = "0.1";
  options.weight_gigabytes = 2;
  ServiceRig rig(std::move(options));
  EXPECT_EQ(rig.ask("GET", "/").body, "Ollama is running");
  EXPECT_EQ(rig.ask("HEAD", "/").status, 200);
  EXPECT_EQ(rig.ask("GET", "/api/version").body, R"({"version":"0.1"})");
  const std::string details =
      R"("details":{"parent_model":"","format":"safetensors","family":"deepseek_v32",)"
      R"("families":["deepseek_v32"],"parameter_size":"","quantization_level":""})";
  EXPECT_THAT(lines_of(rig.ask("GET", "/api/tags").body),
              ElementsAre(R"({"models":[{"name":"tiny","model":"tiny","modified_at":0,)"
                          R"("size":2000000000,"digest":"",)" +
                          details + "}]}"));
  const std::string shown = rig.ask("POST", "/api/show", R"({"model":"tiny:latest"})").body;
  EXPECT_TRUE(parse_json(shown).ok());
  EXPECT_THAT(shown, HasSubstr(details));
  EXPECT_THAT(shown, HasSubstr(R"("deepseek_v32.context_length":65536)"));
  EXPECT_THAT(shown, HasSubstr(R"("capabilities":["completion","tools","thinking"])"));
  const http::Response& other = rig.ask("POST", "/api/show", R"({"model":"other"})");
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(other.body, R"({"error":"model 'other' not found"})");
}

TEST(Ollama, PathsMove) {
  ServiceOptions options = ServiceRig::default_options();
  options.moved_paths = {{"/api/tags", "/ollama/tags"}};
  ServiceRig rig(std::move(options));
  EXPECT_EQ(rig.ask("GET", "/ollama/tags").status, 200);
  EXPECT_EQ(rig.ask("GET", "/api/tags").status, 404);
  EXPECT_EQ(rig.ask("GET", "/api/version").status, 200);
}

}  // namespace
}  // namespace fathom::api
