#include "config/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/resolution.h"
#include "config/resolve_testing.h"

// What the deployment's own commands become, and every derivation by itself.

namespace fathom::config {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string with(std::string_view line, std::string_view more) {
  return std::string(line) + " " + std::string(more);
}

std::string without(std::string_view line, std::string_view part) {
  std::string text(line);
  const std::size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.erase(at, part.size());
}

Resolved resolved(std::string_view line,
                  std::string_view machine = "h200x8",
                  const EnvironmentMap& variables = {}) {
  const Result<Resolved> result = resolve_line(line, machine, variables);
  EXPECT_TRUE(result.ok()) << line << ": " << result.status().message();
  return result.ok() ? *result : Resolved();
}

std::map<std::string, std::int32_t> ports_of(const InstancePlan& plan) {
  std::map<std::string, std::int32_t> ports;
  for (const PortUse& use : plan.control_ports) ports[use.user] = use.port;
  return ports;
}

class SeedCommands : public ::testing::TestWithParam<bool> {  // true: later SGLang's words
 protected:
  std::string_view prefill() const { return GetParam() ? kNewerPrefill : kSeedPrefill; }
  std::string_view decode() const { return GetParam() ? kNewerDecode : kSeedDecode; }
};

TEST_P(SeedCommands, PrefillBecomesWhatItWas) {
  const Resolved r = resolved(prefill(), "h200x8", seed_environment());
  const InstancePlan& plan = r.plan;

  EXPECT_EQ(plan.role, Role::kPrefill);
  EXPECT_EQ(plan.device, DeviceKind::kCuda);
  EXPECT_EQ(plan.layout.tensor_parallel, 8);
  EXPECT_EQ(plan.layout.attention_tensor_parallel, 1);
  EXPECT_EQ(plan.layout.data_parallel, 8);
  EXPECT_EQ(plan.layout.expert_parallel, 8);
  EXPECT_EQ(plan.layout.ranks_per_node, 8);
  EXPECT_EQ(plan.layout.dense_tensor_parallel, 1);
  EXPECT_TRUE(plan.layout.dp_attention);
  EXPECT_TRUE(plan.layout.dp_lm_head);
  EXPECT_EQ(plan.layout.experts_per_rank, 32);
  EXPECT_EQ(plan.limits.chunk_tokens, 8192);
  EXPECT_EQ(plan.limits.max_running, 64);
  EXPECT_EQ(plan.limits.request_slots, 512);
  EXPECT_EQ(plan.limits.aux_entries, 128);
  EXPECT_EQ(plan.limits.context_tokens, 163840);
  EXPECT_NEAR(plan.limits.reserve_ratio, 0.7 * 0.3, 1e-6);
  EXPECT_FALSE(plan.graphs.enabled);
  EXPECT_TRUE(plan.cache.prefix_cache);
  EXPECT_TRUE(plan.overlap_schedule);
  EXPECT_EQ(plan.cache.dtype, KvCacheDType::kBF16);
  EXPECT_DOUBLE_EQ(plan.cache.memory_fraction, 0.8);
  EXPECT_EQ(plan.cache.bytes_per_token, (70272 + 8052) / 61 * 62);  // the draft layer's, too
  EXPECT_EQ(plan.speculation.algorithm, "EAGLE");
  EXPECT_EQ(plan.speculation.draft_tokens, 2);
  EXPECT_EQ(plan.load_balance, "follow_bootstrap_room");
  EXPECT_EQ(plan.handover.bootstrap_host, "0.0.0.0");
  EXPECT_EQ(plan.handover.bootstrap_port, 8998);
  EXPECT_EQ(plan.handover.bootstrap_timeout_s, 80);
  EXPECT_EQ(plan.handover.traffic_class, 98);
  EXPECT_EQ(plan.warmup_timeout_s, 1800);
  EXPECT_THAT(ports_of(plan), (std::map<std::string, std::int32_t>{{"rendezvous", 8288},
                                                                   {"tokenizer", 8289},
                                                                   {"detokenizer", 8290},
                                                                   {"rpc", 8291},
                                                                   {"metrics", 8292},
                                                                   {"controller", 8293},
                                                                   {"handshake", 8085},
                                                                   {"bootstrap", 8998}}));
  EXPECT_EQ(r.flags.integer("ep_size"), 8);
  EXPECT_EQ(r.flags.integer("disaggregation_decode_tp"), 8);
  EXPECT_EQ(r.flags.text("expert_distribution_recorder_mode"), "stat");
  EXPECT_EQ(r.flags.text("tokenizer_path"), "deepseek-v3.2");
  EXPECT_EQ(r.flags.integer("page_size"), 64);
}

TEST_P(SeedCommands, DecodeBecomesWhatItWas) {
  const Resolved r = resolved(decode(), "h200x8", seed_environment());
  const InstancePlan& plan = r.plan;

  EXPECT_EQ(plan.role, Role::kDecode);
  EXPECT_EQ(plan.layout.tensor_parallel, 16);
  EXPECT_EQ(plan.layout.attention_tensor_parallel, 1);
  EXPECT_EQ(plan.layout.data_parallel, 16);
  EXPECT_EQ(plan.layout.expert_parallel, 16);
  EXPECT_EQ(plan.layout.nodes, 2);
  EXPECT_EQ(plan.layout.ranks_per_node, 8);
  EXPECT_EQ(plan.layout.first_rank, 0);
  EXPECT_EQ(plan.layout.experts_per_rank, 16);
  EXPECT_EQ(plan.limits.chunk_tokens, 512);
  EXPECT_EQ(plan.limits.max_running, 64);
  EXPECT_EQ(plan.limits.request_slots, 1024);
  EXPECT_EQ(plan.limits.aux_entries, 2048);
  EXPECT_EQ(plan.limits.reserved_decode_tokens, 512);
  EXPECT_EQ(plan.speculation.verify_tokens, 128);
  EXPECT_EQ(plan.exchange.dispatch_capacity_tokens, 128);
  EXPECT_EQ(plan.exchange.mode, "low_latency");
  EXPECT_TRUE(plan.graphs.enabled);
  EXPECT_THAT(plan.graphs.batch_sizes, ElementsAre(1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64));
  EXPECT_EQ(plan.graphs.max_batch_size, 64);
  EXPECT_EQ(plan.graphs.tokens_per_request, 2);
  EXPECT_FALSE(plan.cache.prefix_cache);
  EXPECT_TRUE(plan.overlap_schedule);
  EXPECT_EQ(plan.handover.waiting_timeout_s, 80);
  EXPECT_THAT(ports_of(plan), (std::map<std::string, std::int32_t>{{"rendezvous", 19378},
                                                                   {"tokenizer", 19379},
                                                                   {"detokenizer", 19380},
                                                                   {"rpc", 19381},
                                                                   {"metrics", 19382},
                                                                   {"controller", 19383},
                                                                   {"handshake", 19408}}));
}

TEST_P(SeedCommands, TheSecondNodeHoldsTheOtherRanks) {
  const InstancePlan plan = resolved(with(decode(), "--node-rank 1")).plan;

  EXPECT_EQ(plan.layout.node_rank, 1);
  EXPECT_EQ(plan.layout.first_rank, 8);
  EXPECT_EQ(ports_of(plan).at("handshake"), 19391);  // 13 above the base, without the variable
}

TEST(Device, AutoTakesTheGpuAndSaysSo) {
  for (const char* const line : {"", "--device auto"}) {
    const Resolved r = resolve_line(line, "h200x8").value();
    EXPECT_EQ(r.plan.device, DeviceKind::kCuda);
    EXPECT_THAT(r.notes, Contains(HasSubstr("h200x8 has a GPU (NVIDIA H200), which is used")));
    EXPECT_THAT(r.not_built, Not(Contains(HasSubstr("--device"))));
  }
  const Resolved on_cpu = resolve_line("--device auto", "cpu").value();
  EXPECT_EQ(on_cpu.plan.device, DeviceKind::kCpu);
}

TEST(Device, APoolOfAGpuIsAskedForInWholePages) {
  const Resolved r = resolve_line("--max-total-tokens 1000", "h200x8").value();
  EXPECT_EQ(r.plan.cache.max_tokens, 960);
  EXPECT_EQ(r.plan.cache.pages, 0);
  EXPECT_THAT(r.warnings, Contains(HasSubstr("the pool holds 960")));
}

TEST(Device, GraphsAndOverlapAreTheGpusAlone) {
  const Resolved gpu =
      resolve_line("--cuda-graph-bs 4 1 2 --max-running-requests 8", "h200x8").value();
  EXPECT_TRUE(gpu.plan.graphs.enabled);
  EXPECT_TRUE(gpu.plan.overlap_schedule);
  EXPECT_THAT(gpu.plan.graphs.batches_up_to(8), ElementsAre(1, 2, 4));
  EXPECT_THAT(gpu.plan.graphs.batches_up_to(3), ElementsAre(1, 2, 3));
  EXPECT_THAT(gpu.not_built, IsEmpty());

  const Resolved eager =
      resolve_line("--disable-cuda-graph --disable-overlap-schedule", "h200x8").value();
  EXPECT_FALSE(eager.plan.graphs.enabled);
  EXPECT_FALSE(eager.plan.overlap_schedule);
  EXPECT_THAT(eager.not_built, IsEmpty());

  const Resolved unpadded =
      resolve_line("--cuda-graph-bs 1 4 8 --disable-cuda-graph-padding", "h200x8").value();
  EXPECT_FALSE(unpadded.plan.graphs.pads);
  EXPECT_THAT(unpadded.plan.graphs.batches_up_to(6), ElementsAre(1, 4));

  const Resolved cpu = resolve_line("--cuda-graph-bs 4", "cpu").value();
  EXPECT_FALSE(cpu.plan.graphs.enabled);
  EXPECT_THAT(cpu.notes, Contains(HasSubstr("--cuda-graph-bs 4: no need")));
}

TEST_P(SeedCommands, NameWhatIsNotBuiltYet) {
  const Resolved r = resolved(prefill(), "h200x8", seed_environment());

  EXPECT_THAT(r.not_built, Contains(HasSubstr("-size 8: ranks of the instance")));
  EXPECT_THAT(r.not_built, Not(Contains(HasSubstr("--speculative-"))));
  EXPECT_THAT(r.not_built, Contains(HasSubstr("--disaggregation-mode prefill: ")));
  EXPECT_THAT(r.not_built, Not(Contains(HasSubstr("--device"))));
  EXPECT_THAT(r.not_built, Contains(HasSubstr("MC_IB_TC=98: ")));
  EXPECT_THAT(r.notes,
              Contains(HasSubstr("--trust-remote-code: no need: model folders never run code")));
  EXPECT_THAT(r.notes, Contains(HasSubstr("SGLANG_DG_CACHE_DIR=/workspace")));
  EXPECT_THAT(r.not_built, Not(Contains(HasSubstr("--deepep-mode auto"))));
}

INSTANTIATE_TEST_SUITE_P(BothGenerations, SeedCommands, ::testing::Bool(), [](const auto& param) {
  return param.param ? "Newer" : "Seed";
});

TEST(MemoryFraction, WithoutTheFlagPrefillGetsAlmostNothingAndDecodeAlmostAll) {
  const auto fraction = [](std::string_view line) {
    return resolved(without(line, "--mem-fraction-static 0.8")).plan.cache.memory_fraction;
  };
  EXPECT_DOUBLE_EQ(fraction(kSeedPrefill), 0.156);
  EXPECT_DOUBLE_EQ(fraction(kSeedDecode), 0.86);
}

TEST(MemoryFraction, CountsDpAttentionOnlyWhenItIsWritten) {
  // 512 + 1.5*8192 + 2*512 + 1024 = 14848 MiB; with DP attention 512*8*4.5 = 18432 more.
  EXPECT_DOUBLE_EQ(resolved("--tp 8 --dp 8").plan.cache.memory_fraction, 0.897);
  EXPECT_DOUBLE_EQ(resolved("--tp 8 --dp 8 --enable-dp-attention").plan.cache.memory_fraction,
                   0.769);
  EXPECT_DOUBLE_EQ(resolved("--tp 8 --attn-dp-size 8").plan.cache.memory_fraction, 0.769);
}

TEST(MemoryFraction, LiesAboveZeroAndAtMostAtOne) {
  for (const std::string_view wrong : {"0", "-0.1", "1.1"}) {
    EXPECT_THAT(refusal("--mem-fraction-static " + std::string(wrong)),
                HasSubstr("above 0 and at most 1"));
  }
  EXPECT_EQ(refusal("--mem-fraction-static 1"), "resolved");
  EXPECT_THAT(refusal("--tp 8 --chunked-prefill-size 131072"),
              HasSubstr("--chunked-prefill-size 131072"));
}

TEST(MemoryClass, FollowsTheGpu) {
  const FlagValues h200 = resolved("--tp 8").flags;
  EXPECT_EQ(h200.integer("chunked_prefill_size"), 8192);
  EXPECT_EQ(h200.integer("cuda_graph_max_bs"), 512);
  EXPECT_EQ(resolved("--tp 2").flags.integer("cuda_graph_max_bs"), 256);
  EXPECT_EQ(resolved("--cuda-graph-bs 4 9 2").flags.integer("cuda_graph_max_bs"), 9);
  EXPECT_EQ(resolved("--tp 8", "h100x8").flags.integer("chunked_prefill_size"), 8192);
  EXPECT_EQ(
      resolved(R"(--cuda-graph-config {"decode":{"max_bs":7}})").flags.integer("cuda_graph_max_bs"),
      7);
}

TEST(GraphSizes, AreDenserWithSpeculation) {
  EXPECT_THAT(generated_batch_sizes(24, false, false), ElementsAre(1, 2, 4, 8, 12, 16, 24));
  EXPECT_THAT(generated_batch_sizes(12, true, false), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 10, 12));
  EXPECT_THAT(generated_batch_sizes(3, false, true), ElementsAre(1, 2, 3));
  const auto plain = generated_batch_sizes(576, false, false);
  EXPECT_EQ(plain.size(), 5U + 31 + 15 + 3);  // …, 256; 272 … 496; 512, 544, 576
  EXPECT_EQ(plain.back(), 576);
  const auto drafts = generated_batch_sizes(288, true, false);
  EXPECT_EQ(drafts.size(), 8U + 12 + 7 + 24 + 2);
}

TEST(GraphSizes, StopAtWhatRuns) {
  const InstancePlan plan =
      resolved(without(kSeedDecode, "--cuda-graph-bs 1 2 3 4 5 6 8 10 12 16 24 32 64")).plan;

  EXPECT_EQ(plan.graphs.max_batch_size, 64);
  EXPECT_EQ(plan.graphs.batch_sizes.size(), 8U + 12 + 7);
}

TEST(GraphSizes, AreOffByEveryOneOfTheSwitches) {
  const std::string decode(kSeedDecode);
  for (const std::string_view more : {"--disable-cuda-graph", "--disable-decode-cuda-graph",
                                      "--cuda-graph-backend-decode disabled",
                                      R"(--cuda-graph-config {"decode":{"backend":"disabled"}})"}) {
    EXPECT_FALSE(resolved(with(decode, more)).plan.graphs.enabled) << more;
  }
}

TEST(ModelNeeds, PagesOf64WhateverWasAsked) {
  const Resolved r = resolved("--page-size 1");

  EXPECT_EQ(r.flags.integer("page_size"), 64);
  EXPECT_THAT(r.warnings, Contains(HasSubstr("--page-size 1: ")));
  EXPECT_THAT(resolved("--page-size 64").warnings, Not(Contains(HasSubstr("--page-size"))));
}

TEST(ModelNeeds, ACacheOfBf16OrFp8) {
  EXPECT_EQ(resolved("").flags.text("kv_cache_dtype"), "bfloat16");
  const Resolved fp8 = resolved("--kv-cache-dtype fp8_e4m3 --nsa-decode-backend fa3");
  EXPECT_EQ(fp8.flags.text("nsa_prefill_backend"), "flashmla_auto");
  EXPECT_EQ(fp8.flags.text("nsa_decode_backend"), "flashmla_kv");
  EXPECT_THAT(fp8.warnings, Contains(HasSubstr("--nsa-decode-backend fa3")));
  EXPECT_EQ(fp8.plan.cache.bytes_per_token, (656 + 132) * 61);
  for (const std::string_view wrong : {"fp8_e5m2", "fp4_e2m1"}) {
    EXPECT_THAT(refusal("--kv-cache-dtype " + std::string(wrong)), HasSubstr("--kv-cache-dtype"));
  }
}

TEST(ModelNeeds, ExactArithmeticHasItsOwnCache) {
  EXPECT_THAT(refusal("--arithmetic exact --kv-cache-dtype bf16", "cpu"),
              AllOf(HasSubstr("--kv-cache-dtype"), HasSubstr("--arithmetic exact")));
  const Resolved exact = resolved("--arithmetic exact", "cpu");
  EXPECT_EQ(exact.plan.arithmetic, Arithmetic::kExact);
  EXPECT_EQ(exact.plan.cache.bytes_per_token, (576 + 128) * 4 * 61);
  EXPECT_EQ(resolved("--arithmetic exact --kv-cache-dtype auto", "cpu").plan.cache.dtype,
            KvCacheDType::kAuto);
}

TEST(ModelNeeds, AttentionInTpModeIsTold) {
  EXPECT_THAT(resolved("--tp 8").warnings, Contains(HasSubstr("NSA with TP mode")));
  EXPECT_THAT(resolved("--tp 8 --dp 8").warnings, Not(Contains(HasSubstr("NSA with TP mode"))));
}

TEST(ModelNeeds, AContextWithinItsOwn) {
  EXPECT_THAT(refusal("--context-length 163841"),
              AllOf(HasSubstr("163840"), HasSubstr("SGLANG_ALLOW_OVERWRITE")));
  const Resolved longer = resolved("--context-length 200000", "h200x8",
                                   {{"SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN", "1"}});
  EXPECT_EQ(longer.plan.limits.context_tokens, 200000);
  EXPECT_THAT(longer.warnings, Contains(HasSubstr("--context-length 200000")));
}

TEST(DataParallelism, IsOffWithOneGroup) {
  const Resolved r = resolved("--enable-dp-attention --enable-dp-lm-head");

  EXPECT_FALSE(r.plan.layout.dp_attention);
  EXPECT_FALSE(r.plan.layout.dp_lm_head);
  EXPECT_DOUBLE_EQ(r.flags.number("schedule_conservativeness"), 1);
  EXPECT_THAT(r.plan.control_ports, IsEmpty());
}

TEST(DataParallelism, DividesTheChunkAndTheReserve) {
  const Resolved r = resolved("--tp 8 --dp 8 --chunked-prefill-size 65536");

  EXPECT_TRUE(r.plan.layout.dp_attention);  // by the model, without the flag
  EXPECT_EQ(r.plan.limits.chunk_tokens, 8192);
  EXPECT_DOUBLE_EQ(r.flags.number("schedule_conservativeness"), 0.3);
  EXPECT_THAT(r.warnings, Contains(HasSubstr("DP attention is enabled. The chunked prefill size "
                                             "is adjusted to 8192")));
}

TEST(DataParallelism, ChecksTheDividedChunk) {
  for (const std::string_view wrong : {"65000", "256", "7", "100"}) {
    EXPECT_THAT(refusal("--tp 8 --dp 8 --chunked-prefill-size " + std::string(wrong)),
                AllOf(HasSubstr("--chunked-prefill-size " + std::string(wrong)), HasSubstr("512")))
        << wrong;
  }
  EXPECT_EQ(refusal("--tp 8 --dp 8 --chunked-prefill-size 512"), "resolved");
  EXPECT_THAT(refusal("--chunked-prefill-size 100"), HasSubstr("multiple of the page of 64"));
  EXPECT_EQ(refusal(with(kSeedDecode, "--chunked-prefill-size 65000")), "resolved");
}

TEST(DataParallelism, AChunkOfMinusOneStaysOff) {
  const Resolved r = resolved("--tp 8 --dp 8 --chunked-prefill-size -1");

  EXPECT_EQ(r.flags.integer("chunked_prefill_size"), -1);
  EXPECT_EQ(r.plan.limits.chunk_tokens, 16384);
  EXPECT_THAT(r.warnings, Contains(HasSubstr("adjusted to -1")));
}

TEST(Experts, AnExchangeSpreadsThemOverAllRanks) {
  const Resolved r = resolved("--tp 8 --ep 2 --moe-a2a-backend deepep");

  EXPECT_EQ(r.plan.layout.expert_parallel, 8);
  EXPECT_THAT(r.warnings, Contains(AllOf(HasSubstr("--ep 2"), HasSubstr("deepep"))));
  EXPECT_EQ(resolved("--tp 8 --ep 4").plan.layout.experts_per_rank, 64);
  EXPECT_EQ(resolved("--tp 8 --ep 8 --ep-num-redundant-experts 16").plan.layout.experts_per_rank,
            34);
}

TEST(Experts, DeepEpNormalTurnsGraphsOff) {
  const Resolved r = resolved("--tp 8 --dp 8 --moe-a2a-backend deepep --deepep-mode normal");

  EXPECT_FALSE(r.plan.graphs.enabled);
  EXPECT_THAT(r.warnings, Contains(HasSubstr("CUDA graphs are off")));
}

TEST(Experts, BalanceSetsItsDefaults) {
  const FlagValues flags =
      resolved("--tp 8 --moe-a2a-backend deepep --enable-eplb --elastic-ep-backend mooncake").flags;

  EXPECT_EQ(flags.text("expert_distribution_recorder_mode"), "stat");
  EXPECT_EQ(flags.integer("expert_distribution_recorder_buffer_size"), 1000);
  EXPECT_EQ(flags.text("ep_dispatch_algorithm"), "static");
  EXPECT_EQ(flags.text("eplb_algorithm"), "elasticity_aware");
}

TEST(Speculation, FillsInWhatIsMissing) {
  const Resolved r = resolved("--speculative-algorithm NEXTN");

  EXPECT_EQ(r.plan.speculation.algorithm, "EAGLE");
  EXPECT_EQ(r.plan.speculation.steps, 3);
  EXPECT_EQ(r.plan.speculation.top_k, 1);
  EXPECT_EQ(r.plan.speculation.draft_tokens, 4);
  EXPECT_EQ(r.plan.limits.max_running, 48);
  EXPECT_TRUE(r.plan.overlap_schedule);
  EXPECT_EQ(r.flags.text("speculative_draft_model_path"), "model");
  EXPECT_FALSE(
      resolved("--speculative-algorithm EAGLE --disable-overlap-schedule").plan.overlap_schedule);
  EXPECT_FALSE(resolved("--speculative-algorithm EAGLE --enable-mixed-chunk")
                   .flags.is_on("enable_mixed_chunk"));
}

TEST(Speculation, IsSwitchedOffWhereItLosesOnACpuAlone) {
  const std::string eagle = "--speculative-algorithm EAGLE ";
  EXPECT_TRUE(resolved(eagle + "--device cpu").plan.speculation.off_switch);
  EXPECT_FALSE(
      resolved(eagle + "--device cpu --speculative-off-switch never").plan.speculation.off_switch);
  EXPECT_FALSE(resolved(eagle + "--device cpu --speculative-accept-threshold-acc 0.9")
                   .plan.speculation.off_switch);
  EXPECT_FALSE(resolved(eagle).plan.speculation.off_switch);
  EXPECT_FALSE(resolved("--device cpu").plan.speculation.off_switch);
}

TEST(Speculation, SaysThatLowThresholdsChangeAnswers) {
  const Resolved exact = resolved("--speculative-algorithm EAGLE");
  EXPECT_EQ(exact.plan.speculation.accept_threshold_single, 1);
  EXPECT_EQ(exact.plan.speculation.accept_threshold_acc, 1);
  EXPECT_THAT(exact.warnings, Not(Contains(HasSubstr("threshold"))));

  const Resolved r = resolved(
      "--speculative-algorithm EAGLE --speculative-accept-threshold-single 0.25 "
      "--speculative-accept-threshold-acc 0");
  EXPECT_EQ(r.plan.speculation.accept_threshold_single, 0.25);
  EXPECT_EQ(r.plan.speculation.accept_threshold_acc, 0);
  EXPECT_THAT(r.warnings, Contains(HasSubstr("--speculative-accept-threshold-single 0.25: ")));
}

TEST(Speculation, AChainVerifiesOneTokenMoreThanItsSteps) {
  const Resolved r = resolved(
      "--speculative-algorithm EAGLE --speculative-num-steps 2 --speculative-eagle-topk 1 "
      "--speculative-num-draft-tokens 7");

  EXPECT_EQ(r.plan.speculation.draft_tokens, 3);
  EXPECT_THAT(r.warnings, Contains(HasSubstr("--speculative-num-draft-tokens is 3")));
}

TEST(Decode, KeepsSlotsForRequestsOnTheirWay) {
  const auto slots = [](std::string_view more) {
    return resolved(with("--disaggregation-mode decode --max-running-requests", more))
        .plan.limits.request_slots;
  };
  EXPECT_EQ(slots("32"), 96);  // twice as many more, up to 32
  EXPECT_EQ(slots("33"), 33);
  EXPECT_EQ(slots("33 --disaggregation-decode-extra-slots 5"), 38);
}

TEST(Decode, NeedsNoPromiseAboutThePairing) {
  const Resolved r = resolved(without(kSeedDecode, "--prefill-round-robin-balance "));

  EXPECT_THAT(r.warnings, Contains(HasSubstr("--prefill-round-robin-balance")));
}

TEST(Decode, MayKeepPrefixesInLaterSglang) {
  EXPECT_TRUE(resolved(with(kNewerDecode, "--disaggregation-decode-enable-radix-cache"))
                  .plan.cache.prefix_cache);
}

TEST(LoadBalance, MeansWhatItMeantInEachRole) {
  const auto method = [](std::string_view role, std::string_view name) {
    return resolved("--disaggregation-mode " + std::string(role) + " --load-balance-method " +
                    std::string(name))
        .plan.load_balance;
  };
  EXPECT_EQ(method("null", "round_robin"), "round_robin");
  EXPECT_EQ(method("decode", "round_robin"), "follow_bootstrap_room");
  EXPECT_EQ(method("prefill", "round_robin"), "follow_bootstrap_room");
  EXPECT_EQ(method("decode", "decode_round_robin"), "round_robin");
  EXPECT_EQ(method("prefill", "decode_round_robin"), "follow_bootstrap_room");
  EXPECT_EQ(method("decode", "auto"), "round_robin");
  EXPECT_EQ(method("prefill", "auto"), "follow_bootstrap_room");
  EXPECT_EQ(method("null", "minimum_tokens"), "round_robin");
  EXPECT_EQ(method("decode", "shortest_queue"), "total_requests");
}

TEST(CpuPlan, IsWhatAnEngineOfOneRankNeeds) {
  const Resolved r = resolved("--served-model-name m --port 1", "cpu");
  const InstancePlan& plan = r.plan;

  EXPECT_EQ(plan.device, DeviceKind::kCpu);
  EXPECT_EQ(plan.layout.tensor_parallel, 1);
  EXPECT_EQ(plan.layout.experts_per_rank, 256);
  EXPECT_EQ(plan.threads, 8);
  EXPECT_EQ(r.flags.integer("threads"), 8);
  EXPECT_EQ(plan.random_seed, 1234567U);
  EXPECT_EQ(plan.limits.chunk_tokens, 512);
  EXPECT_EQ(plan.limits.max_prefill_tokens, 16384);
  EXPECT_FLOAT_EQ(plan.limits.reserve_ratio, 0.7F);
  EXPECT_EQ(plan.tokenizer_path, "model");
  EXPECT_FALSE(plan.graphs.enabled);
  EXPECT_THAT(plan.control_ports, IsEmpty());
  EXPECT_THAT(r.not_built, IsEmpty());
}

TEST(CpuPlan, TakesEveryFlagThatWorks) {
  const Resolved r = resolved(
      "--host 0.0.0.0 --port 0 --served-model-name x --context-length 4096 "
      "--chunked-prefill-size 128 --max-running-requests 7 --max-prefill-tokens 300 "
      "--prefill-max-requests 3 --max-total-tokens 640 --max-queued-requests 9 "
      "--stream-interval 2 --random-seed 5 --kv-cache-dtype fp8_e4m3 --skip-server-warmup "
      "--skip-tokenizer-init --log-level warning --schedule-conservativeness 0.5 "
      "--schedule-policy lof --enable-priority-scheduling --stream-output --weight-version v2 "
      "--trust-remote-code "
      "--disable-radix-cache --disable-cuda-graph --cuda-graph-bs 1 2 --attention-backend nsa "
      "--disable-overlap-schedule --moe-dense-tp-size 1 --threads 3 --device cpu "
      "--arithmetic deployed --enable-cache-report --sampling-defaults openai "
      "--tokenizer-path t --load-format safetensors --dtype bfloat16",
      "cpu");
  const InstancePlan& plan = r.plan;

  EXPECT_THAT(r.not_built, IsEmpty());
  EXPECT_EQ(plan.host, "0.0.0.0");
  EXPECT_EQ(plan.limits.context_tokens, 4096);
  EXPECT_EQ(plan.limits.chunk_tokens, 128);
  EXPECT_EQ(plan.limits.max_running, 7);
  EXPECT_EQ(plan.limits.max_prefill_tokens, 300);
  EXPECT_EQ(plan.limits.prefill_max_requests, 3);
  EXPECT_EQ(plan.limits.max_queued, 9);
  EXPECT_FLOAT_EQ(plan.limits.reserve_ratio, 0.35F);
  EXPECT_EQ(plan.limits.schedule_policy, "lof");
  EXPECT_TRUE(plan.limits.priorities);
  EXPECT_EQ(plan.cache.pages, 10);
  EXPECT_EQ(plan.cache.dtype, KvCacheDType::kF8E4M3);
  EXPECT_EQ(plan.stream_interval, 2);
  EXPECT_EQ(plan.random_seed, 5U);
  EXPECT_TRUE(plan.skip_warmup);
  EXPECT_TRUE(plan.skip_tokenizer);
  EXPECT_TRUE(plan.incremental_streaming);
  EXPECT_TRUE(plan.cache_report);
  EXPECT_FALSE(plan.use_sampling_defaults);
  EXPECT_EQ(plan.log_level, LogThreshold::kWarning);
  EXPECT_EQ(plan.weight_version, "v2");
  EXPECT_EQ(plan.tokenizer_path, "t");
  EXPECT_EQ(plan.threads, 3);
  EXPECT_THAT(r.notes, Contains(HasSubstr("--disable-cuda-graph: no need: a CPU has no graphs")));
}

TEST(CpuPlan, NamesEveryFlagThatDoesNotWorkYet) {
  for (const std::string_view line :
       {"--tp 2", "--dp 1 --tp 4", "--schedule-policy dfs-weight", "--tool-call-parser qwen",
        "--reasoning-parser qwen3", "--enable-http2", "--grpc-port 1", "--attention-backend fa3",
        "--load-format pt", "--dtype float16", "--speculative-adaptive",
        "--disaggregation-mode decode", "--enable-hierarchical-cache"}) {
    EXPECT_EQ(resolved(line, "cpu").not_built.size(), 1U) << line;
  }
  EXPECT_EQ(resolved("", "cpu", {{"SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION", "99"}})
                .plan.limits.reserve_clip,
            99);
  EXPECT_THAT(resolved("", "cpu", {{"SGLANG_REQ_WAITING_TIMEOUT", "5"}}).not_built,
              ElementsAre(HasSubstr("SGLANG_REQ_WAITING_TIMEOUT=5")));
  EXPECT_THAT(resolved("--watchdog-timeout 300 --tp 1", "cpu").not_built, IsEmpty());
}

TEST(CpuPool, Is256MibForEachRank) {
  // One page of the full model: 64 tokens x 79608 bytes.
  EXPECT_EQ(resolved("", "cpu").plan.cache.pages, (256 << 20) / (64 * 78324));
  EXPECT_EQ(resolved("", "cpu").plan.limits.max_running, 53);  // a page each at least
  EXPECT_EQ(resolved("--tp 4", "cpu").plan.cache.pages, 53);
}

TEST(Cache, EvictsWhatIsSaid) {
  EXPECT_FALSE(resolved("").plan.cache.evicts_least_used);
  EXPECT_FALSE(resolved("--radix-eviction-policy lru").plan.cache.evicts_least_used);
  EXPECT_TRUE(resolved("--radix-eviction-policy lfu").plan.cache.evicts_least_used);
}

TEST(CpuPool, HoldsWholePagesOfTheTokensAsked) {
  EXPECT_EQ(resolved("--max-total-tokens 6400", "cpu").plan.cache.pages, 100);
  const Resolved odd = resolved("--max-total-tokens 6463", "cpu");
  EXPECT_EQ(odd.plan.cache.pages, 100);
  EXPECT_THAT(odd.warnings, Contains(HasSubstr("the pool holds 6400")));
  EXPECT_THAT(refusal("--max-total-tokens 63", "cpu"), HasSubstr("at least one page"));
}

TEST(CpuPool, IsCappedByTheMemory) {
  // 16 GiB x 0.001 = 17179869 bytes: three pages of 5012736.
  const Resolved capped = resolved("--mem-fraction-static 0.001 --max-total-tokens 6400", "cpu");
  EXPECT_EQ(capped.plan.cache.pages, 3);
  EXPECT_THAT(capped.warnings, Contains(AllOf(HasSubstr("--mem-fraction-static 0.001 of 16384 MiB"),
                                              HasSubstr("192 tokens instead of 6400"))));
  EXPECT_THAT(refusal("--mem-fraction-static 0.001 --tp 4", "cpu"),
              AllOf(HasSubstr("for 4 ranks is 4 MiB"), HasSubstr("5012736 bytes")));
}

TEST(CpuPool, IsCappedByTheControlGroup) {
  ResolveInput input;
  input.flags.give("model_path", Json::string("m"), ValueSource::kCommandLine, "--model-path");
  input.model = real_model();
  input.machine = *preset_machine("cpu");
  input.machine.cgroup_memory_bytes = std::int64_t{64} << 20;

  const auto r = resolve(input);

  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(r->plan.cache.pages, static_cast<std::int32_t>(0.88 * (64 << 20)) / (64 * 78324));
}

TEST(CpuPool, SmallerThanAContextIsTold) {
  EXPECT_THAT(resolved("--max-total-tokens 640 --context-length 641", "cpu").warnings,
              Contains(HasSubstr("the pool holds 640 tokens, fewer than a context of 641")));
  EXPECT_THAT(resolved("--max-total-tokens 640 --context-length 640", "cpu").warnings, IsEmpty());
}

}  // namespace
}  // namespace fathom::config
