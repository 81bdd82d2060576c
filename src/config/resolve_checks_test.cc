#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/resolve_testing.h"

// Launches that cannot work are refused before anything starts, by the names of what conflicts.

namespace fathom::config {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

struct Refused {
  std::string_view line;
  std::vector<std::string_view> parts;  // of the message
};

class Refusals : public ::testing::TestWithParam<Refused> {};

TEST_P(Refusals, NameTheSettingsInConflict) {
  const std::string message = refusal(GetParam().line);

  EXPECT_NE(message, "resolved") << GetParam().line;
  for (const std::string_view part : GetParam().parts) {
    EXPECT_THAT(message, HasSubstr(std::string(part))) << GetParam().line;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Parallel,
    Refusals,
    ::testing::Values(
        Refused{"--tp 8 --dp 3", {"--tp-size 8", "--dp-size 3", "multiple"}},
        Refused{"--tp 16 --dp 16 --nnodes 2 --dist-init-addr h:1 --max-running-requests 8",
                {"--max-running-requests 8", "--dp-size 16", "at least 16"}},
        Refused{"--speculative-algorithm EAGLE --max-running-requests 1073741824",
                {"--max-running-requests 1073741824", "4 rows for each request",
                 "8192 of prompts (--chunked-prefill-size)", "expected at most 536868863"}},
        Refused{"--chunked-prefill-size 1073741824 --max-running-requests 1073741824 "
                "--mem-fraction-static 0.5",
                {"1 row for each request", "expected at most 1073741823"}},
        Refused{"--moe-dense-tp-size 2", {"--moe-dense-tp-size 2", "expected 1"}},
        Refused{"--served-model-name a:b", {"--served-model-name a:b", "colon"}},
        Refused{"--tp 16 --nnodes 2", {"--nnodes 2", "--dist-init-addr"}},
        Refused{"--tp 8 --nnodes 3 --dist-init-addr h:1", {"--tp-size 8", "--nnodes 3", "evenly"}},
        Refused{"--tp 16 --nnodes 2 --node-rank 2 --dist-init-addr h:1",
                {"--node-rank 2", "from 0 to 1"}},
        Refused{"--tp 16", {"--tp-size 16", "h200x8 has 8 GPUs"}},
        Refused{"--tp 8 --base-gpu-id 1", {"--base-gpu-id 1", "GPU 8", "from 0"}},
        Refused{"--tp 4 --gpu-id-step 3", {"--gpu-id-step 3", "GPU 9"}},
        Refused{"--tp 4 --gpu-id-step 0", {"--gpu-id-step 0"}},
        Refused{"--tp 0", {"--tp-size 0"}},
        Refused{"--tp 8 --ep 3", {"--tp-size 8", "--ep 3"}},
        Refused{"--tp 8 --ep 8 --ep-num-redundant-experts 3",
                {"--ep-num-redundant-experts 3", "259", "8 expert ranks"}},
        Refused{"--tp 8 --attn-dp-size 4 --dp 2", {"--attn-dp-size 4", "--dp-size 2"}},
        Refused{"--tp 8 --ep 8 --moe-runner-backend cutlass",
                {"--moe-runner-backend cutlass", "--ep 8"}},
        Refused{"--enable-eplb", {"--enable-eplb", "expert parallel size of 1"}},
        Refused{
            "--tp 8 --ep 8 --enable-eplb --eplb-rebalance-num-iterations 5 "
            "--expert-distribution-recorder-buffer-size 6",
            {"--eplb-rebalance-num-iterations 5", "--expert-distribution-recorder-buffer-size 6"}},
        Refused{"--tp 8 --ep 8 --enable-eplb --elastic-ep-backend mooncake --eplb-algorithm x",
                {"--elastic-ep-backend mooncake", "--eplb-algorithm x"}},
        Refused{"--enable-prefill-cp", {"--cp-strategy"}},
        Refused{"--enable-prefill-cp --cp-strategy zigzag", {"interleave"}},
        Refused{"--enable-prefill-cp --cp-strategy interleave --disaggregation-mode decode",
                {"--enable-prefill-cp", "--disaggregation-mode decode"}},
        Refused{"--tp 4 --enable-nsa-prefill-context-parallel", {"--tp-size 4", "--tp-size 8"}},
        Refused{"--enable-two-batch-overlap", {"--enable-two-batch-overlap", "--moe-a2a-backend"}},
        Refused{"--dp 1 --tp 8 --enable-dp-lm-head --dist-init-addr nowhere",
                {"--dist-init-addr nowhere", "HOST:PORT"}}));

INSTANTIATE_TEST_SUITE_P(
    Speculation,
    Refusals,
    ::testing::Values(
        Refused{"--speculative-algorithm EAGLE --speculative-eagle-topk 1",
                {"--speculative-eagle-topk 1", "--speculative-num-steps is missing"}},
        Refused{"--speculative-algorithm EAGLE --speculative-num-draft-tokens 2",
                {"--speculative-num-draft-tokens 2", "--speculative-num-steps is missing"}},
        Refused{"--speculative-algorithm EAGLE --speculative-num-steps 1",
                {"--speculative-num-steps 1", "--speculative-eagle-topk is missing"}},
        Refused{"--speculative-algorithm EAGLE --speculative-num-steps 1 --speculative-eagle-topk "
                "2 --speculative-num-draft-tokens 4",
                {"--speculative-eagle-topk 2", "64"}},
        Refused{"--speculative-accept-threshold-single 1.5",
                {"--speculative-accept-threshold-single 1.5", "0 to 1"}},
        Refused{"--speculative-algorithm EAGLE --speculative-accept-threshold-acc=-0.1",
                {"--speculative-accept-threshold-acc -0.1", "0 to 1"}},
        Refused{"--tp 8 --dp 8 --speculative-algorithm STANDALONE", {"STANDALONE", "--dp-size 8"}},
        Refused{"--speculative-algorithm NGRAM", {"NGRAM", "64"}},
        Refused{"--tp 4 --pp-size 2 --speculative-algorithm EAGLE",
                {"--pp-size 2", "--speculative-algorithm EAGLE"}},
        Refused{"--tp 4 --pp-size 2 --enable-mixed-chunk", {"--pp-size 2", "--enable-mixed-chunk"}},
        Refused{"--speculative-algorithm EAGLE --speculative-moe-runner-backend "
                "flashinfer_trtllm",
                {"--speculative-moe-runner-backend"}}));

INSTANTIATE_TEST_SUITE_P(
    Roles,
    Refusals,
    ::testing::Values(
        Refused{"--disaggregation-mode decode --disaggregation-decode-tp 8",
                {"--disaggregation-decode-tp 8", "decode"}},
        Refused{"--disaggregation-mode decode --disaggregation-decode-dp 8",
                {"--disaggregation-decode-dp 8"}},
        Refused{"--tp 8 --disaggregation-mode prefill --disaggregation-decode-tp 12",
                {"--tp-size 8", "--disaggregation-decode-tp 12"}},
        Refused{"--disaggregation-mode decode --enable-hierarchical-cache",
                {"--enable-hierarchical-cache", "--disaggregation-mode decode"}},
        Refused{"--disable-radix-cache --enable-hicache",
                {"--enable-hicache", "--disable-radix-cache"}},
        Refused{"--disaggregation-decode-enable-offload-kvcache",
                {"--disaggregation-decode-enable-offload-kvcache"}},
        Refused{"--enable-dsa-cache-layer-split --disaggregation-mode prefill "
                "--disaggregation-transfer-backend nixl",
                {"--disaggregation-transfer-backend nixl"}},
        Refused{"--tp 8 --ep 8 --enable-pd-role-switch", {"--enable-pd-role-switch", "--ep 8"}},
        Refused{"--enable-pd-role-switch --speculative-algorithm EAGLE",
                {"--speculative-algorithm EAGLE"}},
        Refused{"--disaggregation-mode prefill --port 8998", {"port 8998", "bootstrap"}},
        Refused{"--tp 8 --dp 8 --port 65400", {"past 65535", "--port 65400"}},
        Refused{"--tp 2 --disaggregation-mode prefill --disaggregation-ib-device {\"0\":\"a\"}",
                {"there are no devices for GPU 1", "named are 0"}},
        Refused{"--disaggregation-mode prefill --disaggregation-ib-device {\"0\":3}",
                {"a string of device names"}}));

INSTANTIATE_TEST_SUITE_P(
    Serving,
    Refusals,
    ::testing::Values(
        Refused{"--port 65536", {"--port 65536", "0 to 65535"}},
        Refused{"--log-level loud", {"--log-level loud", "warning"}},
        Refused{"--device tpu", {"--device tpu", "cpu, cuda or auto"}},
        Refused{"--enable-dp-lm-head --tp 8 --dp 8 --enable-tp-lm-head-all-to-all",
                {"--enable-dp-lm-head", "--enable-tp-lm-head-all-to-all"}},
        Refused{"--enable-priority-scheduling --schedule-policy lpm",
                {"--enable-priority-scheduling", "--schedule-policy lpm"}},
        Refused{"--schedule-conservativeness -1", {"--schedule-conservativeness -1.0"}},
        Refused{"--export-metrics-to-file", {"--export-metrics-to-file-dir"}},
        Refused{"--prompt-tokens-buckets linear", {"default, tse or custom"}},
        Refused{"--prompt-tokens-buckets default 1", {"takes no numbers"}},
        Refused{"--prompt-tokens-buckets tse 1 2", {"three numbers"}},
        Refused{"--prompt-tokens-buckets tse 1000 1 8", {"base above 1"}},
        Refused{"--prompt-tokens-buckets tse 0 2 8", {"middle above 0"}},
        Refused{"--generation-tokens-buckets tse 1000 2 0", {"count above 0"}},
        Refused{"--generation-tokens-buckets custom", {"at least one"}},
        Refused{"--generation-tokens-buckets custom 1 1", {"twice"}},
        Refused{"--generation-tokens-buckets custom 1 -1", {"negative"}},
        Refused{"--generation-tokens-buckets custom 1 x", {"numbers after custom"}},
        Refused{"--tokenizer-metrics-allowed-custom-labels 9a",
                {"--tokenizer-metrics-allowed-custom-labels 9a", "label '9a'", "no digit first"}},
        Refused{"--tokenizer-metrics-allowed-custom-labels __a", {"Prometheus' own"}},
        Refused{"--tokenizer-metrics-allowed-custom-labels a le", {"label 'le'", "already"}},
        Refused{"--tokenizer-metrics-allowed-custom-labels a a", {"twice"}},
        Refused{"--tokenizer-metrics-allowed-custom-labels a b c d e f g h i",
                {"were 9 labels", "at most 8"}},
        Refused{"--tokenizer-metrics-allowed-custom-labels a "
                "--tokenizer-metrics-custom-labels-header x:y",
                {"--tokenizer-metrics-custom-labels-header x:y", "HTTP header"}},
        Refused{"--extra-metric-labels [1]", {"a JSON object of strings"}},
        Refused{"--extra-metric-labels {\"a\":1}", {"label 'a'", "a string"}},
        Refused{"--extra-metric-labels {\"a\":\"\"}", {"label 'a'", "1 to 256"}},
        Refused{"--extra-metric-labels {\"model_name\":\"x\"}", {"already"}},
        Refused{"--extra-metric-labels {\"a\":\"x\"} "
                "--tokenizer-metrics-allowed-custom-labels a",
                {"label 'a'", "twice"}},
        Refused{"--cuda-graph-config 3", {"--cuda-graph-config 3"}},
        Refused{"--cuda-graph-bs 0 1", {"--cuda-graph-bs 0 1"}}));

TEST(MetricLabels, GoodOnesPass) {
  EXPECT_EQ(refusal("--enable-metrics --tokenizer-metrics-allowed-custom-labels team _t2 "
                    "--extra-metric-labels {\"cluster\":\"c1\"}"),
            "resolved");
}

TEST(Buckets, GoodOnesPass) {
  EXPECT_EQ(refusal("--prompt-tokens-buckets tse 1000 2 8 --generation-tokens-buckets custom 10 5"),
            "resolved");
  EXPECT_EQ(refusal("--prompt-tokens-buckets default"), "resolved");
}

// The line that holds the deployment together: running x drafts <= capacity.
TEST(DispatchCapacity, HoldsAFullBatchOfDrafts) {
  std::string line(kSeedDecode);
  EXPECT_EQ(refusal(line), "resolved");

  const std::string more = refusal(line + " --max-running-requests 1040");
  EXPECT_THAT(more, AllOf(HasSubstr("--max-running-requests 1040"), HasSubstr("65 requests a rank"),
                          HasSubstr("is 130 tokens"), HasSubstr("at most 1024")));
  EXPECT_THAT(more, HasSubstr("SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK (128)"));
  EXPECT_EQ(refusal(line + " --max-running-requests 1040", "h200x8",
                    {{"SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK", "130"}}),
            "resolved");
  EXPECT_NE(refusal(line + " --speculative-num-steps 2"), "resolved");
}

TEST(DispatchCapacity, HoldsTheLargestGraph) {
  const std::string message = refusal(std::string(kSeedDecode) + " --cuda-graph-bs 1 128");

  EXPECT_THAT(message, AllOf(HasSubstr("--cuda-graph-bs 1 128"), HasSubstr("is 256 tokens"),
                             HasSubstr("above 64")));
}

TEST(DispatchCapacity, IsNoneOfPrefillsBusinessInNormalMode) {
  std::string line(kSeedPrefill);
  EXPECT_EQ(refusal(line), "resolved");
  EXPECT_EQ(refusal(line + " --deepep-mode auto"), "resolved");
  EXPECT_THAT(refusal(line + " --deepep-mode low_latency"),
              AllOf(HasSubstr("--deepep-mode low_latency"), HasSubstr("8192 tokens a rank")));
}

TEST(Graphs, OfTwoBatchOverlapAreEven) {
  const std::string line = std::string(kSeedDecode) + " --enable-two-batch-overlap";

  EXPECT_THAT(refusal(line), HasSubstr("1 is odd"));
  EXPECT_EQ(refusal(line + " --cuda-graph-bs 2 64"), "resolved");
}

TEST(Graphs, SmallerThanABatchAreTold) {
  const auto r = resolve_line(std::string(kSeedDecode) + " --cuda-graph-bs 1 32");

  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_THAT(r->warnings, Contains(HasSubstr("batches of 33 to 64 requests")));
}

TEST(IbDevices, MayBeAFile) {
  const std::string line =
      "--disaggregation-mode prefill --tp 2 --disaggregation-ib-device map.json";
  const auto with_file = [&](const std::string& text) {
    return resolve_line(line, "h200x8", {},
                        [text](const std::filesystem::path&) -> Result<std::string> {
                          if (text.empty()) return invalid_argument("there is no such file");
                          return text;
                        });
  };
  EXPECT_TRUE(with_file(R"({"0":"a","1":"b"})").ok());
  EXPECT_THAT(with_file(R"({"1":"b"})").status().message(), HasSubstr("GPU 0"));
  EXPECT_THAT(with_file("").status().message(),
              AllOf(HasSubstr("map.json"), HasSubstr("no such file")));
}

TEST(Hosts, ThatDecodeCannotReachAreTold) {
  const auto local = resolve_line("--disaggregation-mode prefill");
  const auto meeting = resolve_line(
      "--disaggregation-mode prefill --tp 16 --nnodes 2 --dist-init-addr [fd00::1]:5000 --host "
      "0.0.0.0");

  EXPECT_THAT(local->warnings, Contains(HasSubstr("bootstrap server")));
  EXPECT_EQ(meeting->plan.handover.bootstrap_host, "fd00::1");
}

TEST(Devices, WithoutGpusThereIsNoCuda) {
  EXPECT_THAT(refusal("--device cuda --arithmetic exact", "h200x8"), HasSubstr("--device cpu"));
  EXPECT_THAT(refusal("--max-total-tokens 63", "h200x8"), HasSubstr("at least one page"));
  EXPECT_THAT(refusal("--cuda-graph-config {\"decode\":{\"backend\":\"breakable\"}}", "h200x8"),
              HasSubstr("expected \"full\" or \"disabled\""));
  EXPECT_THAT(refusal("--device cuda", "cpu"), HasSubstr("--for-machine h200x8"));
  EXPECT_EQ(resolve_line("--device cpu", "h200x8")->plan.device, DeviceKind::kCpu);
}

TEST(HandoverThreads, AreAtLeastAsManyAsQueues) {
  EXPECT_THAT(refusal("--disaggregation-mode prefill", "h200x8",
                      {{"SGLANG_DISAGGREGATION_THREAD_POOL_SIZE", "3"}}),
              AllOf(HasSubstr("SGLANG_DISAGGREGATION_THREAD_POOL_SIZE is 3"),
                    HasSubstr("SGLANG_DISAGGREGATION_QUEUE_SIZE is 4")));
}

TEST(Limits, MayBeAsManyAsAStepCountsRows) {
  EXPECT_EQ(resolve_line("--speculative-algorithm EAGLE --max-running-requests 536868863")
                .value()
                .plan.limits.max_running,
            536868863);
  EXPECT_EQ(resolve_line("--max-running-requests 1073741824").value().plan.limits.max_running,
            1 << 30);
}

}  // namespace
}  // namespace fathom::config
