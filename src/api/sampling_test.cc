// The sampling fields of all generating endpoints: what reaches the engine, and what is refused.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/request_fields.h"
#include "api/service_testing.h"
#include "base/json.h"

namespace fathom::api {
namespace {

using wire::ConstraintKind;

struct Endpoint {
  const char* path;
  bool native;
};

constexpr Endpoint kChat{"/v1/chat/completions", false};
constexpr Endpoint kCompletions{"/v1/completions", false};
constexpr Endpoint kGenerate{"/generate", true};

// A body whose sampling has these members.
std::string body_of(const Endpoint& endpoint, const std::string& members) {
  if (endpoint.native) return R"({"text":"a","sampling_params":{)" + members + "}}";
  const std::string prompt = std::string(endpoint.path) == kChat.path
                                 ? R"("messages":[{"role":"user","content":"a"}])"
                                 : R"("prompt":"a")";
  return "{" + prompt + (members.empty() ? "" : ",") + members + "}";
}

// What the message of a refusal is.
std::string message_of(const std::string& body) {
  const Json json = parse_json(body).value();
  const Json* error = json.find("error");
  const Json* message = json.find("message");
  if (error != nullptr) message = error->find("message");
  const std::string* text = message == nullptr ? nullptr : message->as_string();
  return text == nullptr ? body : *text;
}

class Sampling : public testing::TestWithParam<Endpoint> {
 protected:
  wire::GenerateRequest request(const std::string& members) {
    const auto exchange = rig_.post(GetParam().path, body_of(GetParam(), members));
    exchanges_.push_back(exchange);
    while (rig_.engine.requests().size() < exchanges_.size()) {
      if (exchange->complete()) {
        ADD_FAILURE() << members << exchange->response().body;
        return {};
      }
    }
    return rig_.engine.requests().back();
  }

  std::string refusal(const std::string& members) {
    const http::Response response = rig_.ask("POST", GetParam().path, body_of(GetParam(), members));
    EXPECT_EQ(response.status, 400) << members;
    std::string message = message_of(response.body);
    const std::string prefix = "sampling_params.";
    for (std::size_t at = message.find(prefix); at != std::string::npos;
         at = message.find(prefix)) {
      message.erase(at, prefix.size());
    }
    return message;
  }

  ServiceRig rig_;
  std::vector<std::shared_ptr<FakeExchange>> exchanges_;
};

TEST_P(Sampling, PenaltiesAndBiasesReachTheEngine) {
  const wire::SamplingParams none = request("").sampling;
  EXPECT_EQ(none.frequency_penalty, 0.0F);
  EXPECT_EQ(none.presence_penalty, 0.0F);
  EXPECT_EQ(none.repetition_penalty, 1.0F);
  EXPECT_EQ(none.min_new_tokens, 0);
  EXPECT_TRUE(none.logit_bias.empty());

  const wire::SamplingParams all =
      request(R"("frequency_penalty":-2,"presence_penalty":0.5,"repetition_penalty":1e-60,)"
              R"("logit_bias":{"319":-100,"0":1.5,"7":0})")
          .sampling;
  EXPECT_EQ(all.frequency_penalty, -2.0F);
  EXPECT_EQ(all.presence_penalty, 0.5F);
  EXPECT_GT(all.repetition_penalty, 0.0F);
  ASSERT_EQ(all.logit_bias.size(), 3U);
  EXPECT_EQ(all.logit_bias[0].id, 0);
  EXPECT_EQ(all.logit_bias[0].bias, 1.5F);
  EXPECT_EQ(all.logit_bias[1].id, 7);
  EXPECT_EQ(all.logit_bias[2].id, 319);
  EXPECT_EQ(all.logit_bias[2].bias, -100.0F);
}

TEST_P(Sampling, TheLeastOfTokensIsAtMostTheMost) {
  const std::string least = GetParam().native ? "min_new_tokens" : "min_tokens";
  const std::string most = GetParam().native ? "max_new_tokens" : "max_tokens";

  EXPECT_EQ(request("\"" + least + "\":4,\"" + most + "\":4").sampling.min_new_tokens, 4);
  EXPECT_EQ(refusal("\"" + least + "\":5,\"" + most + "\":4"),
            "the request asks for at least 5 tokens of the answer and for at most 4");
  EXPECT_EQ(refusal("\"" + least + "\":-1"),
            least + ": was -1, expected a whole number from 0 to 2147483647");
}

TEST_P(Sampling, WhatEndsByTextIsWatched) {
  EXPECT_FALSE(request("").stream);
  EXPECT_TRUE(request(R"("stop":"x")").stream);
  EXPECT_TRUE(request(R"("stop":["x","yz"])").stream);
  EXPECT_TRUE(request(R"("stop_regex":"x+")").stream);
  EXPECT_FALSE(request(R"("stop":[],"stop_regex":null)").stream);
}

TEST_P(Sampling, ConstraintsReachTheEngine) {
  const std::string tag =
      R"({"type":"structural_tag","format":{"type":"const_string","value":"x"}})";
  struct Case {
    std::string members;
    ConstraintKind kind;
    std::string text;
  };
  std::vector<Case> cases{
      {"", ConstraintKind::kNone, ""},
      {R"("regex":"a+")", ConstraintKind::kRegex, "a+"},
      {R"("ebnf":"root ::= \"a\"")", ConstraintKind::kEbnf, R"(root ::= "a")"},
      {R"("json_schema":"{\"type\": \"object\"}")", ConstraintKind::kJsonSchema,
       R"({"type":"object"})"},
      {R"("json_schema":{"type":"null"})", ConstraintKind::kJsonSchema, R"({"type":"null"})"},
      {R"("json_schema":"$$ANY$$")", ConstraintKind::kJsonSchema, "{}"},
      {R"("json_schema":false)", ConstraintKind::kJsonSchema, "false"},
      {R"("structural_tag":)" + tag, ConstraintKind::kStructuralTag, tag},
      {R"("structural_tag":)" + to_json(Json::string(tag)), ConstraintKind::kStructuralTag, tag},
      {R"("structural_tag":{"structures":[{"begin":"<a>","schema":{"type":"null"},"end":"</a>"}],)"
       R"("triggers":["<a"]})",
       ConstraintKind::kStructuralTag,
       R"({"type":"structural_tag","format":{"type":"triggered_tags","triggers":["<a"],"tags":[)"
       R"({"type":"tag","begin":"<a>","content":{"type":"json_schema","json_schema":)"
       R"({"type":"null"}},"end":"</a>"}]}})"},
      {R"("response_format":{"type":"text"})", ConstraintKind::kNone, ""},
      {R"("response_format":{"type":"text"},"regex":"a")", ConstraintKind::kRegex, "a"},
      {R"("response_format":{"type":"json_object"})", ConstraintKind::kJsonSchema,
       R"({"type":"object"})"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,)"
       R"("schema":{"type":"null"}}})",
       ConstraintKind::kJsonSchema, R"({"type":"null"})"},
      {R"("response_format":{"type":"json_schema","schema":{"type":"null"}})",
       ConstraintKind::kJsonSchema, R"({"type":"null"})"},
      {R"("response_format":)" + tag, ConstraintKind::kStructuralTag, tag},
  };
  for (const Case& c : cases) {
    const wire::Constraint constraint = request(c.members).constraint;
    EXPECT_EQ(constraint.kind, c.kind) << c.members;
    EXPECT_EQ(constraint.text, c.text) << c.members;
    EXPECT_EQ(constraint.begins_after, -1);
  }
}

TEST_P(Sampling, RefusesByNameAndValue) {
  std::string many_biases = R"("logit_bias":{)";
  for (int i = 0; i <= 1024; ++i) {
    many_biases += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":1";
  }
  many_biases += "}";
  std::string many_stops = R"("stop":["a")";
  for (int i = 0; i < 64; ++i) many_stops += R"(,"a")";
  many_stops += "]";
  const std::string long_stop = "\"stop\":\"" + std::string(1025, 'a') + "\"";
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"("frequency_penalty":2.5)", "frequency_penalty: was 2.5, expected a number from -2 to 2"},
      {R"("presence_penalty":"x")", "presence_penalty: expected a number, was a string"},
      {R"("repetition_penalty":0)",
       "repetition_penalty: was 0, expected a number above 0, at most 2"},
      {R"("logit_bias":{"0":1,"-0":2})",
       R"(logit_bias: has the key "-0", expected token ids of the model: "0" to "319")"},
      {R"("logit_bias":[1])", "logit_bias: expected an object, was an array"},
      {R"("logit_bias":{"320":1})",
       R"(logit_bias: has the key "320", expected token ids of the model: "0" to "319")"},
      {R"("logit_bias":{"":1})",
       R"(logit_bias: has the key "", expected token ids of the model: "0" to "319")"},
      {R"("logit_bias":{"01":1})",
       R"(logit_bias: has the key "01", expected token ids of the model: "0" to "319")"},
      {R"("logit_bias":{"-1":1})",
       R"(logit_bias: has the key "-1", expected token ids of the model: "0" to "319")"},
      {R"("logit_bias":{"1":"x"})", "logit_bias.1: expected a number, was a string"},
      {R"("logit_bias":{"1":1e300})", "logit_bias.1: was 1e300, expected a finite number"},
      {many_biases, "logit_bias: has 1025 members, expected at most 1024"},
      {R"("stop":7)", "stop: expected a string or an array of strings, was a number"},
      {R"("stop":["a",null])", "stop: expected a string or an array of strings, was null"},
      {R"("stop":"")", R"(stop: was "", expected a string of 1 to 1024 bytes)"},
      {R"("stop":["a",""])", R"(stop: was "", expected a string of 1 to 1024 bytes)"},
      {many_stops, "stop: has 65 elements, expected at most 64"},
      {long_stop,
       "stop: was \"" + std::string(79, 'a') + "…, expected a string of 1 to 1024 bytes"},
      {R"("custom_params":{"a":1})", "not built yet: custom_params"},
      {R"("regex":"a","ebnf":"root ::= \"a\"")",
       "regex and ebnf both constrain the answer: give one"},
      {R"("json_schema":"{}","response_format":{"type":"json_object"})",
       "json_schema and response_format both constrain the answer: give one"},
      {R"("regex":"")", R"(regex: was "", expected a text that is not empty)"},
      {R"("regex":{})", "regex: expected a string, was an object"},
      {R"("json_schema":7)", "json_schema: expected a JSON schema or its text, was a number"},
      {R"("json_schema":"[]")", "json_schema: expected a JSON schema or its text, was an array"},
      {R"("structural_tag":{})", "structural_tag: expected format, or structures with triggers"},
      {R"("structural_tag":{"format":5})",
       "structural_tag.format: expected an object, was a number"},
      {R"("structural_tag":{"structures":[{"begin":"a"}],"triggers":[]})",
       "structures[0]: expected an object with begin, schema and end"},
      {R"("response_format":{})", "response_format.type: is missing, expected a string"},
      {R"("response_format":{"type":"yaml"})",
       R"(response_format.type: was "yaml", expected text, json_object, json_schema or )"
       "structural_tag"},
      {R"("response_format":{"type":"json_schema"})",
       "response_format.json_schema.schema: is missing"},
      {R"("response_format":{"type":"json_schema","json_schema":{"schema":"x"}})",
       "response_format.json_schema.schema: expected a JSON schema, was a string"},
  };
  for (const auto& [members, message] : cases) EXPECT_EQ(refusal(members), message) << members;
  EXPECT_EQ(refusal(R"("json_schema":"{")").substr(0, 27), "json_schema: not valid JSON");
  EXPECT_TRUE(rig_.engine.requests().empty());
}

INSTANTIATE_TEST_SUITE_P(Everywhere,
                         Sampling,
                         testing::Values(kChat, kCompletions, kGenerate),
                         [](const auto& endpoint) {
                           std::string name;
                           for (const char c : std::string(endpoint.param.path)) {
                             if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
                           }
                           return name;
                         });

TEST(RequestFields, PriorityAndThePartsOfThePrefixCacheReachTheEngine) {
  ServiceRig rig;
  rig.post("/generate", R"({"text":"a","priority":-3,"extra_key":"k","cache_salt":"s"})");
  rig.post("/generate", R"({"text":"a","extra_key":"1 s","cache_salt":null})");
  rig.post("/generate", R"({"text":["a","b"],"extra_key":["","k"],"cache_salt":"s"})");
  rig.post("/v1/completions", R"({"model":"m","prompt":"a","cache_salt":"s"})");
  const auto requests = rig.engine.wait_requests(5);
  EXPECT_EQ(requests[0].priority, -3);
  EXPECT_EQ(requests[0].cache_namespace, "cache_salt 1 sextra_key 1 k");
  EXPECT_EQ(requests[1].cache_namespace, "extra_key 3 1 s");
  EXPECT_EQ(requests[2].cache_namespace, "cache_salt 1 s");
  EXPECT_EQ(requests[3].cache_namespace, requests[0].cache_namespace);
  EXPECT_EQ(requests[4].cache_namespace, requests[2].cache_namespace);

  EXPECT_EQ(message_of(rig.ask("POST", "/generate", R"({"text":"a","priority":1.5})").body),
            "priority: was 1.5, expected a whole number from -2147483647 to 2147483647");
  EXPECT_EQ(message_of(rig.ask("POST", "/generate", R"({"text":"a","cache_salt":5})").body),
            "cache_salt: expected a string, was a number");
}

// They are copied for each sample, and some of them into each piece of an answer.
TEST(RequestFields, LongNamesAreRefused) {
  ServiceRig rig;
  const auto with = [](std::string_view rest, std::string_view name, const std::string& text) {
    return std::string(rest) + ",\"" + std::string(name) + "\":\"" + text + "\"}";
  };
  struct Case {
    const char* path;
    const char* rest;
    std::vector<const char*> names;
  };
  const Case cases[] = {
      {"/generate", R"({"text":"a")", {"rid", "extra_key", "cache_salt"}},
      {"/v1/completions", R"({"prompt":"a")", {"rid", "extra_key", "cache_salt", "model"}},
      {"/v1/messages",
       R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}])",
       {"rid", "cache_salt", "model"}},
      {"/v1/responses", R"({"input":"a")", {"rid", "cache_salt", "model"}},
      {"/api/generate", R"({"prompt":"a")", {"cache_salt", "model"}},
  };
  std::size_t taken = 0;
  for (const Case& each : cases) {
    for (const char* name : each.names) {
      const std::string longest(kMaxNameBytes, static_cast<char>('a' + taken));  // a rid is new
      const auto exchange = rig.post(each.path, with(each.rest, name, longest));
      rig.engine.wait_requests(++taken);
      EXPECT_THAT(rig.ask("POST", each.path, with(each.rest, name, longest + "x")).body,
                  testing::HasSubstr(std::string(name) + ": has 1025 bytes, expected at most 1024"))
          << each.path;
    }
  }
}

TEST(RequestFields, AWrongConstraintOfTheEngineIs400) {
  for (const char* stream : {"false", "true"}) {
    ServiceRig rig;
    auto exchange =
        rig.post(kChat.path, body_of(kChat, std::string(R"("regex":"(","stream":)") + stream));
    const auto request = rig.engine.wait_requests(1)[0];
    auto output = ServiceRig::last(ServiceRig::piece(request, ""), wire::Finish::kAbort);
    output.error = Status(Code::kInvalidArgument, "regex: unclosed group at 1");
    rig.publish(output);

    EXPECT_EQ(exchange->wait().status, 400);
    EXPECT_EQ(message_of(exchange->wait().body), "regex: unclosed group at 1");
  }
}

TEST(AutoTruncate, ShortensPromptAndAnswer) {
  ServiceOptions options = ServiceRig::default_options();
  options.auto_truncate = true;
  ServiceRig rig(options);
  rig.post("/generate", R"({"text":")" + std::string(2000, 'a') +
                            R"(","return_logprob":true,"sampling_params":{"max_new_tokens":50}})");
  rig.engine.wait_requests(1);
  rig.post("/generate", R"({"text":"abc","sampling_params":{"max_new_tokens":5000}})");

  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].prompt.size(), 994U);
  EXPECT_EQ(requests[0].sampling.max_new_tokens, 5);
  EXPECT_EQ(requests[0].logprobs.prompt_start, 994);
  EXPECT_EQ(requests[1].prompt.size(), 3U);
  EXPECT_EQ(requests[1].sampling.max_new_tokens, 996);
}

TEST(AutoTruncate, TellsWhatItCuts) {
  ServiceOptions options = ServiceRig::default_options();
  options.auto_truncate = true;
  ServiceRig rig(options);
  testing::internal::CaptureStderr();

  rig.post("/generate", R"({"text":")" + std::string(2000, 'a') +
                            R"(","rid":"long","sampling_params":{"max_new_tokens":null}})");
  rig.engine.wait_requests(1);
  rig.post("/generate", R"({"text":"abc","rid":"many","sampling_params":{"max_new_tokens":5000}})");
  rig.engine.wait_requests(2);
  rig.post("/generate", R"({"text":"abc","rid":"good","sampling_params":{"max_new_tokens":5}})");
  rig.engine.wait_requests(3);

  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, testing::HasSubstr("The input of \"long\" (2000 tokens) is longer than the 994 "
                                      "that fit. Truncating the input.\n"));
  EXPECT_THAT(log, testing::HasSubstr("The tokens of \"many\" (3 input + 5000 new) exceed the "
                                      "context (1000). Truncating max_new_tokens.\n"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 2) << log;
}

TEST(AutoTruncate, EchoShowsThePromptAsItWasSent) {
  ServiceOptions options = ServiceRig::default_options();
  options.auto_truncate = true;
  ServiceRig rig(options);
  const std::string prompt = "<think>" + std::string(1200, 'a');
  const auto exchange =
      rig.post("/v1/completions", R"({"prompt":")" + prompt + R"(","echo":true,"max_tokens":3})");
  const auto request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.prompt.size(), 994U);

  rig.publish(ServiceRig::last(ServiceRig::piece(request, "xyz"), wire::Finish::kLength));

  const Json answer = parse_json(exchange->wait().body).value();
  EXPECT_EQ(*answer.find("choices")->as_array()->front().find("text")->as_string(), prompt + "xyz");
}

}  // namespace
}  // namespace fathom::api
