#include <gtest/gtest.h>

#include "api/service_testing.h"
#include "base/json.h"

namespace fathom::api {
namespace {

using wire::Finish;

wire::PositionLogprobs logprob(wire::TokenId id, float value) {
  wire::PositionLogprobs position;
  position.id = id;
  position.logprob = value;
  return position;
}

TEST(Generate, AnswersOneTextInOneObject) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"hi","rid":"r1","sampling_params":{
      "max_new_tokens":5,"temperature":0,"top_p":0.5,"top_k":3,"min_p":0.25,"sampling_seed":-1,
      "stop_token_ids":[9,4,9],"ignore_eos":true}})");

  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "yo\""), Finish::kStop));

  EXPECT_EQ(request.prompt, (std::vector<wire::TokenId>{'h', 'i'}));
  EXPECT_EQ(request.sampling.max_new_tokens, 5);
  EXPECT_EQ(request.sampling.temperature, 0.0F);
  EXPECT_EQ(request.sampling.top_p, 0.5F);
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_EQ(request.sampling.min_p, 0.25F);
  EXPECT_EQ(request.sampling.seed, ~std::uint64_t{0});
  EXPECT_EQ(request.sampling.stop_token_ids, (std::vector<wire::TokenId>{4, 9}));
  EXPECT_TRUE(request.sampling.ignore_eos);
  EXPECT_FALSE(request.stream);
  EXPECT_FALSE(request.logprobs.wanted);
  const http::Response& response = exchange->wait();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(*response.headers.find("content-type"), "application/json");
  EXPECT_EQ(without_times(response.body),
            R"({"text":"yo\"","output_ids":[121,111,34,256],"meta_info":{"id":"r1",)"
            R"("finish_reason":{"type":"stop","matched":256},"prompt_tokens":2,)"
            R"("weight_version":"default","total_retractions":0,"completion_tokens":4,)"
            R"("cached_tokens":0,"e2e_latency":0}})");
}

TEST(Generate, TellsOfDraftsWhenItIsOver) {
  ServiceOptions options = ServiceRig::default_options();
  options.draft_tokens = 3;  // two drafts a step, where a step has them
  ServiceRig rig(options);
  auto exchange = rig.post("/generate", R"({"text":"hi","stream":true})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];

  wire::TokenOutput output = ServiceRig::piece(request, "a");
  output.drafts = {.steps = 1, .drafts = 2, .accepted = 1};
  rig.publish(output);
  output = ServiceRig::last(ServiceRig::piece(request, "bcdefghijklmn", 1), Finish::kLength);
  output.drafts = {.steps = 8, .drafts = 10, .accepted = 4};
  rig.publish(output);

  const std::vector<std::string> events = events_of(exchange->wait().body);
  EXPECT_EQ(events[0].find("spec_"), std::string::npos);
  EXPECT_NE(events[1].find(R"("completion_tokens":14,"cached_tokens":0,"spec_accept_rate":0.4,)"
                           R"("spec_accept_length":1.75,"spec_accept_token_num":4,)"
                           R"("spec_draft_token_num":10,"spec_verify_ct":8,"e2e_latency":)"),
            std::string::npos)
      << events[1];
}

// An answer of one token: no step decoded.
TEST(Generate, TellsOfNoDrafts) {
  ServiceOptions options = ServiceRig::default_options();
  options.draft_tokens = 2;
  ServiceRig rig(options);
  auto exchange = rig.post("/generate", R"({"text":"hi"})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "a"), Finish::kLength));

  const std::string body = exchange->wait().body;
  EXPECT_NE(body.find(R"("spec_accept_rate":0,"spec_accept_length":0,"spec_accept_token_num":0,)"
                      R"("spec_draft_token_num":0,"spec_verify_ct":0,)"),
            std::string::npos)
      << body;
}

TEST(Generate, AbsentFieldsHaveTheirDefaults) {
  ServiceRig rig;
  rig.post("/generate", R"({"text":"hi","unknown_field":{"is":"ignored"}})");
  rig.post("/generate", R"({"text":"hi","sampling_params":{"max_new_tokens":null}})");

  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].sampling.max_new_tokens, 128);
  EXPECT_EQ(requests[0].sampling.temperature, 1.0F);
  EXPECT_EQ(requests[0].sampling.top_p, 1.0F);
  EXPECT_EQ(requests[0].sampling.top_k, 0);
  EXPECT_EQ(requests[0].stream_interval, 1);
  EXPECT_GE(requests[1].sampling.max_new_tokens, 1000);
  EXPECT_NE(requests[0].sampling.seed, requests[1].sampling.seed);
}

TEST(Generate, SeedsThatAreDrawnFollowFromTheRandomSeed) {
  ServiceRig one;
  ServiceRig same;
  ServiceOptions options = ServiceRig::default_options();
  options.random_seed = 8;
  ServiceRig other(options);
  for (ServiceRig* rig : {&one, &same, &other}) rig->post("/generate", R"({"text":"hi"})");

  const std::uint64_t seed = one.engine.wait_requests(1)[0].sampling.seed;
  EXPECT_EQ(same.engine.wait_requests(1)[0].sampling.seed, seed);
  EXPECT_NE(other.engine.wait_requests(1)[0].sampling.seed, seed);
}

TEST(Generate, StreamsAllThatIsThereSoFar) {
  ServiceRig rig;
  auto exchange = rig.send("PUT", "/generate", R"({"text":"hi","rid":"r","stream":true})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_TRUE(request.stream);

  rig.publish(ServiceRig::piece(request, "a"));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "bc", 1), Finish::kLength));

  const http::Response& response = exchange->wait();
  EXPECT_EQ(response.headers.find("content-type")->substr(0, 17), "text/event-stream");
  EXPECT_EQ(without_times(response.body),
            R"(data: {"text":"a","output_ids":[97],"meta_info":{"id":"r","finish_reason":null,)"
            R"("prompt_tokens":2,"weight_version":"default","total_retractions":0,)"
            R"("completion_tokens":1,"cached_tokens":0}})"
            "\n\n"
            R"(data: {"text":"abc","output_ids":[97,98,99],"meta_info":{"id":"r",)"
            R"("finish_reason":{"type":"length","length":3},"prompt_tokens":2,)"
            R"("weight_version":"default","total_retractions":0,"completion_tokens":3,)"
            R"("cached_tokens":0,"e2e_latency":0}})"
            "\n\ndata: [DONE]\n\n");
}

TEST(Generate, StreamsPiecesWhenAskedAtTheStart) {
  ServiceOptions options = ServiceRig::default_options();
  options.incremental_streaming = true;
  ServiceRig rig(options);
  auto exchange = rig.post("/generate", R"({"text":"hi","rid":"r","stream":true})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];

  rig.publish(ServiceRig::piece(request, "a"));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "bc", 1), Finish::kLength));

  const std::vector<std::string> events = events_of(exchange->wait().body);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_TRUE(events[0].starts_with(R"({"text":"a","output_ids":[97],)")) << events[0];
  EXPECT_TRUE(events[1].starts_with(R"({"text":"bc","output_ids":[98,99],)")) << events[1];
}

TEST(Generate, TellsLogprobsOfPromptAndAnswer) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"input_ids":[1,2,3],"rid":"r","return_logprob":true,
      "logprob_start_len":1,"top_logprobs_num":2,"token_ids_logprob":[7],
      "return_text_in_logprobs":true})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_TRUE(request.logprobs.wanted);
  EXPECT_EQ(request.logprobs.prompt_start, 1);
  EXPECT_EQ(request.logprobs.top, 2);
  EXPECT_EQ(request.logprobs.token_ids, (std::vector<wire::TokenId>{7}));

  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "A"), Finish::kLength);
  output.prompt_logprobs = {logprob(2, std::nanf("")), logprob(3, -0.5F)};
  output.prompt_logprobs[1].top = {{'x', -0.25F}, {'y', -2}};
  output.prompt_logprobs[1].asked = {{7, -3}};
  output.logprobs = {logprob('A', -1.5F)};
  output.logprobs[0].top = {{'A', -1.5F}, {200, -2.5F}};
  output.logprobs[0].asked = {{7, -9}};
  rig.publish(output);

  EXPECT_EQ(without_times(exchange->wait().body),
            R"({"text":"A","output_ids":[65],"meta_info":{"id":"r",)"
            R"("finish_reason":{"type":"length","length":1},"prompt_tokens":3,)"
            R"("weight_version":"default","total_retractions":0,)"
            R"("input_token_logprobs":[[null,2,"\u0002"],[-0.5,3,"\u0003"]],)"
            R"("output_token_logprobs":[[-1.5,65,"A"]],)"
            R"("input_top_logprobs":[null,[[-0.25,120,"x"],[-2,121,"y"]]],)"
            "\"output_top_logprobs\":[[[-1.5,65,\"A\"],[-2.5,200,\"\uFFFD\"]]],"
            R"("input_token_ids_logprobs":[null,[[-3,7,"\u0007"]]],)"
            R"("output_token_ids_logprobs":[[[-9,7,"\u0007"]]],)"
            R"("completion_tokens":1,"cached_tokens":0,"e2e_latency":0}})");
}

TEST(Generate, LogprobsHaveNoTextUnlessAsked) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"hi","return_logprob":true})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.logprobs.prompt_start, 2);

  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "A"), Finish::kLength);
  output.logprobs = {logprob('A', -0.1F)};
  rig.publish(output);

  const std::string body = exchange->wait().body;
  EXPECT_NE(body.find(R"("input_token_logprobs":[],"output_token_logprobs":[[-0.1,65,null]],)"
                      R"("completion_tokens")"),
            std::string::npos)
      << body;
}

TEST(Generate, ABatchIsAnsweredInItsOrder) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":["a","b"],"rid":["x","y"],
      "sampling_params":[{"max_new_tokens":1},{"max_new_tokens":2}]})");
  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].sampling.max_new_tokens, 1);
  EXPECT_EQ(requests[1].sampling.max_new_tokens, 2);

  rig.publish(ServiceRig::last(ServiceRig::piece(requests[1], "22"), Finish::kLength));
  EXPECT_FALSE(exchange->complete());
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[0], "1"), Finish::kLength));

  const std::string body = exchange->wait().body;
  EXPECT_TRUE(body.starts_with(R"([{"text":"1","output_ids":[49],"meta_info":{"id":"x",)")) << body;
  EXPECT_NE(body.find(R"(},{"text":"22","output_ids":[50,50],"meta_info":{"id":"y",)"),
            std::string::npos)
      << body;
}

TEST(Generate, EventsOfABatchCarryTheirIndex) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"input_ids":[[1],[2]],"rid":"q","stream":true})");
  const auto requests = rig.engine.wait_requests(2);

  rig.publish(ServiceRig::last(ServiceRig::piece(requests[1], "2"), Finish::kLength));
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[0], "1"), Finish::kLength));

  const std::vector<std::string> events = events_of(exchange->wait().body);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_TRUE(events[0].ends_with(R"(,"index":1})")) << events[0];
  EXPECT_NE(events[0].find(R"("id":"q_1")"), std::string::npos) << events[0];
  EXPECT_TRUE(events[1].ends_with(R"(,"index":0})")) << events[1];
}

TEST(Generate, SamplesShareSeedAndPrompt) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"hi","rid":"r","sampling_params":{"n":2}})");
  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].sampling.seed, requests[1].sampling.seed);
  EXPECT_EQ(requests[0].sampling.sample, 0U);
  EXPECT_EQ(requests[1].sampling.sample, 1U);
  EXPECT_EQ(requests[0].prompt, requests[1].prompt);
  EXPECT_LT(requests[0].id, requests[1].id);

  for (const auto& request : requests) {
    rig.publish(ServiceRig::last(ServiceRig::piece(request, "z"), Finish::kLength));
  }

  const std::string body = exchange->wait().body;
  EXPECT_NE(body.find(R"("id":"r_0")"), std::string::npos) << body;
  EXPECT_NE(body.find(R"("id":"r_1")"), std::string::npos) << body;
}

TEST(Generate, WithoutATokenizerThereAreIdsAlone) {
  ServiceRig rig(ServiceRig::default_options(), false);
  auto exchange = rig.post("/generate", R"({"input_ids":[5],"rid":"r","return_logprob":true,
      "return_text_in_logprobs":true})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "A"), Finish::kLength);
  output.logprobs = {logprob('A', -1)};
  rig.publish(output);

  const std::string body = exchange->wait().body;
  EXPECT_TRUE(body.starts_with(R"({"output_ids":[65],"meta_info":{)")) << body;
  EXPECT_NE(body.find("[[-1,65,null]]"), std::string::npos) << body;
  for (const char* path : {"/v1/completions", "/tokenize", "/detokenize"}) {
    EXPECT_EQ(
        rig.ask("POST", path, R"({"text":"x","prompt":"x","tokens":[1],"messages":[]})").status,
        400)
        << path;
  }
  EXPECT_EQ(rig.ask("POST", "/generate", R"({"text":"x"})").body,
            R"({"error":{"message":"this instance has no tokenizer (--skip-tokenizer-init): )"
            R"(send input_ids to /generate"}})");
}

TEST(Generate, NoStopTrimShowsTheTokenThatEndedIt) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"hi","sampling_params":{"no_stop_trim":true,
      "skip_special_tokens":false}})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "a"), Finish::kStop));

  EXPECT_TRUE(exchange->wait().body.starts_with(R"({"text":"a<eos>",)"))
      << exchange->response().body;
}

struct Refused {
  const char* body;
  const char* answer;
};

class GenerateRefusal : public testing::TestWithParam<Refused> {};

TEST_P(GenerateRefusal, SaysWhatIsWrong) {
  ServiceRig rig;

  const http::Response response = rig.ask("POST", "/generate", GetParam().body);

  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, GetParam().answer);
  EXPECT_TRUE(rig.engine.requests().empty());
}

#define NATIVE(message) R"({"error":{"message":")" message R"("}})"
#define SHAPE(message) \
  R"({"object":"error","message":")" message R"(","type":"Bad Request","param":null,"code":400})"

INSTANTIATE_TEST_SUITE_P(
    Bodies,
    GenerateRefusal,
    testing::Values(
        Refused{"{}", NATIVE("the prompt is missing: give text or input_ids")},
        Refused{R"({"text":"a","input_ids":[1]})",
                NATIVE("text and input_ids are both given: give one")},
        Refused{"[]", SHAPE("expected an object, was an array")},
        Refused{R"({"text":5})",
                SHAPE("text: expected a string or an array of strings, was a number")},
        Refused{R"({"text":[]})", NATIVE("the batch has no prompts, expected at least 1")},
        Refused{R"({"text":""})", NATIVE("the prompt has no tokens, expected at least 1")},
        Refused{R"({"input_ids":[1,320]})",
                NATIVE("input_ids[1]: was 320, expected a token id of the model: 0 to 319")},
        Refused{R"({"input_ids":[-1]})",
                NATIVE("input_ids[0]: was -1, expected a token id of the model: 0 to 319")},
        Refused{R"({"input_ids":[1.5]})",
                NATIVE("input_ids[0]: was 1.5, expected a token id of the model: 0 to 319")},
        Refused{R"({"text":"a","stream":1})",
                SHAPE("stream: expected true or false, was a number")},
        Refused{R"({"text":"a","sampling_params":{"temperature":-0.1}})",
                NATIVE("sampling_params.temperature: was -0.1, expected a number of at least 0")},
        Refused{R"({"text":"a","sampling_params":{"temperature":1e999}})",
                NATIVE("sampling_params.temperature: was 1e999, expected a number of at least 0")},
        Refused{R"({"text":"a","sampling_params":{"top_p":0}})",
                NATIVE("sampling_params.top_p: was 0, expected a number above 0, at most 1")},
        Refused{R"({"text":"a","sampling_params":{"top_k":0}})",
                NATIVE("sampling_params.top_k: was 0, expected -1 or at least 1")},
        Refused{R"({"text":"a","sampling_params":{"min_p":1.01}})",
                NATIVE("sampling_params.min_p: was 1.01, expected a number from 0 to 1")},
        Refused{R"({"text":"a","sampling_params":{"max_new_tokens":-1}})",
                NATIVE("sampling_params.max_new_tokens: was -1, expected a whole number from 0 to "
                       "2147483647")},
        Refused{R"({"text":"a","sampling_params":{"max_new_tokens":"5"}})",
                SHAPE("sampling_params.max_new_tokens: expected a whole number, was a string")},
        Refused{R"({"text":"a","sampling_params":{"n":0}})",
                NATIVE("sampling_params.n: was 0, expected a whole number from 1 to 1024")},
        Refused{
            R"({"text":"a","sampling_params":{"max_new_tokens":999}})",
            NATIVE("the request asks for 1000 tokens, 1 of the prompt and 999 of the answer; the "
                   "context holds fewer than 1000")},
        Refused{R"({"text":"a","sampling_params":{"frequency_penalty":3}})",
                NATIVE("sampling_params.frequency_penalty: was 3, expected a number from -2 to 2")},
        Refused{R"({"text":"a","bootstrap_room":5})", NATIVE("not built yet: bootstrap_room")},
        Refused{R"({"text":"a","data_parallel_rank":1})",
                NATIVE("data_parallel_rank: was 1, expected a whole number from 0 to 0")},
        Refused{R"({"text":"a","logprob_start_len":2})",
                NATIVE("logprob_start_len: was 2, expected a whole number from -1 to 1")},
        Refused{R"({"text":"a","return_logprob":true,"top_logprobs_num":129})",
                NATIVE("top_logprobs_num: was 129, expected a whole number from 0 to 128")},
        Refused{R"({"text":["a","b"],"rid":["x"]})",
                NATIVE("rid: has 1 elements, expected one for each of the 2 prompts")},
        Refused{R"({"text":["a","b"],"rid":["x","x"]})",
                NATIVE("rid: \\\"x\\\" is in flight already; a rid must be new")},
        Refused{R"({"text":["a","b"],"sampling_params":[{"n":1},{"n":2}]})",
                NATIVE("sampling_params.n: was 2 for a prompt, expected the same for all of a "
                       "batch: 1")}));

TEST(Generate, NeutralValuesOfWhatIsNotBuiltAreAccepted) {
  ServiceRig rig;
  rig.post("/generate", R"({"text":"a","bootstrap_room":null,"lora_path":null,"image_data":[],
      "return_hidden_states":false,"data_parallel_rank":0,"sampling_params":{
      "frequency_penalty":0,"presence_penalty":0.0,"repetition_penalty":1,"stop":[],
      "stop_regex":null,"logit_bias":{},"min_new_tokens":0,"regex":null}})");

  EXPECT_EQ(rig.engine.wait_requests(1).size(), 1U);
}

TEST(Generate, EachPromptOfABatchHasItsOwnSampling) {
  ServiceRig rig;
  const auto exchange = rig.post("/generate", R"({"text":["a","b"],"sampling_params":[
      {"stop":"x","frequency_penalty":1},{"regex":"b+","min_new_tokens":2}]})");
  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].sampling.frequency_penalty, 1.0F);
  EXPECT_TRUE(requests[0].stream);
  EXPECT_EQ(requests[1].constraint.text, "b+");
  EXPECT_EQ(requests[1].sampling.min_new_tokens, 2);
  EXPECT_FALSE(requests[1].stream);
  rig.publish(ServiceRig::piece(requests[0], "1x"));
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[1], "2x"), Finish::kLength));

  const Json answers = parse_json(exchange->wait().body).value();
  EXPECT_EQ(*(*answers.as_array())[0].find("text")->as_string(), "1");
  EXPECT_EQ(*(*answers.as_array())[1].find("text")->as_string(), "2x");
}

TEST(Generate, SamplingStartsFromWhatTheServicePrefers) {
  ServiceOptions options = ServiceRig::default_options();
  options.preferred_sampling = R"({"temperature":0.5,"stop":"x","max_new_tokens":7})";
  EXPECT_TRUE(check_preferred_sampling(options).ok());
  ServiceRig rig(options);
  rig.post("/generate", R"({"text":"a","sampling_params":{"max_new_tokens":9,"stop":null}})");
  rig.engine.wait_requests(1);
  rig.post("/generate", R"({"text":"a"})");

  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].sampling.temperature, 0.5F);
  EXPECT_EQ(requests[0].sampling.max_new_tokens, 9);
  EXPECT_FALSE(requests[0].stream);
  EXPECT_EQ(requests[1].sampling.max_new_tokens, 7);
  EXPECT_TRUE(requests[1].stream);
  options.preferred_sampling = R"({"top_p":2})";
  EXPECT_EQ(check_preferred_sampling(options).message(),
            "preferred sampling: top_p: was 2, expected a number above 0, at most 1");
}

TEST(Generate, PromptsAreHeldToContextAndPool) {
  ServiceOptions options = ServiceRig::default_options();
  options.context_tokens = 20;
  options.max_prompt_tokens = 10;
  ServiceRig rig(options);
  const auto ask = [&rig](std::size_t tokens) {
    return rig.ask("POST", "/generate",
                   R"({"rid":"r","sampling_params":{"max_new_tokens":null},"text":")" +
                       std::string(tokens, 'a') + "\"}");
  };

  EXPECT_EQ(ask(20).body, NATIVE("the prompt has 20 tokens; the context holds fewer than 20"));
  EXPECT_EQ(ask(11).body, NATIVE("Request r exceeds the maximum number of tokens: 11 > 10"));
  EXPECT_TRUE(rig.engine.requests().empty());

  rig.post("/generate", R"({"sampling_params":{"max_new_tokens":9},"text":"0123456789"})");
  EXPECT_EQ(rig.engine.wait_requests(1)[0].prompt.size(), 10U);
}

TEST(Generate, MalformedJsonIsAnsweredWithTheByte) {
  ServiceRig rig;

  const http::Response response = rig.ask("POST", "/generate", "{\"text\":");

  EXPECT_EQ(response.status, 400);
  EXPECT_TRUE(response.body.starts_with(R"({"object":"error","message":"not valid JSON)"))
      << response.body;
  EXPECT_TRUE(response.body.ends_with(R"(","type":"Bad Request","param":null,"code":400})"))
      << response.body;
}

}  // namespace
}  // namespace fathom::api
