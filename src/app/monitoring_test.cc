#include "app/monitoring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::app {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(RankTags, NameEveryDirectionThatHasSeveral) {
  EXPECT_EQ(rank_tags({}), "");
  config::LayoutPlan layout;
  layout.tensor_parallel = 16;
  layout.data_parallel = 16;
  layout.expert_parallel = 16;
  layout.first_rank = 8;
  EXPECT_EQ(rank_tags(layout), " DP8 TP8 EP8");
  layout.data_parallel = 4;
  layout.expert_parallel = 1;
  EXPECT_EQ(rank_tags(layout), " DP2 TP8");
}

TEST(MonitorOptions, HaveTheLabelsThatOperatorsSelectBy) {
  config::InstancePlan plan;
  plan.served_model_name = "m";
  auto options = monitor_options(plan);
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(options->scheduler_labels,
              ElementsAre(Pair("model_name", "m"), Pair("engine_type", "unified"),
                          Pair("tp_rank", "0"), Pair("pp_rank", "0"), Pair("moe_ep_rank", "0")));
  plan.layout.tensor_parallel = 2;
  plan.layout.data_parallel = 2;
  plan.layout.first_rank = 1;
  EXPECT_EQ(monitor_options(plan)->scheduler_labels.back(),
            (std::pair<std::string, std::string>("dp_rank", "1")));
}

TEST(MonitorOptions, HaveTheLabelsOfTheFlags) {
  config::InstancePlan plan;
  plan.served_model_name = "m";
  plan.monitoring.custom_labels = {"team"};
  plan.monitoring.custom_labels_header = "x-labels";
  plan.monitoring.extra_labels = {{"cluster", "c1"}};
  const auto options = monitor_options(plan);
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(
      options->request_labels,
      ElementsAre(Pair("model_name", "m"), Pair("engine_type", "unified"), Pair("cluster", "c1")));
  EXPECT_EQ(options->scheduler_labels[2].second, "c1");
  EXPECT_THAT(options->request_metrics.custom_labels, ElementsAre("team"));
  EXPECT_EQ(options->custom_labels_header, "x-labels");
}

TEST(MonitorOptions, HaveLengthsOnlyWhenAskedFor) {
  config::InstancePlan plan;
  plan.monitoring.prompt_buckets = {"tse", "100", "2", "2"};
  EXPECT_FALSE(monitor_options(plan)->request_metrics.prompt_token_bounds.has_value());
  plan.monitoring.token_histograms = true;
  EXPECT_THAT(*monitor_options(plan)->request_metrics.prompt_token_bounds,
              ElementsAre(98, 100, 102));
  plan.monitoring.prompt_buckets = {"tse", "100", "2", "9999"};
  EXPECT_EQ(monitor_options(plan).status().message(),
            "--prompt-tokens-buckets: tse: expected a count above 0 and at most 512");
}

TEST(NoteOf, CarriesWhatTheLinesTell) {
  engine::StepReport report;
  report.prefill_requests = 2;
  report.prefill_tokens = 30;
  report.cached_tokens = 128;
  report.running = 7;
  report.drafts = {.steps = 40, .drafts = 35, .accepted = 30};
  const observe::StepNote note = note_of(report, /*draft_tokens=*/2);
  EXPECT_EQ(note.prefill_requests, 2);
  EXPECT_EQ(note.prefill_tokens, 30);
  EXPECT_EQ(note.cached_tokens, 128);
  EXPECT_EQ(note.running, 5);
  EXPECT_EQ(note.decode_running, 7);
  EXPECT_EQ(note.draft_tokens, 2);
  EXPECT_EQ(note.verify_steps, 40);
  EXPECT_EQ(note.accepted_drafts, 30);
}

}  // namespace
}  // namespace fathom::app
