#include "api/service.h"

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "api/service_testing.h"

namespace fathom::api {
namespace {

using wire::Finish;

http::Request request_with(std::string_view method, std::string_view path) {
  http::Request request;
  request.method = method;
  request.path = path;
  return request;
}

// Life of a call

TEST(Service, ALeavingClientEndsItsRequests) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"a","stream":true,"sampling_params":{"n":2}})");
  const auto requests = rig.engine.wait_requests(2);

  exchange->leave();

  EXPECT_EQ(rig.engine.wait_aborts(2),
            (std::vector<wire::RequestId>{requests[0].id, requests[1].id}));
  EXPECT_EQ(rig.service->unfinished(), 1U);
  for (const auto& request : requests) {
    rig.publish(ServiceRig::last(ServiceRig::piece(request, "x"), Finish::kAbort));
  }
  rig.wait_idle();
  EXPECT_FALSE(exchange->complete());
}

TEST(Service, AFailedWriteEndsTheRequest) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"a","stream":true})");
  const auto request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::piece(request, "x"));

  exchange->leave();  // asks for the first abort
  rig.publish(ServiceRig::piece(request, "y", 1));

  EXPECT_GE(rig.engine.wait_aborts(2).size(), 2U);
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "", 2), Finish::kAbort));
  rig.wait_idle();
}

TEST(Service, AFullQueueIsAnswered503) {
  ServiceRig rig;
  rig.engine.refuse({Code::kResourceExhausted, "full"});

  const http::Response response = rig.ask("POST", "/generate", R"({"text":"a"})");

  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(*response.headers.find("Retry-After"), "1");
  EXPECT_EQ(response.body,
            R"({"object":"error","message":"The request queue is full.","type":"503",)"
            R"("param":null,"code":503})");
}

TEST(Service, APartOfACallThatDoesNotFitTakesTheRestBack) {
  ServiceRig rig;
  rig.engine.refuse({Code::kResourceExhausted, "full"}, 2);

  const http::Response response =
      rig.ask("POST", "/generate", R"({"text":"a","rid":"r","sampling_params":{"n":3}})");

  EXPECT_EQ(response.status, 503);
  const auto sent = rig.engine.requests();
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(rig.engine.wait_aborts(2), (std::vector<wire::RequestId>{sent[0].id, sent[1].id}));
  rig.publish(ServiceRig::last(ServiceRig::piece(sent[0], "late"), Finish::kAbort));

  rig.engine.refuse({});
  rig.post("/generate", R"({"text":"a","rid":"r"})");
  EXPECT_EQ(rig.engine.wait_requests(3).size(), 3U) << "the rid is free again";
}

TEST(Service, AnEngineThatIsGoneIsAnswered503) {
  ServiceRig rig;
  rig.engine.refuse({Code::kUnavailable, "the engine has ended"});

  EXPECT_EQ(rig.ask("POST", "/generate", R"({"text":"a"})").body,
            R"({"object":"error","message":"the engine has ended","type":"503",)"
            R"("param":null,"code":503})");
}

TEST(Service, ARidInFlightIsRefused) {
  ServiceRig rig;
  auto first = rig.post("/generate", R"({"text":"a","rid":"r"})");
  const auto request = rig.engine.wait_requests(1)[0];

  EXPECT_EQ(rig.ask("POST", "/generate", R"({"text":"a","rid":"r"})").status, 400);

  rig.publish(ServiceRig::last(ServiceRig::piece(request, "x"), Finish::kLength));
  rig.post("/generate", R"({"text":"a","rid":"r"})");
  EXPECT_EQ(rig.engine.wait_requests(2).size(), 2U);
}

TEST(Service, AbortRequestEndsThatRidAndNoOther) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"a","rid":"r"})");
  rig.post("/generate", R"({"text":"a","rid":"r2"})");
  const auto requests = rig.engine.wait_requests(2);

  const http::Response response = rig.ask("POST", "/abort_request", R"({"rid":"r"})");
  EXPECT_EQ(rig.ask("POST", "/abort_request", R"({"rid":"unknown"})").status, 200);

  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(rig.engine.wait_aborts(1), std::vector<wire::RequestId>{requests[0].id});

  auto output = ServiceRig::last(ServiceRig::piece(requests[0], "x"), Finish::kAbort);
  output.error = Status(Code::kCancelled, "asked to end");
  rig.publish(output);
  EXPECT_NE(exchange->wait().body.find(
                R"("finish_reason":{"type":"abort","message":"asked to end","status_code":null,)"),
            std::string::npos)
      << exchange->response().body;
}

TEST(Service, AbortAllEndsEverything) {
  ServiceRig rig;
  rig.post("/generate", R"({"text":"a"})");
  rig.post("/generate", R"({"text":"a"})");
  rig.engine.wait_requests(2);

  rig.ask("POST", "/abort_request", R"({"abort_all":true})");

  EXPECT_EQ(rig.engine.wait_aborts(2).size(), 2U);
}

TEST(Service, AFailureBeforeTheAnswerHasItsStatus) {
  const std::map<Code, int> expected{{Code::kInvalidArgument, 400},
                                     {Code::kResourceExhausted, 503},
                                     {Code::kUnavailable, 503},
                                     {Code::kDeadlineExceeded, 504},
                                     {Code::kInternal, 500}};
  for (const auto& [code, status] : expected) {
    for (const char* body : {R"({"text":"a"})", R"({"text":"a","stream":true})"}) {
      ServiceRig rig;
      auto exchange = rig.post("/generate", body);
      const auto request = rig.engine.wait_requests(1)[0];

      auto output = ServiceRig::last(ServiceRig::piece(request, ""), Finish::kAbort);
      output.error = Status(code, "why");
      rig.publish(output);

      EXPECT_EQ(exchange->wait().status, status) << code_name(code) << body;
      rig.wait_idle();
    }
  }
}

TEST(Service, AFailureInAStreamIsAnEventAndEndsTheOtherSamples) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"a","stream":true,"sampling_params":{"n":2}})");
  const auto requests = rig.engine.wait_requests(2);
  rig.publish(ServiceRig::piece(requests[0], "x"));

  auto output = ServiceRig::last(ServiceRig::piece(requests[0], "", 1), Finish::kAbort);
  output.error = Status(Code::kUnavailable, "the device is gone");
  rig.publish(output);

  const std::vector<std::string> events = events_of(exchange->wait().body);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[1], R"({"error":{"message":"the device is gone"}})");
  EXPECT_EQ(events[2], "[DONE]");
  EXPECT_EQ(rig.engine.wait_aborts(2).size(), 2U);
}

TEST(Service, OneCallOfOutputsWritesOncePerConnection) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"a","stream":true,"sampling_params":{"n":3}})");
  const auto requests = rig.engine.wait_requests(3);

  for (const auto& request : requests) rig.engine.publish(ServiceRig::piece(request, "x"));
  rig.service->on_outputs();
  EXPECT_EQ(exchange->writes(), 1);
  for (const auto& request : requests) {
    rig.engine.publish(ServiceRig::last(ServiceRig::piece(request, "y", 1), Finish::kLength));
  }
  rig.service->on_outputs();

  EXPECT_EQ(exchange->writes(), 2);
  EXPECT_EQ(events_of(exchange->wait().body).size(), 7U);
}

TEST(Service, DrainingRefusesNewWorkAndFinishesTheOld) {
  ServiceRig rig;
  auto exchange = rig.post("/generate", R"({"text":"a"})");
  const auto request = rig.engine.wait_requests(1)[0];

  rig.service->set_state(ServiceState::kDraining);
  EXPECT_EQ(rig.ask("POST", "/generate", R"({"text":"a"})").status, 503);
  EXPECT_EQ(rig.service->unfinished(), 1U);
  rig.service->abort_all();
  EXPECT_EQ(rig.engine.wait_aborts(1), std::vector<wire::RequestId>{request.id});
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "x"), Finish::kAbort));

  EXPECT_EQ(exchange->wait().status, 200);
  rig.wait_idle();
}

TEST(Service, DrainingIsFinal) {
  ServiceRig rig;
  rig.service->set_state(ServiceState::kDraining);

  rig.service->set_state(ServiceState::kUp);

  EXPECT_EQ(rig.service->state(), ServiceState::kDraining);
  EXPECT_EQ(rig.ask("POST", "/generate", R"({"text":"a"})").status, 503);
}

// Health

TEST(Health, ReadyDoesNotAskTheEngine) {
  ServiceRig rig;
  EXPECT_EQ(rig.ask("GET", "/ready").status, 200);
  rig.service->set_state(ServiceState::kUnhealthy);
  EXPECT_EQ(rig.ask("GET", "/ready").status, 503);
  EXPECT_TRUE(rig.engine.requests().empty());
}

constexpr std::string_view kCoreLoad =
    R"({"dp_rank":0,"num_running_reqs":2,"num_waiting_reqs":3,"num_waiting_uncached_tokens":70,)"
    R"("num_used_tokens":256,"num_total_tokens":326,"max_total_num_tokens":4096,)"
    R"("max_running_requests":48,"token_usage":0.0625,"gen_throughput":0,"cache_hit_rate":0.25,)"
    R"("utilization":0)";
constexpr std::string_view kMemoryLoad =
    R"(,"memory":{"weight_gb":1.235,"kv_cache_gb":0,"graph_gb":0,"token_capacity":4096})";

ServiceOptions load_options() {
  ServiceOptions options = ServiceRig::default_options();
  options.max_running = 48;
  options.weight_gigabytes = 1.2345678;
  return options;
}

wire::EngineLoad some_load() {
  wire::EngineLoad load{.running = 2,
                        .waiting = 3,
                        .waiting_for_grammar = 1,
                        .waiting_retracted = 2,
                        .waiting_tokens = 70,
                        .pages_used = 4,
                        .pages = 64};
  load.totals.cached_tokens = 1;
  load.totals.prefill_tokens = 3;
  return load;
}

TEST(Info, LoadsHaveTheShapeOfSglang) {
  ServiceRig rig(load_options());
  rig.engine.set_load(some_load());

  const std::string body = rig.ask("GET", "/v1/loads").body;

  EXPECT_TRUE(body.starts_with(R"({"timestamp":"20)")) << body;
  const std::size_t loads = body.find(R"(+00:00","version":"0.1","accelerator":null,)");
  ASSERT_NE(loads, std::string::npos) << body;
  EXPECT_EQ(body.substr(loads),
            R"(+00:00","version":"0.1","accelerator":null,"num_accelerators":1,"loads":[)" +
                std::string(kCoreLoad) + std::string(kMemoryLoad) +
                R"(,"disaggregation":{"mode":"null","prefill_prealloc_queue_reqs":0,)"
                R"("prefill_inflight_queue_reqs":0,"decode_prealloc_queue_reqs":0,)"
                R"("decode_transfer_queue_reqs":0,"decode_retracted_queue_reqs":0,)"
                R"("kv_transfer_speed_gb_s":0,"kv_transfer_latency_ms":0},)"
                R"("queues":{"waiting":3,"grammar":1,"paused":0,"retracted":2}}]})");
}

TEST(Info, LoadsTellWhatIsAskedFor) {
  ServiceRig rig(load_options());
  rig.engine.set_load(some_load());
  const auto told = [&rig](const std::string& query) {
    http::Request request = request_with("GET", "/v1/loads");
    request.target = "/v1/loads?" + query;
    return rig.send(request)->wait();
  };
  const auto loads = [&told](const std::string& query) {
    const std::string body = told(query).body;
    return body.substr(body.find("\"loads\":"));
  };
  const std::string core = R"("loads":[)" + std::string(kCoreLoad);

  EXPECT_EQ(loads("include=core&dp_rank=0"), core + "}]}");
  EXPECT_EQ(loads("include=spec,%20lora"), core + "}]}");
  EXPECT_EQ(loads("include=core%2Cmemory&format=xml"), core + std::string(kMemoryLoad) + "}]}");
  EXPECT_EQ(loads("include=&dp_rank=0").substr(0, core.size() + 9), core + R"(,"memory")");
  EXPECT_EQ(loads("dp_rank=1"), R"("loads":[]})");
  EXPECT_EQ(told("include=core,x").body,
            R"({"object":"error","message":"include: was \"x\", expected core, memory, spec, )"
            R"(lora, disagg, queues or all","type":"400","param":null,"code":400})");
  EXPECT_EQ(told("dp_rank=x").status, 400);

  const http::Response text = told("format=prometheus&include=queues");
  EXPECT_EQ(*text.headers.find("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_TRUE(
      text.body.starts_with("# TYPE sglang_num_running_reqs gauge\n"
                            "sglang_num_running_reqs{dp_rank=\"0\"} 2\n"))
      << text.body;
  EXPECT_NE(text.body.find("\nsglang_token_usage{dp_rank=\"0\"} 0.0625\n"), std::string::npos);
  EXPECT_NE(text.body.find("\nsglang_queues_grammar{dp_rank=\"0\"} 1\n"), std::string::npos);
  EXPECT_EQ(text.body.find("memory"), std::string::npos);
}

TEST(Health, IsDownUntilUpAndWhileDraining) {
  ServiceRig rig;
  for (const ServiceState state :
       {ServiceState::kStarting, ServiceState::kUnhealthy, ServiceState::kDraining}) {
    rig.service->set_state(state);
    EXPECT_EQ(rig.ask("GET", "/health").status, 503);
  }
}

TEST(Health, ProbesOnceForAllWhoAskAndAnswersAtTheFirstOutput) {
  ServiceRig rig;
  auto one = rig.send("GET", "/health");
  auto two = rig.send("GET", "/health_generate");

  const auto requests = rig.engine.wait_requests(1);
  EXPECT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].prompt, std::vector<wire::TokenId>{0});
  EXPECT_EQ(requests[0].sampling.max_new_tokens, 1);
  EXPECT_FALSE(one->complete());
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[0], "x"), Finish::kLength));

  EXPECT_EQ(one->wait().status, 200);
  EXPECT_EQ(one->response().body, "");
  EXPECT_EQ(two->wait().status, 200);
  rig.send("GET", "/health");
  EXPECT_EQ(rig.engine.wait_requests(2).size(), 2U) << "the next one probes again";
}

TEST(Health, AnyOutputIsASignOfLifeButAnAbortIsNot) {
  ServiceRig rig;
  rig.post("/generate", R"({"text":"a","stream":true})");
  const auto request = rig.engine.wait_requests(1)[0];
  auto exchange = rig.send("GET", "/health");
  const auto probe = rig.engine.wait_requests(2)[1];

  rig.publish(ServiceRig::last(ServiceRig::piece(probe, ""), Finish::kAbort));
  EXPECT_FALSE(exchange->complete());
  rig.publish(ServiceRig::piece(request, "x"));

  EXPECT_EQ(exchange->wait().status, 200);
}

TEST(Health, AFullQueueIsNoReasonToSayNo) {
  ServiceRig rig;
  rig.post("/generate", R"({"text":"a","stream":true})");
  const auto request = rig.engine.wait_requests(1)[0];
  rig.engine.refuse({Code::kResourceExhausted, "full"});

  auto exchange = rig.send("GET", "/health");
  EXPECT_FALSE(exchange->complete());
  rig.publish(ServiceRig::piece(request, "x"));

  EXPECT_EQ(exchange->wait().status, 200);
}

TEST(Health, AnEngineThatIsGoneOrSilentIsUnhealthy) {
  ServiceRig rig;
  std::function<void()> when_due;
  std::chrono::milliseconds delay{0};
  rig.service->set_timer([&](std::chrono::milliseconds after, std::function<void()> work) {
    delay = after;
    when_due = std::move(work);
  });

  auto silent = rig.send("GET", "/health");
  EXPECT_FALSE(silent->complete());
  EXPECT_EQ(delay.count(), 20000);
  when_due();
  EXPECT_EQ(silent->wait().status, 503);
  EXPECT_EQ(rig.engine.wait_aborts(1).size(), 1U);

  const auto probe = rig.engine.requests()[0];
  rig.publish(ServiceRig::last(ServiceRig::piece(probe, ""), Finish::kAbort));
  rig.engine.refuse({Code::kUnavailable, "gone"});
  EXPECT_EQ(rig.ask("GET", "/health").status, 503);
}

TEST(Health, CanBeAskedForTheStateAlone) {
  ServiceOptions options = ServiceRig::default_options();
  options.health_generates = false;
  ServiceRig rig(options);

  EXPECT_EQ(rig.ask("GET", "/health").status, 200);
  EXPECT_TRUE(rig.engine.requests().empty());
}

// Routes and small endpoints

TEST(Routes, TellWhatIsUnknownWrongOrNotBuilt) {
  ServiceRig rig;

  EXPECT_EQ(rig.ask("GET", "/nothing").body,
            R"({"object":"error","message":"Not Found","type":"404","param":null,"code":404})");
  const http::Response wrong = rig.ask("GET", "/generate");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(*wrong.headers.find("Allow"), "POST, PUT");
  EXPECT_EQ(rig.ask("POST", "/pd_role_switch").body,
            R"({"object":"error","message":"not built yet: /pd_role_switch","type":"501",)"
            R"("param":null,"code":501})");
  EXPECT_EQ(rig.ask("POST", "/update_weights_from_disk").status, 501);
  EXPECT_EQ(rig.ask("POST", "/v1/embeddings").status, 400);
  EXPECT_EQ(rig.ask("GET", "/ping").status, 200);
}

TEST(Routes, V1WantsJsonBodies) {
  ServiceRig rig;
  http::Request request = request_with("POST", "/v1/completions");
  request.headers.add("Content-Type", "text/plain");
  request.body = R"({"prompt":"a"})";

  EXPECT_EQ(rig.send(request)->wait().body,
            R"({"object":"error","message":"Unsupported Media Type: Content-Type was )"
            R"(\"text/plain\", expected application/json","type":"Bad Request","param":null,)"
            R"("code":400})");

  request.path = "/generate";
  request.body = R"({"text":"a"})";
  rig.send(request);
  EXPECT_EQ(rig.engine.wait_requests(1).size(), 1U);
}

TEST(Routes, AnswerBrowsersOfAnyOrigin) {
  ServiceRig rig;
  http::Request request = request_with("OPTIONS", "/v1/completions");
  request.headers.add("Origin", "http://page.example");
  request.headers.add("Access-Control-Request-Headers", "authorization");

  const http::Response preflight = rig.send(request)->wait();
  EXPECT_EQ(preflight.status, 200);
  EXPECT_EQ(*preflight.headers.find("Access-Control-Allow-Origin"), "http://page.example");
  EXPECT_EQ(*preflight.headers.find("Access-Control-Allow-Headers"), "authorization");

  request.method = "GET";
  request.path = "/v1/models";
  EXPECT_EQ(*rig.send(request)->wait().headers.find("Access-Control-Allow-Origin"),
            "http://page.example");
  EXPECT_EQ(rig.ask("GET", "/v1/models").headers.find("Access-Control-Allow-Origin"), nullptr);
}

TEST(Info, TellsModels) {
  ServiceRig rig;
  const std::string card =
      R"({"id":"tiny","object":"model","created":0,"owned_by":"sglang","root":"tiny",)"
      R"("parent":null,"max_model_len":1000})";

  EXPECT_EQ(without_times(rig.ask("GET", "/v1/models").body),
            R"({"object":"list","data":[)" + card + "]}");
  EXPECT_EQ(without_times(rig.ask("GET", "/v1/models/tiny").body), card);
  const http::Response unknown = rig.ask("GET", "/v1/models/a/b");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.body,
            R"({"error":{"message":"The model 'a/b' does not exist",)"
            R"("type":"invalid_request_error","param":"model","code":"model_not_found"}})");
}

TEST(Info, TellsModelServerAndLoad) {
  ServiceRig rig;
  wire::EngineLoad load;
  load.running = 3;
  load.waiting = 2;
  load.pages_used = 5;
  load.waiting_tokens = 7;
  rig.engine.set_load(load);

  EXPECT_EQ(rig.ask("GET", "/model_info").body,
            R"({"model_path":"/models/tiny","tokenizer_path":"/models/tiny","is_generation":true,)"
            R"("preferred_sampling_params":null,"weight_version":"default",)"
            R"("has_image_understanding":false,"has_audio_understanding":false,)"
            R"("model_type":"deepseek_v32","architectures":["DeepseekV32ForCausalLM"]})");
  EXPECT_EQ(
      rig.ask("GET", "/get_server_info").body,
      R"({"tp_size":1,"status":"ready","max_total_num_tokens":4096,"max_req_input_len":994,)"
      R"("internal_states":[{"tp_size":1,"last_gen_throughput":0,"memory_usage":{"weight":0,)"
      R"("kvcache":0,"token_capacity":4096,"graph":0},"effective_max_running_requests_per_dp":0}],)"
      R"("version":"0.1","kv_events":null})");
  const std::string told = rig.ask("GET", "/get_load").body;
  EXPECT_TRUE(
      told.starts_with(R"([{"dp_rank":0,"num_reqs":5,"num_waiting_reqs":2,"num_tokens":327,)"
                       R"("num_pending_tokens":7,"ts_tic":)"))
      << told;
}

TEST(Info, FlushesTheCacheOnlyWhenIdle) {
  ServiceRig rig;
  EXPECT_EQ(rig.ask("POST", "/flush_cache").status, 200);
  EXPECT_EQ(rig.engine.flushes(), 1);
  rig.post("/generate", R"({"text":"a"})");
  rig.engine.wait_requests(1);

  EXPECT_EQ(rig.ask("GET", "/flush_cache").status, 400);
  EXPECT_EQ(rig.engine.flushes(), 1);
}

TEST(Tokens, GoBothWays) {
  ServiceRig rig;

  EXPECT_EQ(rig.ask("POST", "/v1/tokenize", R"({"prompt":"ab<eos>"})").body,
            R"({"tokens":[97,98,256],"count":3,"max_model_len":1000})");
  EXPECT_EQ(rig.ask("POST", "/tokenize", R"({"prompt":["a","bc"]})").body,
            R"({"tokens":[[97],[98,99]],"count":[1,2],"max_model_len":1000})");
  EXPECT_EQ(rig.ask("POST", "/detokenize", R"({"tokens":[97,256,98]})").body, R"({"text":"ab"})");
  EXPECT_EQ(
      rig.ask("POST", "/v1/detokenize", R"({"tokens":[[97,256],[]],"skip_special_tokens":false})")
          .body,
      R"({"text":["a<eos>",""]})");
  EXPECT_EQ(rig.ask("POST", "/tokenize", "{}").status, 400);
  EXPECT_EQ(rig.ask("POST", "/detokenize", R"({"tokens":[-1]})").status, 400);
  EXPECT_EQ(rig.ask("POST", "/detokenize", R"({"tokens":"a"})").status, 400);
}

constexpr std::size_t kStreamLength = 40;

// Characters [begin, end) of what every stream is sent.
std::string stream_text(std::size_t begin, std::size_t end) {
  std::string text;
  for (std::size_t i = begin; i < end; ++i) text += static_cast<char>('a' + i % 26);
  return text;
}

// Tells random pieces of random requests until `streams` of them are finished.
void tell_streams(ServiceRig& rig, std::size_t streams, std::mt19937& random) {
  std::map<wire::RequestId, std::size_t> sent;
  for (std::size_t finished = 0; finished < streams;) {
    const auto requests = rig.engine.requests();
    if (requests.empty()) continue;
    const auto& request = requests[random() % requests.size()];
    std::size_t& at = sent[request.id];
    if (at >= kStreamLength) continue;
    const std::size_t end = std::min(at + 1 + random() % 5, kStreamLength);
    auto output = ServiceRig::piece(request, stream_text(at, end), at);
    at = end;
    if (at == kStreamLength) {
      output.finish = Finish::kLength;
      ++finished;
    }
    rig.publish(output);
  }
}

// The texts of a stream's events, one after the other.
std::string text_of(const std::vector<std::string>& events) {
  constexpr std::string_view kStart = "{\"text\":\"";
  std::string text;
  for (const std::string& event : events) {
    if (!event.starts_with(kStart)) continue;
    text += event.substr(kStart.size(), event.find('"', kStart.size()) - kStart.size());
  }
  return text;
}

// An engine tells pieces while clients come on other threads.
TEST(Service, ManyStreamsKeepTheirTextAndOrder) {
  constexpr std::size_t kClients = 3;
  constexpr std::size_t kPerClient = 25;
  ServiceOptions options = ServiceRig::default_options();
  options.incremental_streaming = true;
  options.work_threads = 2;
  ServiceRig rig(options);
  std::vector<std::vector<std::shared_ptr<FakeExchange>>> exchanges(kClients);
  std::vector<std::thread> clients;
  clients.reserve(kClients);
  for (auto& of_client : exchanges) {
    clients.emplace_back([&rig, &of_client] {
      for (std::size_t i = 0; i < kPerClient; ++i) {
        of_client.push_back(rig.post("/generate", R"({"text":"a","stream":true})"));
      }
    });
  }

  std::mt19937 random(11);
  tell_streams(rig, kClients * kPerClient, random);
  for (std::thread& client : clients) client.join();

  for (const auto& of_client : exchanges) {
    for (const auto& exchange : of_client) {
      const auto events = events_of(exchange->wait().body);
      EXPECT_EQ(text_of(events), stream_text(0, kStreamLength));
      EXPECT_EQ(events.back(), "[DONE]");
    }
  }
  rig.wait_idle();
}

}  // namespace
}  // namespace fathom::api
