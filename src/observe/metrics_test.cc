#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "observe/buckets.h"
#include "observe/engine_metrics.h"
#include "observe/exposition.h"
#include "observe/histogram.h"
#include "observe/http_metrics.h"
#include "observe/monitor.h"
#include "observe/request_metrics.h"
#include "observe/times.h"

namespace fathom::observe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(Exposition, WritesHelpTypeAndSamples) {
  Exposition out;
  out.begin("sglang:things_total", MetricType::kCounter, "Things.");
  out.sample({{"kind", "a"}, {"rank", "0"}}, 3);
  out.sample({}, 0.25);
  out.gauge("sglang:level", "A level.", {{"kind", "b"}}, -2);

  EXPECT_EQ(out.text(),
            "# HELP sglang:things_total Things.\n"
            "# TYPE sglang:things_total counter\n"
            "sglang:things_total{kind=\"a\",rank=\"0\"} 3\n"
            "sglang:things_total 0.25\n"
            "# HELP sglang:level A level.\n"
            "# TYPE sglang:level gauge\n"
            "sglang:level{kind=\"b\"} -2\n");
}

TEST(Exposition, EscapesLabelsAndHelp) {
  Exposition out;
  out.gauge("m", "a \\ and\na \"line\"", {{"l", "back\\slash \"quote\"\nline"}}, 1);

  EXPECT_EQ(out.text(),
            "# HELP m a \\\\ and\\na \"line\"\n"
            "# TYPE m gauge\n"
            "m{l=\"back\\\\slash \\\"quote\\\"\\nline\"} 1\n");
}

TEST(Exposition, NumbersReadBack) {
  EXPECT_EQ(metric_number(0.1), "0.1");
  EXPECT_EQ(metric_number(20), "20");
  EXPECT_EQ(metric_number(1e300), "1e+300");
  EXPECT_EQ(metric_number(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(metric_number(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(metric_number(std::nan("")), "NaN");
  EXPECT_EQ(std::stod(metric_number(0.1 + 0.2)), 0.1 + 0.2);
}

TEST(Histogram, BucketsAreCumulativeAndBoundsBelongToTheirBucket) {
  Histogram histogram({1, 0.5, 1});
  histogram.observe(0.5);
  histogram.observe(0.75, 3);
  histogram.observe(9);
  Exposition out;
  histogram.write(out, {{"m", "x"}});

  EXPECT_EQ(out.text(),
            "_bucket{m=\"x\",le=\"0.5\"} 1\n"
            "_bucket{m=\"x\",le=\"1.0\"} 4\n"
            "_bucket{m=\"x\",le=\"+Inf\"} 5\n"
            "_sum{m=\"x\"} 11.75\n"
            "_count{m=\"x\"} 5\n");
}

TEST(Exposition, RepairsWhatIsNotUtf8) {
  Exposition out;
  out.gauge("m", "", {{"l", std::string("a\xFF\0é", 5)}}, 1);
  EXPECT_THAT(out.text(), HasSubstr("m{l=\"a\uFFFD\uFFFDé\"} 1\n"));
}

TEST(Exposition, BoundsAreWrittenAsSglangWritesThem) {
  EXPECT_EQ(bound_text(0), "0.0");
  EXPECT_EQ(bound_text(0.25), "0.25");
  EXPECT_EQ(bound_text(2), "2.0");
  EXPECT_EQ(bound_text(900000), "900000.0");
  EXPECT_EQ(bound_text(1100000), "1.1e+06");
  EXPECT_EQ(bound_text(std::numeric_limits<double>::infinity()), "+Inf");
}

TEST(Histogram, ASumNeverFalls) {
  Histogram histogram({1});
  histogram.observe(2);
  histogram.observe(-5);
  histogram.observe(std::nan(""));
  EXPECT_EQ(histogram.sum(), 2);
  EXPECT_EQ(histogram.count(), 3U);
  Exposition out;
  histogram.write(out, {});
  EXPECT_THAT(out.text(), HasSubstr("_bucket{le=\"1.0\"} 2\n"));
}

TEST(Histogram, LosesNothingAmongThreads) {
  Histogram histogram({1, 2});
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&histogram] {
      for (int i = 0; i < 1000; ++i) histogram.observe(i % 4);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram.count(), 4000U);
  EXPECT_DOUBLE_EQ(histogram.sum(), 6000);
}

// The reference's lists, counted.
TEST(Buckets, DefaultsAreThoseOfTheReference) {
  EXPECT_EQ(first_token_bounds().size(), 18U);
  EXPECT_EQ(inter_token_bounds().size(), 23U);
  EXPECT_EQ(request_latency_bounds().size(), 22U);
  EXPECT_EQ(queue_time_bounds().size(), 11U + 9U + 9U + 7U);
  EXPECT_EQ(token_count_bounds().size(), 6U + 9U + 15U);
  EXPECT_EQ(retraction_bounds().size(), 19U);
  EXPECT_EQ(stage_bounds().size(), 30U);
  EXPECT_NEAR(stage_bounds().back(), 1190, 2);
  EXPECT_EQ(function_bounds().size(), 18U);
  EXPECT_NEAR(function_bounds().back(), 49, 1);
  EXPECT_EQ(compilation_bounds().size(), 17U);
  EXPECT_EQ(queue_time_bounds()[19], 100);
  EXPECT_EQ(token_count_bounds().back(), 1'100'000);
}

TEST(Buckets, TwoSidedExponentialIsRoundTheMiddle) {
  EXPECT_THAT(*token_bounds({"tse", "100", "2", "5"}), ElementsAre(92, 96, 98, 100, 102, 104, 108));
  // What would be negative is 0, once.
  EXPECT_THAT(*token_bounds({"tse", "3", "2", "6"}), ElementsAre(0, 1, 3, 5, 7, 11));
  EXPECT_THAT(*token_bounds({"tse", "1000", "10", "1"}), ElementsAre(990, 1000, 1010));
}

TEST(Buckets, RulesAreReadAndRefused) {
  EXPECT_EQ(*token_bounds({}), token_count_bounds());
  EXPECT_EQ(*token_bounds({"default"}), token_count_bounds());
  EXPECT_THAT(*token_bounds({"custom", "10", "0", "5.5"}), ElementsAre(0, 5.5, 10));
  const auto refusal = [](const std::vector<std::string>& rule) {
    return token_bounds(rule).status().message();
  };
  EXPECT_THAT(refusal({"default", "1"}), HasSubstr("takes no numbers"));
  EXPECT_THAT(refusal({"linear"}), HasSubstr("default, tse or custom"));
  EXPECT_THAT(refusal({"tse", "1", "2"}), HasSubstr("three numbers"));
  EXPECT_THAT(refusal({"tse", "1000", "1", "8"}), HasSubstr("base above 1"));
  EXPECT_THAT(refusal({"tse", "0", "2", "8"}), HasSubstr("middle above 0"));
  EXPECT_THAT(refusal({"tse", "10", "2", "0"}), HasSubstr("count above 0"));
  EXPECT_THAT(refusal({"tse", "10", "2", "1e9"}), HasSubstr("at most 512"));
  EXPECT_THAT(refusal({"custom"}), HasSubstr("at least one"));
  EXPECT_THAT(refusal({"custom", "1", "1"}), HasSubstr("twice"));
  EXPECT_THAT(refusal({"custom", "1", "-1"}), HasSubstr("negative"));
  EXPECT_THAT(refusal({"custom", "x"}), HasSubstr("no number"));
  EXPECT_THAT(refusal({"custom", "nan"}), HasSubstr("no number"));
}

TEST(Rate, IsOfTheTimeSinceTheLookBefore) {
  Rate rate;
  EXPECT_EQ(rate.look(0, 0).per_second, 0);
  EXPECT_EQ(rate.look(100, 10 * kSecond).per_second, 10);
  EXPECT_EQ(rate.look(300, 15 * kSecond).per_second, 40);
  // Idle: nothing goes stale.
  EXPECT_EQ(rate.look(300, 20 * kSecond).count, 0);
}

TEST(Rate, LooksThatAreCloseTogetherShareTheirPast) {
  Rate rate;
  rate.look(0, 0);
  EXPECT_EQ(rate.look(100, 10 * kSecond).count, 100);
  // Another scraper, a moment later: still measured over more than a second.
  EXPECT_NEAR(rate.look(101, 10 * kSecond + kSecond / 5).per_second, 10, 0.2);
  EXPECT_NEAR(rate.look(200, 12 * kSecond).per_second, 50, 6);
}

RequestMetricsOptions small_options() {
  RequestMetricsOptions options;
  options.first_token_bounds = {1};
  options.inter_token_bounds = {0.1, 1};
  options.latency_bounds = {1};
  return options;
}

std::string text_of(const RequestMetrics& metrics) {
  Exposition out;
  metrics.write(out, {{"model_name", "m"}});
  return out.take();
}

TEST(RequestMetrics, CountTheTimeBetweenTokensOncePerToken) {
  RequestMetrics metrics(small_options());
  metrics.series().on_tokens(/*seconds=*/2, /*tokens=*/4);
  const std::string text = text_of(metrics);
  EXPECT_THAT(text,
              HasSubstr("inter_token_latency_seconds_bucket{model_name=\"m\",le=\"1.0\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("inter_token_latency_seconds_sum{model_name=\"m\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("inter_token_latency_seconds_count{model_name=\"m\"} 4\n"));
}

TEST(RequestMetrics, AnAbortedRequestIsOnlyAborted) {
  RequestMetrics metrics(small_options());
  FinishedRequest request;
  request.prompt_tokens = 5;
  request.generated_tokens = 7;
  request.structured = true;
  metrics.series().on_finished(request);
  request.aborted = true;
  metrics.series().on_finished(request);
  const std::string text = text_of(metrics);
  EXPECT_THAT(text, HasSubstr("sglang:num_requests_total{model_name=\"m\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("sglang:num_so_requests_total{model_name=\"m\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("sglang:num_aborted_requests_total{model_name=\"m\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("sglang:prompt_tokens_total{model_name=\"m\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("sglang:generation_tokens_total{model_name=\"m\"} 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("tokens_histogram")));
}

TEST(RequestMetrics, LengthsAreCollectedOnRequest) {
  RequestMetricsOptions options = small_options();
  options.prompt_token_bounds = {10, 100};
  options.answer_token_bounds = {5};
  RequestMetrics metrics(std::move(options));
  FinishedRequest request;
  request.prompt_tokens = 50;
  request.generated_tokens = 6;
  metrics.series().on_finished(request);
  const std::string text = text_of(metrics);
  EXPECT_THAT(text, HasSubstr("prompt_tokens_histogram_bucket{model_name=\"m\",le=\"100.0\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("generation_tokens_histogram_bucket{model_name=\"m\",le=\"5.0\"} 0\n"));
}

std::string text_of(const SchedulerTimes& times) {
  Exposition out;
  times.write(out, {{"tp_rank", "0"}});
  return out.take();
}

TEST(SchedulerTimes, StagesEndWhereARequestEnded) {
  SchedulerTimes times;
  times.on_request({.process_s = 0.5, .waiting_s = 1, .prefill_s = 2});
  times.on_request({.process_s = 0.25});
  times.on_grammar(0.01);
  const std::string text = text_of(times);
  const std::string stage = "per_stage_req_latency_seconds_";
  EXPECT_THAT(text, HasSubstr(stage + "sum{tp_rank=\"0\",stage=\"request_process\"} 0.75\n"));
  EXPECT_THAT(text, HasSubstr(stage + "count{tp_rank=\"0\",stage=\"prefill_waiting\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(stage + "sum{tp_rank=\"0\",stage=\"prefill_forward\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("queue_time_seconds_sum{tp_rank=\"0\"} 1\n"));
  // The bound belongs to its bucket.
  EXPECT_THAT(text, HasSubstr("compilation_time_seconds_bucket{tp_rank=\"0\",le=\"0.01\"} 1\n"));
}

TEST(FunctionTimes, AreByName) {
  FunctionTimes times;
  times.observe("/generate", 0.06);
  times.observe("/generate", 1);
  times.observe("/tokenize", 0.01);
  Exposition out;
  times.write(out);
  EXPECT_THAT(out.text(), HasSubstr("func_latency_seconds_count{name=\"/generate\"} 2\n"));
  EXPECT_THAT(out.text(),
              HasSubstr("func_latency_seconds_bucket{name=\"/tokenize\",le=\"0.05\"} 1\n"));
}

RequestMetricsOptions labelled_options() {
  RequestMetricsOptions options = small_options();
  options.custom_labels = {"team", "tier"};
  options.max_label_sets = 2;
  return options;
}

TEST(CustomLabels, RequestsCountUnderWhatTheyBring) {
  RequestMetrics metrics(labelled_options());
  metrics.series().on_finished({});
  metrics.series({"", ""}).on_finished({});
  metrics.series({"a", ""}).on_finished({});
  metrics.series({"a", ""}).on_finished({});
  metrics.series({"a", "gold"}).on_finished({});
  const std::string text = text_of(metrics);
  const std::string name = "sglang:num_requests_total{model_name=\"m\",";
  EXPECT_THAT(text, HasSubstr(name + "team=\"\",tier=\"\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(name + "team=\"a\",tier=\"\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(name + "team=\"a\",tier=\"gold\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("e2e_request_latency_seconds_count{model_name=\"m\",team=\"a\","
                              "tier=\"gold\"} 1\n"));
}

TEST(CustomLabels, NoClientMakesAnyNumberOfSeries) {
  testing::internal::CaptureStderr();
  RequestMetrics metrics(labelled_options());
  for (int i = 0; i < 100; ++i) metrics.series({"t" + std::to_string(i), ""}).on_finished({});
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("more than 2 different sets of custom labels"));
  EXPECT_EQ(log.find("more than"), log.rfind("more than"));
  const std::string text = text_of(metrics);
  EXPECT_THAT(text, HasSubstr("num_requests_total{model_name=\"m\",team=\"t1\",tier=\"\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("num_requests_total{model_name=\"m\",team=\"other\",tier=\"other\"} 98\n"));
  EXPECT_THAT(text, Not(HasSubstr("t2")));
}

TEST(CustomLabels, ValuesThatAreUnfitAreOther) {
  RequestMetricsOptions options = labelled_options();
  options.max_label_sets = 64;
  RequestMetrics metrics(std::move(options));
  RequestSeries& other = metrics.series({"other", ""});
  EXPECT_EQ(&metrics.series({std::string(65, 'x'), ""}), &other);
  EXPECT_EQ(&metrics.series({"a\nb", ""}), &other);
  EXPECT_EQ(&metrics.series({"\xC3", ""}), &other);
  EXPECT_NE(&metrics.series({std::string(64, 'x'), ""}), &other);
  EXPECT_NE(&metrics.series({"é\"", ""}), &other);
}

TEST(HttpMetrics, LabelsAreBounded) {
  HttpMetrics metrics;
  metrics.count_request("/generate", "POST");
  metrics.count_response("/generate", "POST", 200);
  for (int i = 0; i < 100; ++i) {
    const std::string method = "M" + std::to_string(i);
    metrics.count_request("", method);
    metrics.count_response("", method, 404);
  }
  Exposition out;
  metrics.write(out);
  EXPECT_THAT(out.text(), HasSubstr("sglang:http_responses_total{endpoint=\"/generate\","
                                    "status_code=\"200\",method=\"POST\"} 1\n"));
  EXPECT_THAT(out.text(), HasSubstr("{endpoint=\"other\",method=\"other\"} 100\n"));
  EXPECT_THAT(out.text(), Not(HasSubstr("M1")));
}

MonitorOptions monitor_with_metrics() {
  MonitorOptions options;
  options.metrics = true;
  options.request_metrics = small_options();
  options.scheduler_labels = {{"model_name", "m"}};
  return options;
}

std::string text_of(const EngineValues& values, const EngineGrowth& growth) {
  Exposition out;
  write_engine_metrics(out, {{"model_name", "m"}}, values, growth);
  return out.take();
}

TEST(EngineMetrics, TellOfThePrefixCache) {
  EngineValues values;
  values.prefill_tokens = 1000;
  values.cached_tokens = 500;
  values.evicted_tokens = 640;
  values.generated_tokens = 70;
  const std::string text = text_of(values, {.prefill_tokens = 30, .cached_tokens = 10});
  const std::string tokens = "sglang:realtime_tokens_total{model_name=\"m\",mode=";
  EXPECT_THAT(text, HasSubstr(tokens + "\"prefill_compute\"} 1000\n"));
  EXPECT_THAT(text, HasSubstr(tokens + "\"prefill_cache\"} 500\n"));
  EXPECT_THAT(text, HasSubstr(tokens + "\"decode\"} 70\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE sglang:evicted_tokens_total counter\n"
                              "sglang:evicted_tokens_total{model_name=\"m\"} 640\n"));
  EXPECT_THAT(text, HasSubstr("sglang:cache_hit_rate{model_name=\"m\"} 0.25\n"));
  EXPECT_THAT(text_of(values, {}), HasSubstr("sglang:cache_hit_rate{model_name=\"m\"} 0\n"));
}

TEST(EngineMetrics, CountAStepsFirstTokenAsAccepted) {
  EngineValues values;
  values.draft_tokens = 4;
  const std::string length = "sglang:spec_accept_length{model_name=\"m\"} ";
  const std::string rate = "sglang:spec_accept_rate{model_name=\"m\"} ";
  std::string text = text_of(values, {.verify_steps = 40, .accepted_drafts = 30});
  EXPECT_THAT(text, HasSubstr(length + "1.75\n"));
  EXPECT_THAT(text, HasSubstr(rate + "0.4375\n"));
  text = text_of(values, {.verify_steps = 40});  // none is right, or drafts are off
  EXPECT_THAT(text, HasSubstr(length + "1\n"));
  EXPECT_THAT(text, HasSubstr(rate + "0.25\n"));
  text = text_of(values, {});  // nothing was decoded
  EXPECT_THAT(text, HasSubstr(length + "0\n"));
  EXPECT_THAT(text, HasSubstr(rate + "0\n"));
  values.draft_tokens = 0;
  EXPECT_THAT(text_of(values, {.verify_steps = 40}), Not(HasSubstr("spec_accept")));
}

TEST(Monitor, TheFirstScrapeLooksBackToTheStart) {
  Monitor monitor(monitor_with_metrics());
  EngineValues values;
  values.draft_tokens = 2;
  values.prefill_tokens = 30;
  values.cached_tokens = 10;
  values.verify_steps = 40;
  values.accepted_drafts = 30;
  values.retracted_requests = 3;
  const std::int64_t first = now_ns() + 5 * kSecond;

  std::string text = monitor.expose(values, first);
  EXPECT_THAT(text, HasSubstr("sglang:cache_hit_rate{model_name=\"m\"} 0.25\n"));
  EXPECT_THAT(text, HasSubstr("sglang:spec_accept_length{model_name=\"m\"} 1.75\n"));
  EXPECT_THAT(text, HasSubstr("sglang:spec_accept_rate{model_name=\"m\"} 0.875\n"));
  EXPECT_THAT(text, HasSubstr("sglang:num_retracted_reqs{model_name=\"m\"} 3\n"));

  values.cached_tokens += 60;
  values.prefill_tokens += 20;
  values.verify_steps += 10;
  text = monitor.expose(values, first + 5 * kSecond);
  EXPECT_THAT(text, HasSubstr("sglang:cache_hit_rate{model_name=\"m\"} 0.75\n"));
  EXPECT_THAT(text, HasSubstr("sglang:spec_accept_length{model_name=\"m\"} 1\n"));
}

// Every line is a comment or NAME{labels} VALUE, every name was introduced, none twice.
TEST(Monitor, ItsTextIsWellFormed) {
  Monitor monitor(monitor_with_metrics());
  monitor.connections = [] { return std::size_t{3}; };
  monitor.startup_s = 1.5;
  monitor.http->count_request("/", "GET");
  EngineValues values;
  values.running = 2;
  values.slots = 8;
  values.pages = 10;
  values.pages_used = 4;
  values.page_tokens = 64;
  const std::string text = monitor.expose(values);

  EXPECT_THAT(text, HasSubstr("sglang:num_used_tokens{model_name=\"m\"} 256\n"));
  EXPECT_THAT(text, HasSubstr("sglang:token_usage{model_name=\"m\"} 0.4\n"));
  EXPECT_THAT(text, HasSubstr("sglang:num_retracted_reqs{model_name=\"m\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("sglang:num_paused_reqs{model_name=\"m\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("sglang:num_retractions_count 0\n"));
  EXPECT_THAT(text, HasSubstr("fathom:free_slots{model_name=\"m\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("fathom:connections 3\n"));
  EXPECT_THAT(text, HasSubstr("sglang:engine_startup_time{model_name=\"m\"} 1.5\n"));
  EXPECT_THAT(text, Not(HasSubstr("engine_load_weights_time")));
  std::istringstream lines(text);
  std::string line;
  std::vector<std::string> names;
  while (std::getline(lines, line)) {
    if (line.starts_with("# HELP ")) {
      const std::string name = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_EQ(std::count(names.begin(), names.end(), name), 0) << name;
      names.push_back(name);
    } else if (!line.starts_with("# TYPE ")) {
      EXPECT_TRUE(line.starts_with(names.back())) << line;
      std::size_t read = 0;
      const std::string value = line.substr(line.rfind(' ') + 1);
      EXPECT_TRUE(std::isfinite(std::stod(value, &read))) << line;
      EXPECT_EQ(read, value.size()) << line;
    }
  }
  EXPECT_GT(names.size(), 30U);
}

}  // namespace
}  // namespace fathom::observe
