// The program as an operator watches it: a real Prometheus scrapes it, and its log is searched.

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

// A folder of its own, gone with the object.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(std::filesystem::path(testing::TempDir()) /
              ("fathom-" + name + "-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The samples of a text of metrics: name and labels, as they are written, to the value.
std::map<std::string, double> samples_of(const std::string& text) {
  std::map<std::string, double> samples;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.starts_with("#")) continue;
    const std::size_t blank = line.rfind(' ');
    samples[line.substr(0, blank)] = std::stod(line.substr(blank + 1));
  }
  return samples;
}

constexpr const char* kRequestLabels = R"({model_name="fathom-tiny",engine_type="unified"})";
constexpr const char* kRankLabels =
    R"({model_name="fathom-tiny",engine_type="unified",tp_rank="0",pp_rank="0",moe_ep_rank="0"})";

std::string generate_body(int prompt_tokens, int max_new_tokens, bool stream) {
  std::string ids = "5";
  for (int i = 1; i < prompt_tokens; ++i) ids += ",5";
  return R"({"input_ids":[)" + ids + R"(],"stream":)" + (stream ? "true" : "false") +
         R"(,"sampling_params":{"ignore_eos":true,"temperature":0,"max_new_tokens":)" +
         std::to_string(max_new_tokens) + "}}";
}

// Three requests of 10 prompt and 20 generated tokens, one of 70 and 5 as a stream, and one that
// is refused.
void send_requests(ServerProcess& server) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(server.ask("/generate", generate_body(10, 20, false)).status, 200);
  }
  EXPECT_EQ(server.ask("/generate", generate_body(70, 5, true)).status, 200);
  EXPECT_EQ(server.ask("/generate", R"({"input_ids":[]})").status, 400);
  EXPECT_EQ(server.ask("/no/such/path").status, 404);
}

TEST(Metrics, AreNotThereUnlessAskedFor) {
  ServerProcess server(FATHOM_PROGRAM);
  ASSERT_TRUE(server.wait_until_ready());
  EXPECT_EQ(server.ask("/metrics").status, 404);
}

TEST(Metrics, CountWhatWasSent) {
  ServerProcess server(FATHOM_PROGRAM, {"--enable-metrics", "--collect-tokens-histogram",
                                        "--skip-server-warmup", "--prompt-tokens-buckets", "custom",
                                        "10", "50", "--bucket-e2e-request-latency", "1000"});
  ASSERT_TRUE(server.wait_until_ready());
  send_requests(server);

  const http::Response response = server.ask("/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(*response.headers.find("Content-Type"), StartsWith("text/plain; version=0.0.4"));
  std::map<std::string, double> samples = samples_of(response.body);
  const auto request = [&samples](const std::string& name) {
    return samples.at("sglang:" + name + kRequestLabels);
  };
  const auto rank = [&samples](const std::string& name) { return samples.at(name + kRankLabels); };
  EXPECT_EQ(request("num_requests_total"), 4);
  EXPECT_EQ(request("num_aborted_requests_total"), 0);
  EXPECT_EQ(request("prompt_tokens_total"), 100);
  EXPECT_EQ(request("generation_tokens_total"), 65);
  EXPECT_EQ(request("time_to_first_token_seconds_count"), 4);
  EXPECT_EQ(request("inter_token_latency_seconds_count"), 61);  // tokens after the first
  EXPECT_EQ(request("e2e_request_latency_seconds_count"), 4);
  EXPECT_EQ(request("prompt_tokens_histogram_sum"), 100);
  EXPECT_EQ(rank("sglang:queue_time_seconds_count"), 4);
  EXPECT_EQ(request("num_retractions_count"), 4);
  EXPECT_EQ(rank("sglang:num_running_reqs"), 0);
  for (const char* const name :
       {"num_retracted_reqs", "num_paused_reqs", "num_running_reqs_offline_batch", "utilization",
        "swa_token_usage", "mamba_usage", "grammar_compilation_time_seconds_count"}) {
    EXPECT_EQ(rank(std::string("sglang:") + name), 0) << name;
  }
  EXPECT_EQ(rank("sglang:num_queue_reqs"), 0);
  EXPECT_EQ(rank("sglang:token_usage"), 0);
  EXPECT_GT(rank("sglang:max_total_num_tokens"), 0);
  EXPECT_EQ(rank("fathom:leaked_pages"), 0);
  EXPECT_EQ(rank("fathom:used_pages"), 0);
  EXPECT_EQ(rank("fathom:free_pages") * 64, rank("sglang:max_total_num_tokens"));
  EXPECT_EQ(rank("fathom:free_slots"), rank("fathom:slots"));
  EXPECT_GT(rank("sglang:engine_startup_time"), 0);
  EXPECT_GE(samples.at("fathom:connections"), 1);
  const std::string ranks = std::string(kRankLabels).substr(0, std::string(kRankLabels).size() - 1);
  const auto mode = [&](const std::string& name, const std::string& value) {
    return samples.at("sglang:" + name + ranks + ",mode=\"" + value + "\"}");
  };
  for (const char* const stage : {"request_process", "prefill_waiting", "prefill_forward"}) {
    EXPECT_EQ(samples.at("sglang:per_stage_req_latency_seconds_count" + ranks + ",stage=\"" +
                         stage + "\"}"),
              4)
        << stage;
  }
  EXPECT_GE(samples.at(R"(sglang:func_latency_seconds_count{name="/generate"})"), 4);
  EXPECT_EQ(mode("realtime_tokens_total", "prefill_compute"), 100);
  EXPECT_EQ(mode("realtime_tokens_total", "decode"), 65);
  EXPECT_EQ(mode("cuda_graph_passes_total", "decode_none"), 61);
  EXPECT_EQ(samples.at(R"(sglang:http_requests_total{endpoint="/generate",method="POST"})"), 5);
  EXPECT_EQ(
      samples.at(
          R"(sglang:http_responses_total{endpoint="/generate",status_code="400",method="POST"})"),
      1);
  EXPECT_EQ(
      samples.at(R"(sglang:http_responses_total{endpoint="other",status_code="404",method="GET"})"),
      1);
  EXPECT_EQ(
      samples.at(
          R"(sglang:prompt_tokens_histogram_bucket{model_name="fathom-tiny",engine_type="unified",le="10.0"})"),
      3);
  EXPECT_THAT(response.body, Not(HasSubstr("e2e_request_latency_seconds_bucket{model_name="
                                           "\"fathom-tiny\",engine_type=\"unified\",le=\"1.0\"}")));
  EXPECT_EQ(server.ask("/metrics/anything").status, 200);
}

// Sends one request with these custom labels.
void send_labelled(ServerProcess& server, const std::string& labels) {
  http::Request request;
  request.method = "POST";
  request.target = "/generate";
  request.headers.add("Content-Type", "application/json");
  request.headers.add("X-Who", labels);
  request.body = generate_body(4, 2, false);
  http::Client client({"127.0.0.1", server.port(), ""});
  const Result<http::Response> response = client.send(request);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 200);
}

std::vector<std::string> with_labels() {
  return {"--enable-metrics",
          "--skip-server-warmup",
          "--tokenizer-metrics-allowed-custom-labels",
          "team",
          "tier",
          "--tokenizer-metrics-custom-labels-header",
          "x-who",
          "--extra-metric-labels",
          R"({"cluster":"c\"1"})"};
}

TEST(Metrics, HaveTheLabelsThatRequestsBring) {
  ServerProcess server(FATHOM_PROGRAM, with_labels());
  ASSERT_TRUE(server.wait_until_ready());
  send_labelled(server, R"({"team":"blue","who":"nobody asked"})");
  send_labelled(server, R"({"team":"blue","tier":3})");
  send_labelled(server, R"({"team":"line\nbreak"})");
  send_labelled(server, "no JSON");
  EXPECT_EQ(server
                .ask("/generate", R"({"input_ids":[5],"custom_labels":{"team":"blue"},)"
                                  R"("sampling_params":{"max_new_tokens":2}})")
                .status,
            200);
  std::map<std::string, double> samples = samples_of(server.ask("/metrics").body);
  const auto requests = [&samples](const std::string& team, const std::string& tier) {
    return samples.at(R"(sglang:num_requests_total{model_name="fathom-tiny",engine_type="unified",)"
                      R"(cluster="c\"1",team=")" +
                      team + R"(",tier=")" + tier + "\"}");
  };
  EXPECT_EQ(requests("blue", ""), 2);
  EXPECT_EQ(requests("blue", "3"), 1);
  EXPECT_EQ(requests("other", ""), 1);
  EXPECT_EQ(requests("", ""), 1);
  EXPECT_EQ(samples.at(R"(sglang:num_running_reqs{model_name="fathom-tiny",engine_type="unified",)"
                       R"(cluster="c\"1",tp_rank="0",pp_rank="0",moe_ep_rank="0"})"),
            0);
}

TEST(Metrics, TellOfRetractions) {
  ServerProcess server(FATHOM_PROGRAM, {"--enable-metrics", "--max-total-tokens", "256",
                                        "--schedule-conservativeness", "0"});
  ASSERT_TRUE(server.wait_until_ready());
  std::vector<std::thread> clients;
  clients.reserve(4);
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&server] {
      http::Request request;
      request.method = "POST";
      request.target = "/generate";
      request.headers.add("Content-Type", "application/json");
      request.body = generate_body(3, 150, false);
      http::Client client({"127.0.0.1", server.port(), ""});
      EXPECT_TRUE(client.send(request).ok());
    });
  }
  for (std::thread& client : clients) client.join();
  const std::string line = server.wait_for_line("KV cache pool is full. Retract requests.");
  EXPECT_THAT(line, ContainsRegex("#retracted_reqs: [0-9]+, #new_tokens_gained: [0-9]+, "
                                  "#new_token_ratio: [0-9.]+ -> [0-9.]+$"));
  std::map<std::string, double> samples = samples_of(server.ask("/metrics").body);
  EXPECT_GT(samples.at(std::string("sglang:num_retracted_requests_total") + kRankLabels), 0);
  EXPECT_EQ(samples.at(std::string("fathom:leaked_pages") + kRankLabels), 0);
}

// The value of an instant query; nothing while there is none.
std::optional<double> query(std::uint16_t port, const std::string& expression) {
  http::Request request;
  request.method = "POST";
  request.target = "/api/v1/query";
  request.headers.add("Content-Type", "application/x-www-form-urlencoded");
  request.body = "query=" + expression;
  http::Client client({"127.0.0.1", port, ""});
  const Result<http::Response> response = client.send(request);
  if (!response.ok() || response->status != 200) return std::nullopt;
  const Result<Json> json = parse_json(response->body);
  if (!json.ok()) return std::nullopt;
  const Json::Array* results = json->find("data")->find("result")->as_array();
  if (results == nullptr || results->empty()) return std::nullopt;
  return std::stod(*(*results->front().find("value")->as_array())[1].as_string());
}

TEST(Prometheus, ScrapesARunningServer) {
  ASSERT_TRUE(std::filesystem::exists(FATHOM_PROMETHEUS)) << "tools/run/prometheus.sh fetches it";
  std::vector<std::string> flags = with_labels();
  flags.emplace_back("--collect-tokens-histogram");
  ServerProcess server(FATHOM_PROGRAM, flags);
  ASSERT_TRUE(server.wait_until_ready());
  send_requests(server);
  send_labelled(server, R"({"team":"a \"quoted\\ ünit"})");
  const Folder folder("prometheus");
  const std::string config = (folder.path() / "prometheus.yml").string();
  std::ofstream(config) << "global: {scrape_interval: 200ms}\n"
                           "scrape_configs:\n"
                           "  - job_name: sglang\n"
                           "    static_configs: [{targets: ['127.0.0.1:"
                        << server.port() << "']}]\n";
  ServerProcess prometheus(
      std::vector<std::string>{FATHOM_PROMETHEUS, "--config.file=" + config,
                               "--storage.tsdb.path=" + (folder.path() / "data").string(),
                               "--web.listen-address=127.0.0.1:0"});
  const std::string listening = prometheus.wait_for_line("msg=\"Listening on\"");
  ASSERT_FALSE(listening.empty()) << prometheus.log();
  const auto port =
      static_cast<std::uint16_t>(std::stoi(listening.substr(listening.rfind(':') + 1)));

  // It scrapes when it likes to: ask until it has.
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  std::optional<double> requests;
  while (!requests && Clock::now() < deadline) {
    requests = query(port, "sglang:num_requests_total{model_name=\"fathom-tiny\",team=\"\"}");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }

  ASSERT_TRUE(requests.has_value()) << prometheus.log();
  EXPECT_EQ(*requests, 4);
  EXPECT_EQ(query(port, "up"), 1);
  EXPECT_EQ(query(port, "sum(sglang:generation_tokens_total)"), 67);
  EXPECT_EQ(query(port, R"(sglang:num_requests_total{team="a \"quoted\\ ünit"})"), 1);
  EXPECT_EQ(query(port, "sum by (stage) (sglang:per_stage_req_latency_seconds_count)"), 5);
  EXPECT_EQ(query(port, "sglang:num_running_reqs{tp_rank=\"0\"}"), 0);
  EXPECT_EQ(query(port, "sum(sglang:time_to_first_token_seconds_count)"), 5);
  // What a dashboard asks: a quantile of a histogram.
  EXPECT_GT(
      query(port,
            "histogram_quantile(0.99, sum by (le) (sglang:e2e_request_latency_seconds_bucket))"),
      0);
  // It understood every line: as many samples as we have, once its own scrapes are among them.
  const auto own = static_cast<double>(samples_of(server.ask("/metrics").body).size());
  std::optional<double> scraped;
  while (scraped != own && Clock::now() < deadline) {
    scraped = query(port, "scrape_samples_scraped");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(scraped, own);
  prometheus.signal(SIGTERM);
  EXPECT_EQ(prometheus.wait_exit(), 0);
}

TEST(Log, HasTheSchedulersLines) {
  ServerProcess server(FATHOM_PROGRAM,
                       {"--decode-log-interval", "5", "--enable-request-time-stats-logging"});
  ASSERT_TRUE(server.wait_until_ready());
  EXPECT_EQ(server.ask("/generate", generate_body(30, 20, false)).status, 200);
  EXPECT_THAT(server.wait_for_line("Prefill batch, #new-seq: 1, #new-token: 30,"),
              ContainsRegex("^\\[[-0-9]+ [:0-9]+\\] Prefill batch, #new-seq: 1, #new-token: 30, "
                            "#cached-token: 0, token usage: 0\\.00, #running-req: 0, "
                            "#queue-req: 0, $"));
  EXPECT_THAT(server.wait_for_line("Decode batch"),
              ContainsRegex("\\] Decode batch, #running-req: 1, #token: 64, token usage: 0\\.00, "
                            "cuda graph: False, gen throughput \\(token/s\\): [0-9]+\\.[0-9][0-9], "
                            "#queue-req: 0, $"));
  EXPECT_THAT(
      server.wait_for_line("Req Time Stats("),
      ContainsRegex("input len=30, output len=20, type=unified\\): queue_duration=[0-9.]+ms, "
                    "forward_duration=[0-9.]+ms, start=[0-9.]+$"));
}

TEST(Log, LinesBelowTheLevelAreLeftOut) {
  // Ends by itself, because the checkpoint has no tokenizer.
  const auto log_at = [](const std::string& level) {
    ServerProcess server(FATHOM_PROGRAM,
                         {"--model-path", FATHOM_TEST_DATA "/micro-bf16", "--log-level", level});
    EXPECT_EQ(server.wait_exit(), 1);
    server.wait_for_line("no line has this");  // until all are read
    return server.log();
  };
  EXPECT_THAT(log_at("info"), HasSubstr("] Listening on http://"));
  EXPECT_THAT(log_at("error"), Not(HasSubstr("] ")));
}

TEST(Log, RequestsByLevelAndFormat) {
  ServerProcess server(FATHOM_PROGRAM, {"--log-requests", "--log-requests-level", "0"});
  ASSERT_TRUE(server.wait_until_ready());
  const auto ask = [&server](const std::string& rid) {
    const std::string body =
        R"({"rid":")" + rid +
        R"(","text":"Hello","sampling_params":{"max_new_tokens":3,"temperature":0.5}})";
    EXPECT_EQ(server.ask("/generate", body).status, 200);
  };
  const auto configure = [&server](const std::string& body) {
    const http::Response response = server.ask("/configure_logging", body);
    EXPECT_EQ(response.status, 200) << response.body;
    return response.body;
  };

  ask("zero");
  EXPECT_THAT(server.wait_for_line("rid='zero'"),
              AllOf(HasSubstr("] Receive: obj=GenerateReqInput(rid='zero', return_logprob=False"),
                    Not(HasSubstr("sampling_params")), Not(HasSubstr("Hello"))));
  EXPECT_THAT(server.wait_for_line("rid='zero'"),
              AllOf(HasSubstr("] Finish: obj=GenerateReqInput(rid='zero'"),
                    HasSubstr("out={'meta_info': {'id': 'zero', 'finish_reason': {'type': "),
                    HasSubstr("'completion_tokens': 3"), Not(HasSubstr("output_ids"))));
  configure(R"({"log_requests_level":1})");
  ask("one");
  EXPECT_THAT(server.wait_for_line("rid='one'"),
              AllOf(HasSubstr("sampling_params={'max_new_tokens': 3, 'temperature': 0.5,"),
                    Not(HasSubstr("input_ids"))));
  configure(R"({"log_requests_level":2})");
  ask("two");
  EXPECT_THAT(server.wait_for_line("Finish: obj=GenerateReqInput(rid='two'"),
              AllOf(HasSubstr("text='Hello', input_ids=["), HasSubstr("out={'text': '"),
                    HasSubstr("'output_ids': [")));
  EXPECT_EQ(configure(R"({"log_requests_level":3,"log_requests_format":"json"})"),
            R"({"log_requests":true,"log_requests_level":3,"log_requests_format":"json",)"
            R"("crash_dump_folder":""})");
  ask("three");
  const std::string line = server.wait_for_line("\"event\":\"request.finished\"");
  const Result<Json> json = parse_json(line);
  ASSERT_TRUE(json.ok()) << line;
  EXPECT_EQ(*json->find("rid")->as_string(), "three");
  EXPECT_EQ(*json->find("obj")->find("text")->as_string(), "Hello");
  EXPECT_EQ(json->find("out")->find("output_ids")->as_array()->size(), 3U);
  configure(R"({"log_requests":false})");
  ask("unlogged");
  configure(R"({"log_requests":true,"log_requests_level":0})");
  ask("last");
  server.wait_for_line("\"rid\":\"last\"");
  EXPECT_THAT(server.log(), Not(HasSubstr("unlogged")));
  EXPECT_EQ(server.ask("/configure_logging", R"({"log_requests_level":4})").status, 400);
}

TEST(CrashDump, HasTheLastRequestsWhenTheEngineDies) {
  const Folder folder("crash");
  const std::filesystem::path model = folder.path() / "model";
  std::filesystem::copy(FATHOM_SOURCE_DIR "/models/fathom-tiny", model);
  ServerProcess server(FATHOM_PROGRAM,
                       {"--model-path", model.string(), "--crash-dump-folder",
                        (folder.path() / "dumps").string(), "--skip-server-warmup"});
  ASSERT_TRUE(server.wait_until_ready());
  EXPECT_EQ(server
                .ask("/generate", R"({"rid":"well","input_ids":[5],"sampling_params":)"
                                  R"({"max_new_tokens":2}})")
                .status,
            200);
  // The weights are mapped: the engine finds them gone.
  for (const auto& file : std::filesystem::directory_iterator(model)) {
    if (file.path().extension() == ".safetensors") std::filesystem::resize_file(file.path(), 4096);
  }
  server.ask("/generate",
             R"({"rid":"ill","input_ids":[5],"sampling_params":{"max_new_tokens":2}})");
  const std::string line = server.wait_for_line("The last requests are in ");
  ASSERT_FALSE(line.empty()) << server.log();
  EXPECT_EQ(server.wait_exit(), 1);
  std::stringstream text;
  text << std::ifstream(line.substr(line.find("are in ") + 7)).rdbuf();
  EXPECT_THAT(text.str(), HasSubstr(R"("rid":"well")"));
  EXPECT_THAT(text.str(), HasSubstr(R"("rid":"ill")"));
}

}  // namespace
}  // namespace fathom::system_test
