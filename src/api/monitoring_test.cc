// What a monitor is told, and the endpoints that tell it on.

#include <chrono>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/core.h"
#include "api/request_events.h"
#include "api/service_testing.h"
#include "observe/buckets.h"

namespace fathom::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using wire::Finish;

// A service that is watched.
struct Watched {
  static observe::MonitorOptions options_with(bool metrics) {
    observe::MonitorOptions options;
    options.metrics = metrics;
    options.request_metrics.first_token_bounds = observe::first_token_bounds();
    options.request_metrics.inter_token_bounds = observe::inter_token_bounds();
    options.request_metrics.latency_bounds = observe::request_latency_bounds();
    return options;
  }
  static ServiceOptions watched_by(observe::Monitor& monitor) {
    ServiceOptions options = ServiceRig::default_options();
    options.monitor = &monitor;
    return options;
  }
  explicit Watched(observe::MonitorOptions options = options_with(true))
      : monitor(std::move(options)), rig(watched_by(monitor)) {}

  std::string metrics() { return rig.ask("GET", "/metrics").body; }

  observe::Monitor monitor;
  ServiceRig rig;
};

TEST(MetricsEndpoint, IsThereWithTheFlagAlone) {
  ServiceRig unwatched;
  EXPECT_EQ(unwatched.ask("GET", "/metrics").status, 404);
  Watched without(Watched::options_with(false));
  EXPECT_EQ(without.rig.ask("GET", "/metrics").status, 404);
  Watched with;
  EXPECT_EQ(with.rig.ask("GET", "/metrics").status, 200);
  EXPECT_EQ(with.rig.ask("GET", "/metrics/").status, 200);
  EXPECT_EQ(with.rig.ask("POST", "/metrics").status, 405);
}

TEST(MetricsEndpoint, GaugesAreTheEnginesAtTheMomentOfTheScrape) {
  Watched watched;
  wire::EngineLoad load;
  load.running = 3;
  load.waiting = 2;
  load.pages = 64;
  load.pages_used = 16;
  load.pages_leaked = 1;
  load.slots = 4;
  load.totals.retracted_requests = 5;
  watched.rig.engine.set_load(load);
  EXPECT_THAT(
      watched.metrics(),
      AllOf(HasSubstr("\nsglang:num_running_reqs 3\n"), HasSubstr("num_queue_reqs 2\n"),
            HasSubstr("sglang:token_usage 0.25\n"), HasSubstr("fathom:leaked_pages 1\n"),
            HasSubstr("fathom:free_slots 1\n"), HasSubstr("num_retracted_requests_total 5\n")));
  watched.rig.engine.set_load({});
  EXPECT_THAT(watched.metrics(), HasSubstr("\nsglang:num_running_reqs 0\n"));
}

TEST(MetricsEndpoint, TellsOfThePrefixCacheAndOfDrafts) {
  wire::EngineLoad load;
  load.generated_tokens = 70;
  load.totals.prefill_tokens = 1000;
  load.totals.cached_tokens = 500;
  load.totals.evicted_tokens = 640;
  load.totals.drafts = {.steps = 40, .drafts = 35, .accepted = 30};
  ServiceOptions options;
  options.draft_tokens = 2;

  const observe::EngineValues values = engine_values(load, options);

  EXPECT_EQ(values.draft_tokens, 2);
  EXPECT_EQ(values.verify_steps, 40);
  EXPECT_EQ(values.accepted_drafts, 30);
  Watched watched;
  watched.rig.engine.set_load(load);
  EXPECT_THAT(watched.metrics(),
              AllOf(HasSubstr("realtime_tokens_total{mode=\"prefill_compute\"} 1000\n"),
                    HasSubstr("realtime_tokens_total{mode=\"prefill_cache\"} 500\n"),
                    HasSubstr("realtime_tokens_total{mode=\"decode\"} 70\n"),
                    HasSubstr("sglang:evicted_tokens_total 640\n")));
}

// By the gauges' definitions: a step's first token counts as accepted.
TEST(LoadsAndServerInfo, TellOfDrafts) {
  ServiceOptions options = ServiceRig::default_options();
  options.draft_tokens = 4;
  ServiceRig rig(options);
  wire::EngineLoad load;
  load.totals.drafts = {.steps = 40, .drafts = 100, .accepted = 30};
  rig.engine.set_load(load);

  EXPECT_NE(rig.ask("GET", "/v1/loads")
                .body.find(R"("speculative":{"accept_length":1.75,"accept_rate":0.4375})"),
            std::string::npos);
  EXPECT_NE(rig.ask("GET", "/server_info").body.find(R"("avg_spec_accept_length":1.75,)"),
            std::string::npos);
}

TEST(RequestEvents, CountEachSampleAndEachTokenAfterItsFirst) {
  Watched watched;
  auto exchange =
      watched.rig.post("/generate", R"({"text":"ab","stream":true,"sampling_params":{"n":2}})");
  const auto requests = watched.rig.engine.wait_requests(2);
  watched.rig.publish(ServiceRig::piece(requests[0], "x"));
  watched.rig.publish(ServiceRig::last(ServiceRig::piece(requests[0], "yz", 1), Finish::kLength));
  EXPECT_THAT(watched.metrics(), HasSubstr("sglang:num_requests_total 1\n"));
  watched.rig.publish(ServiceRig::last(ServiceRig::piece(requests[1], "pqr"), Finish::kLength));
  exchange->wait();

  EXPECT_THAT(watched.metrics(), AllOf(HasSubstr("sglang:num_requests_total 2\n"),
                                       HasSubstr("sglang:generation_tokens_total 6\n"),
                                       HasSubstr("time_to_first_token_seconds_count 2\n"),
                                       HasSubstr("inter_token_latency_seconds_count 4\n"),
                                       HasSubstr("e2e_request_latency_seconds_count 2\n"),
                                       HasSubstr("sglang:num_aborted_requests_total 0\n")));
}

TEST(RequestEvents, WhatAnEngineTimedIsBelieved) {
  Watched watched;
  auto exchange = watched.rig.post("/generate", R"({"text":"ab"})");
  const auto request = watched.rig.engine.wait_requests(1)[0];
  // Told at once: 0.1 s for its grammar, 0.2 s in the queue, the first token after 1 s, 4 more in
  // 2 s.
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "vwxyz"), Finish::kLength);
  output.times = {100'000'000, 300'000'000, 1'000'000'000, 3'000'000'000};
  watched.rig.publish(output);
  exchange->wait();

  EXPECT_THAT(watched.metrics(),
              AllOf(HasSubstr("queue_time_seconds_sum 0.2\n"),
                    HasSubstr("latency_seconds_sum{stage=\"request_process\"} 0.1"),
                    HasSubstr("latency_seconds_sum{stage=\"prefill_waiting\"} 0.2"),
                    HasSubstr("latency_seconds_sum{stage=\"prefill_forward\"} 0.7"),
                    HasSubstr("inter_token_latency_seconds_sum 2\n"),
                    HasSubstr("inter_token_latency_seconds_bucket{le=\"0.4\"} 0\n"),
                    HasSubstr("inter_token_latency_seconds_bucket{le=\"0.6\"} 4\n")));
}

TEST(RequestEvents, AbortsAreCountedApart) {
  Watched watched;
  auto exchange = watched.rig.post("/generate", R"({"text":"a","stream":true})");
  const auto request = watched.rig.engine.wait_requests(1)[0];
  exchange->leave();
  watched.rig.publish(ServiceRig::last(ServiceRig::piece(request, "x"), Finish::kAbort));
  watched.rig.wait_idle();
  EXPECT_THAT(watched.metrics(), AllOf(HasSubstr("sglang:num_aborted_requests_total 1\n"),
                                       HasSubstr("sglang:num_requests_total 0\n"),
                                       HasSubstr("sglang:generation_tokens_total 0\n")));
}

TEST(RequestEvents, AnAnswerThatWasCompleteIsNotAborted) {
  observe::Monitor monitor(Watched::options_with(true));
  RequestEvents events(&monitor, nullptr);
  Prepared prepared;
  prepared.rids = {"r"};
  prepared.requests.resize(1);
  prepared.requests[0].prompt = {1, 2};
  events.on_submit(events.receive(prepared), 7);
  wire::TokenOutput output;
  output.id = 7;
  output.tokens = {3};
  output.generated_tokens = 1;
  output.finish = Finish::kAbort;
  events.on_complete(7);
  events.on_outputs({&output, 1});
  EXPECT_THAT(monitor.expose({}), AllOf(HasSubstr("sglang:num_requests_total 1\n"),
                                        HasSubstr("sglang:num_aborted_requests_total 0\n")));
}

TEST(RequestEvents, RefusedRequestsAreNoRequests) {
  Watched watched;
  watched.rig.engine.refuse({Code::kResourceExhausted, "full"});
  EXPECT_EQ(watched.rig.post("/generate", R"({"text":"a"})")->wait().status, 503);
  EXPECT_EQ(watched.rig.post("/generate", "{")->wait().status, 400);
  EXPECT_THAT(watched.metrics(),
              AllOf(HasSubstr("sglang:num_requests_total 0\n"),
                    HasSubstr("sglang:num_aborted_requests_total 0\n"),
                    HasSubstr("{endpoint=\"/generate\",status_code=\"503\",method=\"POST\"} 1\n"),
                    HasSubstr("{endpoint=\"/generate\",status_code=\"400\",method=\"POST\"} 1\n")));
}

TEST(RequestEvents, WhatIsRefusedAfterItsLineGetsTheOtherOne) {
  Watched watched;
  watched.rig.ask("POST", "/configure_logging", R"({"log_requests":true})");
  testing::internal::CaptureStderr();
  watched.rig.post("/generate", R"({"text":"a","rid":"mine"})");
  watched.rig.engine.wait_requests(1);
  EXPECT_EQ(watched.rig.post("/generate", R"({"text":"bc","rid":"mine"})")->wait().status, 400);
  EXPECT_EQ(watched.rig.post("/generate", R"({"text":["a","b"],"rid":["x","x"]})")->wait().status,
            400);
  watched.rig.engine.refuse({Code::kResourceExhausted, "full"});
  EXPECT_EQ(
      watched.rig.post("/generate", R"({"text":"a","sampling_params":{"n":2}})")->wait().status,
      503);

  const std::string log = testing::internal::GetCapturedStderr();
  const auto count = [&log](std::string_view word) {
    std::size_t found = 0;
    for (std::size_t at = log.find(word); at != std::string::npos; at = log.find(word, at + 1)) {
      ++found;
    }
    return found;
  };
  EXPECT_EQ(count("Receive: obj="), 5U) << log;
  EXPECT_EQ(count("Finish: obj="), 4U) << log;  // all but the first, which goes on
  EXPECT_EQ(count("is in flight already; a rid must be new"), 3U) << log;
  EXPECT_EQ(count("The request queue is full."), 2U) << log;  // of both samples, in one line
  EXPECT_THAT(log, HasSubstr("'prompt_tokens': 2"));
  EXPECT_THAT(watched.metrics(), AllOf(HasSubstr("sglang:num_requests_total 0\n"),
                                       HasSubstr("sglang:num_aborted_requests_total 0\n")));
}

TEST(StopRegex, OneThatIsGivenUpIsOneLineOfTheLog) {
  ServiceRig rig;
  testing::internal::CaptureStderr();
  const auto exchange =
      rig.post("/generate", R"({"text":"x","rid":"slow","sampling_params":{"n":2,)"
                            R"("stop_regex":"(a+)+b"}})");
  for (const auto& request : rig.engine.wait_requests(2)) {
    rig.publish(ServiceRig::piece(request, std::string(3000, 'a')));
    rig.publish(ServiceRig::last(ServiceRig::piece(request, "a!", 3000), Finish::kLength));
  }
  exchange->wait();

  const std::string log = testing::internal::GetCapturedStderr();
  const std::string line =
      "A stop_regex of request \"slow\" costs too much: it is not looked for any more\n";
  EXPECT_EQ(log.find(line), log.rfind(line)) << log;
  EXPECT_THAT(log, HasSubstr(line));
}

TEST(RequestEvents, UnfinishedRequestsCanBeDumped) {
  observe::MonitorOptions options = Watched::options_with(false);
  options.crash_dump_folder = testing::TempDir();
  Watched watched(std::move(options));
  watched.rig.post("/generate",
                   R"({"rid":"mine","text":"ab","stream":true,"sampling_params":{"n":2}})");
  const auto requests = watched.rig.engine.wait_requests(2);
  const auto lines = watched.rig.service->unfinished_requests();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(lines[0], AllOf(HasSubstr(R"("rid":"mine","received":)"),
                              HasSubstr(R"("finished":false,"request":{"rid":"mine","text":"ab",)"),
                              HasSubstr(R"("answer":null})")));
  EXPECT_TRUE(parse_json(lines[0]).ok());
  for (const auto& request : requests) {
    watched.rig.publish(ServiceRig::last(ServiceRig::piece(request, "x"), Finish::kLength));
  }
  watched.rig.wait_idle();
  EXPECT_TRUE(watched.rig.service->unfinished_requests().empty());
}

TEST(ConfigureLogging, TellsAndChanges) {
  Watched watched;
  EXPECT_EQ(watched.rig.ask("GET", "/configure_logging").body,
            R"({"log_requests":false,"log_requests_level":2,"log_requests_format":"text",)"
            R"("crash_dump_folder":""})");
  EXPECT_EQ(watched.rig
                .ask("POST", "/configure_logging",
                     R"({"log_requests":true,"log_requests_format":"json"})")
                .status,
            200);
  EXPECT_TRUE(watched.monitor.log.enabled());
  EXPECT_TRUE(watched.monitor.log.settings().json);
  EXPECT_EQ(watched.monitor.log.settings().level, 2);  // what is not named stays
  watched.rig.ask("POST", "/configure_logging", R"({"crash_dump_folder":"/tmp"})");
  EXPECT_EQ(watched.monitor.crash_dump.folder(), "/tmp");
  EXPECT_TRUE(watched.monitor.log.enabled());
}

TEST(ConfigureLogging, RefusesWhatItCannotDoAndChangesNothing) {
  Watched watched;
  for (const char* const body :
       {R"({"log_requests":true,"log_requests_level":4})",
        R"({"log_requests":true,"log_requests_format":"xml"})", R"({"log_requests":1})",
        R"({"log_requests":true,"dump_requests_folder":"/tmp"})", "[1]", "{"}) {
    EXPECT_EQ(watched.rig.ask("POST", "/configure_logging", body).status, 400) << body;
  }
  EXPECT_FALSE(watched.monitor.log.enabled());
}

}  // namespace
}  // namespace fathom::api
