#include "config/parse_flags.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/seed_commands_testing.h"

namespace fathom::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<ParsedFlags> parse(std::string_view line, const FileReader& read_file = {}) {
  return parse_flags(split_words(line), {.model_may_come_first = false, .read_file = read_file});
}

FlagValues parsed(std::string_view line) {
  const Result<ParsedFlags> result = parse(line);
  EXPECT_TRUE(result.ok()) << line << ": " << result.status().message();
  return result.ok() ? result->values : FlagValues();
}

std::string error(std::string_view line) {
  const Result<ParsedFlags> result = parse(line);
  return result.ok() ? "parsed" : result.status().message();
}

FileReader file(const std::string& name, const std::string& text) {
  return [name, text](const std::filesystem::path& path) -> Result<std::string> {
    if (path != name) return invalid_argument("there is no such file");
    return text;
  };
}

TEST(FlagTable, NamesAndSpellingsAreUniqueAndEveryEntryIsComplete) {
  std::set<std::string_view> names;
  std::set<std::string_view> spellings;

  for (const Flag* flag : all_flags()) {
    EXPECT_TRUE(names.insert(flag->name).second) << flag->name;
    EXPECT_FALSE(flag->help.empty()) << flag->name;
    const bool needs_note = flag->support != Support::kBuilt && flag->support != Support::kNotBuilt;
    EXPECT_EQ(!flag->note.empty(), needs_note) << flag->name;
    for (const std::string_view list : {flag->spellings, flag->newer_spellings}) {
      for (const std::string_view spelling : words(list)) {
        EXPECT_TRUE(spelling.starts_with("--")) << spelling;
        EXPECT_TRUE(spellings.insert(spelling).second) << spelling;
      }
    }
    EXPECT_FALSE(words(flag->spellings).empty()) << flag->name;
    EXPECT_TRUE(flag->initial.empty() || parse_value(*flag, flag->initial).ok()) << flag->name;
    for (const std::string_view value : words(flag->values)) {
      EXPECT_TRUE(parse_value(*flag, value).ok()) << flag->name << " " << value;
    }
  }
}

TEST(FlagTable, HoldsBothGenerations) {
  std::size_t seed = 0;
  for (const Flag* flag : all_flags()) seed += flag->generation == Generation::kSeed ? 1 : 0;

  // SGLang 0.5.7 declares 313 flags, --config among them.
  EXPECT_EQ(seed, 313U);
  // The later ones that a launch of this model may have.
  for (const std::string_view name : {"attn_dp_size",
                                      "cuda_graph_bs_prefill",
                                      "cuda_graph_max_bs_prefill",
                                      "cuda_graph_backend_decode",
                                      "cuda_graph_backend_prefill",
                                      "disable_decode_cuda_graph",
                                      "disable_prefill_cuda_graph",
                                      "cuda_graph_config",
                                      "dsa_prefill_backend",
                                      "dsa_decode_backend",
                                      "dsa_topk_backend",
                                      "dsa_paged_mqa_logits_backend",
                                      "enable_prefill_cp",
                                      "cp_strategy",
                                      "attn_cp_size",
                                      "enable_dsa_cache_layer_split",
                                      "disaggregation_decode_enable_radix_cache",
                                      "disaggregation_decode_extra_slots",
                                      "disaggregation_decode_allocation_policy",
                                      "optimistic_prefill_attempts",
                                      "disaggregation_decode_retraction_backup",
                                      "disaggregation_enable_kv_checksum",
                                      "enable_pd_role_switch",
                                      "max_ep_size",
                                      "elastic_ep_join_mode",
                                      "enable_tp_lm_head_all_to_all",
                                      "enable_dp_attention_local_control_broadcast",
                                      "enable_prefill_delayer",
                                      "prefill_decode_interval",
                                      "retraction_policy",
                                      "speculative_adaptive",
                                      "speculative_use_rejection_sampling",
                                      "speculative_draft_kv_cache_dtype",
                                      "hicache_host_memory_mode",
                                      "hicache_host_memory_fraction",
                                      "admin_api_key",
                                      "enable_http2",
                                      "ssl_certfile",
                                      "ssl_keyfile",
                                      "ssl_keyfile_password",
                                      "ssl_ca_certs",
                                      "enable_ssl_refresh",
                                      "grpc_port",
                                      "stream_response_default_include_usage",
                                      "default_chat_template_kwargs",
                                      "enable_strict_thinking",
                                      "log_requests_target",
                                      "uvicorn_access_log_exclude_prefixes",
                                      "extra_metric_labels",
                                      "expert_balancedness_report_mode"}) {
    EXPECT_TRUE(find_flag(name).has_value()) << name;
  }
}

TEST(ParseFlags, TakesTheSeedsCommandsAndTheirNewerForms) {
  for (const std::string_view line : {kSeedPrefill, kSeedDecode, kNewerPrefill, kNewerDecode}) {
    EXPECT_TRUE(parse(line).ok()) << parse(line).status().message();
  }
  const FlagValues prefill = parsed(kSeedPrefill);
  EXPECT_EQ(prefill.text("model_path"), "deepseek-v3.2");
  EXPECT_EQ(prefill.integer("tp_size"), 8);
  EXPECT_EQ(prefill.integer("chunked_prefill_size"), 65536);
  EXPECT_DOUBLE_EQ(prefill.number("gc_warning_threshold_secs"), 0.1);
  EXPECT_TRUE(prefill.is_on("enable_dp_attention"));
  EXPECT_THAT(parsed(kSeedDecode).integers("cuda_graph_bs"),
              ElementsAre(1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64));
  EXPECT_THAT(parsed(kNewerDecode).integers("cuda_graph_bs"),
              ElementsAre(1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64));
}

TEST(ParseFlags, TakesUnambiguousPrefixes) {
  struct Case {
    std::string_view line;
    std::string_view name;
  };
  for (const Case& c :
       {Case{"--tp 8", "tp_size"}, Case{"--dp 8", "dp_size"}, Case{"--ep 8", "ep_size"},
        Case{"--mem-frac 0.5", "mem_fraction_static"},
        Case{"--speculative-algo EAGLE", "speculative_algorithm"},
        Case{"--trust", "trust_remote_code"},
        Case{"--load-balance round_robin", "load_balance_method"},
        Case{"--reasoning deepseek-v3", "reasoning_parser"},
        Case{"--mem-frac=0.5", "mem_fraction_static"}, Case{"--for-m cpu", "for_machine"},
        Case{"--dry", "dry_run"}, Case{"--attn-dp 8", "attn_dp_size"}}) {
    EXPECT_TRUE(parsed(c.line).given(c.name)) << c.line;
  }
}

TEST(ParseFlags, LooksThroughTheOlderSpellingsFirst) {
  // Each is a prefix of later spellings, too.
  EXPECT_TRUE(parsed("--trust").is_on("trust_remote_code"));
  EXPECT_TRUE(parsed("--context 4096").given("context_length"));
  EXPECT_TRUE(parsed("--page 64").given("page_size"));
  EXPECT_TRUE(parsed("--attention nsa").given("attention_backend"));
  EXPECT_TRUE(parsed("--stream-o").is_on("stream_output"));
  EXPECT_TRUE(parsed("--admin secret").given("admin_api_key"));
  EXPECT_TRUE(parsed("--hicache-ra 1.5").given("hicache_ratio"));
}

TEST(ParseFlags, AnExactSpellingBeatsALongerOne) {
  EXPECT_THAT(parsed("--cuda-graph-bs 4").integers("cuda_graph_bs"), ElementsAre(4));
  EXPECT_TRUE(parsed("--json").is_on("json"));  // not --json-model-override-args
  EXPECT_TRUE(parsed("--enable-metrics").is_on("enable_metrics"));
  EXPECT_TRUE(parsed("--log-requests").is_on("log_requests"));
  EXPECT_TRUE(parsed("--model m").given("model_path"));
  EXPECT_EQ(parsed("--speculative-draft-model x").text("speculative_draft_model_path"), "x");
}

TEST(ParseFlags, NamesWhatAnAmbiguousPrefixCouldBe) {
  EXPECT_THAT(error("--disagg prefill"),
              HasSubstr("ambiguous option: --disagg could match --disaggregation-mode, "
                        "--disaggregation-transfer-backend"));
  for (const std::string_view line :
       {"--pp 2", "--moe deepep", "--speculative-num 1", "--log-req", "--h", "--disagg=prefill"}) {
    EXPECT_THAT(error(line), HasSubstr("ambiguous option: --")) << line;
  }
}

TEST(ParseFlags, TakesTheLastOccurrenceWhicheverSpellingItHas) {
  EXPECT_EQ(parsed("--tp 8 --tp-size 4").integer("tp_size"), 4);
  EXPECT_EQ(parsed("--tp-size 4 --tensor-parallel-size=2 --tp 1").integer("tp_size"), 1);
  EXPECT_THAT(parsed("--cuda-graph-bs 1 2 --cuda-graph-bs-decode 4").integers("cuda_graph_bs"),
              ElementsAre(4));
  EXPECT_FALSE(parsed("--enable-tp-lm-head-all-to-all --no-enable-tp-lm-head-all-to-all")
                   .is_on("enable_tp_lm_head_all_to_all"));
}

TEST(ParseFlags, EndsAListAtTheNextFlag) {
  const FlagValues values =
      parsed("--cuda-graph-bs 3 1 1 --bucket-time-to-first-token 0.1 2 1e1 --port 1");

  EXPECT_THAT(values.integers("cuda_graph_bs"), ElementsAre(3, 1, 1));  // kept as they are
  EXPECT_EQ(values.get("bucket_time_to_first_token").as_array()->size(), 3U);
  EXPECT_EQ(values.integer("port"), 1);
  EXPECT_THAT(error("--cuda-graph-bs --port 1"), HasSubstr("expected at least one argument"));
  EXPECT_EQ(parsed("--lora-paths").get("lora_paths").as_array()->size(), 0U);
  EXPECT_THAT(parsed("--cuda-graph-bs=7").integers("cuda_graph_bs"), ElementsAre(7));
  EXPECT_EQ(error("--cuda-graph-bs=7 8"), "unrecognized arguments: 8");
}

TEST(ParseFlags, TakesNegativeNumbersForValues) {
  EXPECT_EQ(parsed("--chunked-prefill-size -1").integer("chunked_prefill_size"), -1);
  EXPECT_EQ(parsed("--chunked-prefill-size=-1").integer("chunked_prefill_size"), -1);
  EXPECT_DOUBLE_EQ(parsed("--mem-fraction-static -.5").number("mem_fraction_static"), -0.5);
  EXPECT_THAT(error("--served-model-name -x"), HasSubstr("expected one argument"));
}

TEST(ParseFlags, ReadsNumbersAsPythonDoes) {
  EXPECT_EQ(parsed("--port +8_055").integer("port"), 8055);
  EXPECT_DOUBLE_EQ(parsed("--watchdog-timeout 1e3").number("watchdog_timeout"), 1000);
  for (const std::string_view bad :
       {"x", "1.5", "1__0", "_1", "0x10", "1e3", "99999999999999999999"}) {
    EXPECT_EQ(error("--port " + std::string(bad)),
              "argument --port: invalid int value: '" + std::string(bad) + "'");
  }
  EXPECT_EQ(error("--tp four"),
            "argument --tensor-parallel-size/--tp-size: invalid int value: 'four'");
  EXPECT_THAT(error("--mem-fraction-static nan"), HasSubstr("invalid float value: 'nan'"));
}

TEST(ParseFlags, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(error("--nonsense 3"), "unrecognized arguments: --nonsense 3");
  EXPECT_EQ(error("--port 1 stray"), "unrecognized arguments: stray");
  EXPECT_EQ(error("-x"), "unrecognized arguments: -x");
  EXPECT_EQ(error("-- --port 1"), "unrecognized arguments: -- --port 1");
  EXPECT_EQ(error("--disaggregation-mode both"),
            "argument --disaggregation-mode: invalid choice: 'both' (choose from 'null', "
            "'prefill', 'decode')");
  EXPECT_THAT(error("--log-requests-level 4"), HasSubstr("invalid choice: 4"));
  EXPECT_THAT(error("--port"), HasSubstr("argument --port: expected one argument"));
  EXPECT_THAT(error("--trust-remote-code=1"), HasSubstr("ignored explicit argument '1'"));
  EXPECT_THAT(error("--cuda-graph-config {"), HasSubstr("invalid JSON value"));
}

TEST(ParseFlags, HelpWinsOverMistakesBehindIt) {
  EXPECT_TRUE(parse("--port 1 --help --nonsense")->help);
  EXPECT_TRUE(parse("-h")->help);
  EXPECT_TRUE(parse("--nonsense -h")->help);  // argparse tells of strangers at the end
  EXPECT_FALSE(parse("--port x -h").ok());
}

TEST(ParseFlags, TakesTheModelAsFirstWordWhereThatIsAllowed) {
  const ParseOptions options{.model_may_come_first = true, .read_file = {}};

  const auto model = parse_flags(split_words("some/folder --port 1"), options);
  const auto later = parse_flags(split_words("--port 1 some/folder"), options);

  EXPECT_EQ(model->values.text("model_path"), "some/folder");
  EXPECT_EQ(later.status().message(), "unrecognized arguments: some/folder");
  EXPECT_FALSE(parse("some/folder").ok());
}

TEST(ParseFlags, PutsTheFileOfFlagsInFront) {
  const FileReader reader = file("a.yaml",
                                 "port: 1\n"
                                 "tp-size: 8  # comment\n"
                                 "trust-remote-code: true\n"
                                 "enable-metrics: no\n"
                                 "cuda-graph-bs: [1, 2]\n"
                                 "chunked-prefill-size: -1\n"
                                 "disaggregation-ib-device: '{\"0\": \"mlx5_0\"}'\n");

  const auto result = parse("--tp 4 --config a.yaml --host h", reader);

  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->values.integer("port"), 1);
  EXPECT_EQ(result->values.source("port"), ValueSource::kConfigFile);
  EXPECT_EQ(result->values.integer("tp_size"), 4);  // the command line wins, wherever --config is
  EXPECT_TRUE(result->values.is_on("trust_remote_code"));
  EXPECT_FALSE(result->values.given("enable_metrics"));
  EXPECT_THAT(result->values.integers("cuda_graph_bs"), ElementsAre(1, 2));
  EXPECT_EQ(result->values.integer("chunked_prefill_size"), -1);
  EXPECT_EQ(result->values.text("disaggregation_ib_device"), "{\"0\": \"mlx5_0\"}");
  EXPECT_EQ(result->values.text("host"), "h");
}

TEST(ParseFlags, RefusesAFileOfFlagsItCannotUse) {
  const auto refused = [](std::string_view line, const std::string& yaml) {
    return parse(line, file("a.yaml", yaml)).status().message();
  };
  EXPECT_THAT(refused("--config b.yaml", ""), HasSubstr("there is no such file"));
  EXPECT_THAT(refused("--config a.txt", ""), HasSubstr(".yaml or .yml"));
  EXPECT_THAT(refused("--config a.yaml --config a.yaml", ""), HasSubstr("given twice"));
  EXPECT_THAT(refused("--config", ""), HasSubstr("expected one argument"));
  EXPECT_THAT(refused("--config a.yaml", "- port"), HasSubstr("expected a mapping"));
  EXPECT_THAT(refused("--config a.yaml", "port:"), HasSubstr("port has no value"));
  EXPECT_THAT(refused("--config a.yaml", "port: {a: 1}"), HasSubstr("line 1: port is a mapping"));
  EXPECT_THAT(refused("--config a.yaml", "nonsense: 1"), HasSubstr("unrecognized arguments"));
  EXPECT_THAT(refused("--config a.yaml", "tp_size: 1"), HasSubstr("--tp_size"));
  EXPECT_THAT(refused("--config a.yaml", "port: x"), HasSubstr("a.yaml: argument --port"));
  EXPECT_THAT(refused("--config a.yaml", "config: b.yaml"), HasSubstr("cannot name another"));
  EXPECT_THAT(refused("--config a.yaml", "port: [1"), HasSubstr("line"));
  EXPECT_FALSE(parse("--config a.yaml", file("a.yaml", std::string(100000, '['))).ok());
  EXPECT_FALSE(config_file_words(std::string((1 << 20) + 1, ' ')).ok());
  EXPECT_THAT(*config_file_words("# nothing\n"), IsEmpty());
}

TEST(FlagValues, ShowsWhatWasTypedInFull) {
  const FlagValues values = parsed("--tp 8 --trust --cuda-graph-bs 1 2 --api-key secret");

  EXPECT_EQ(values.shown("tp_size"), "--tp-size 8");
  EXPECT_EQ(values.shown("trust_remote_code"), "--trust-remote-code");
  EXPECT_EQ(values.shown("cuda_graph_bs"), "--cuda-graph-bs 1 2");
  EXPECT_EQ(values.shown("dp_size"), "--data-parallel-size 1");
  EXPECT_EQ(values.shown("api_key"), "--api-key ***");
  EXPECT_TRUE(values.changed("tp_size"));
  EXPECT_FALSE(parsed("--tp 1").changed("tp_size"));
}

TEST(FlagValues, ListsArgumentsAsSglangDoes) {
  const FlagValues values = parsed("--model m --tp 2 --cuda-graph-bs 1 2 --api-key secret");

  const std::string line = server_arguments_line(values);
  const Json json = server_arguments(values);

  EXPECT_THAT(line, HasSubstr("ServerArgs("));
  EXPECT_THAT(line, HasSubstr("model_path='m'"));
  EXPECT_THAT(line, HasSubstr("tokenizer_path=None"));
  EXPECT_THAT(line, HasSubstr("tp_size=2"));
  EXPECT_THAT(line, HasSubstr("trust_remote_code=False"));
  EXPECT_THAT(line, HasSubstr("cuda_graph_bs=[1, 2]"));
  EXPECT_THAT(line, HasSubstr("api_key='***'"));
  EXPECT_EQ(json.find("max_prefill_tokens")->as_int64(), 16384);
  EXPECT_EQ(json.find("dry_run"), nullptr);
  EXPECT_EQ(*json.find("api_key")->as_string(), "***");
}

}  // namespace
}  // namespace fathom::config
