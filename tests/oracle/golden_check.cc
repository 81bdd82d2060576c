#include "oracle/golden_check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "support/safetensors_file.h"

namespace fathom::oracle {

namespace {

using test_support::ModelRunner;
using test_support::SafetensorsFile;

// What a step showed of its inside, by layer.
class Recorder final : public model::Probe {
 public:
  void residual(std::int32_t layer, const TensorView& hidden) override {
    std::vector<float>& all = residuals[layer];
    for (std::int64_t t = 0; t < hidden.shape[0]; ++t) {
      for (std::int64_t i = 0; i < hidden.shape[1]; ++i) {
        all.push_back(hidden.dtype == DType::kF32 ? hidden.row<float>(t)[i]
                                                  : to_float(hidden.row<BFloat16>(t)[i]));
      }
    }
  }
  void selection(std::int32_t layer,
                 std::int64_t /*first_row*/,
                 const TensorView& selected,
                 const TensorView& count,
                 const TensorView& /*scores*/) override {
    for (std::int64_t t = 0; t < selected.shape[0]; ++t) {
      const auto* row = selected.row<std::int32_t>(t);
      positions[layer].emplace_back(row, row + count.row<std::int32_t>(0)[t]);
    }
  }
  void experts(std::int32_t /*layer*/,
               const TensorView& /*experts*/,
               const TensorView& /*weights*/) override {}

  std::map<std::int32_t, std::vector<float>> residuals;
  std::map<std::int32_t, std::vector<std::vector<std::int32_t>>> positions;
};

void widen(double& worst, std::span<const float> got, std::span<const float> want) {
  FATHOM_CHECK(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    // A NaN must not look like a match.
    const double difference = std::fabs(static_cast<double>(got[i]) - want[i]);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
}

// The last rows of `all` [rows, width] that `want` [its rows, width] covers.
void widen_last(double& worst, std::span<const float> all, std::span<const float> want) {
  FATHOM_CHECK(all.size() >= want.size());
  widen(worst, all.subspan(all.size() - want.size()), want);
}

void compare_logits(double& worst, const ModelRunner::Step& step, std::span<const float> want) {
  const std::size_t vocab = want.size() / step.logits.size();
  for (std::size_t row = 0; row < step.logits.size(); ++row) {
    widen(worst, step.logits[row], want.subspan(row * vocab, vocab));
  }
}

// Greedy continuation of a sequence whose prompt is cached, a token a step.
std::vector<std::int32_t> continue_greedily(ModelRunner& runner,
                                            int sequence,
                                            std::int32_t length,
                                            std::int32_t first,
                                            std::size_t count,
                                            std::vector<float>* hidden) {
  std::vector<std::int32_t> tokens = {first};
  while (tokens.size() < count) {
    const ModelRunner::Piece piece{
        sequence, length + static_cast<std::int32_t>(tokens.size()) - 1, {tokens.back()}};
    const ModelRunner::Step step = runner.forward({&piece, 1});
    if (hidden != nullptr) hidden->insert(hidden->end(), step.hidden.begin(), step.hidden.end());
    tokens.push_back(test_support::argmax(step.logits[0]));
  }
  return tokens;
}

std::vector<std::int32_t> shifted(std::span<const std::int32_t> ids, std::int32_t last) {
  std::vector<std::int32_t> shifted_ids(ids.begin() + 1, ids.end());
  shifted_ids.push_back(last);
  return shifted_ids;
}

void check_prompt(ModelRunner& runner,
                  const SafetensorsFile& golden,
                  int length,
                  GoldenReport& report) {
  const std::string prefix = std::to_string(length) + ".";
  const std::span<const std::int32_t> ids = golden.ints(prefix + "input_ids");
  const std::int32_t layers = runner.config().num_hidden_layers;
  const int sequence = runner.add_sequence();
  Recorder recorder;
  const ModelRunner::Piece prompt{sequence, 0, {ids.begin(), ids.end()}};
  const ModelRunner::Step step = runner.forward({&prompt, 1}, &recorder);

  compare_logits(report.logits, step, golden.floats(prefix + "logits"));
  for (std::int32_t layer = 0; layer <= layers; ++layer) {
    widen_last(report.hidden, recorder.residuals[layer],
               golden.floats(prefix + "hidden." + std::to_string(layer)));
  }
  for (std::int32_t layer = 0; layer < layers; ++layer) {
    const auto chosen = golden.ints(prefix + "topk." + std::to_string(layer));
    const std::size_t width = chosen.size() / ids.size();
    for (std::size_t t = 0; t < ids.size(); ++t) {
      std::vector<std::int32_t> want;
      for (const std::int32_t s : chosen.subspan(t * width, width)) {
        if (s <= static_cast<std::int32_t>(t)) want.push_back(s);
      }
      ++report.compared_rows;
      if (recorder.positions[layer][t] != want) ++report.wrong_positions;
    }
  }

  const std::span<const std::int32_t> greedy = golden.ints(prefix + "greedy");
  const std::vector<std::int32_t> draft_ids = shifted(ids, greedy[0]);
  const ModelRunner::Piece draft{sequence, 0, draft_ids};
  const ModelRunner::Step drafted = runner.draft({&draft, 1}, step.hidden);
  compare_logits(report.draft_logits, drafted, golden.floats(prefix + "mtp_logits"));
  widen_last(report.draft_hidden, drafted.hidden, golden.floats(prefix + "mtp_hidden"));

  const std::vector<std::int32_t> tokens = continue_greedily(
      runner, sequence, length, test_support::argmax(step.logits.back()), greedy.size(), nullptr);
  for (std::size_t i = 0; i < greedy.size(); ++i) {
    ++report.compared_tokens;
    if (tokens[i] != greedy[i]) ++report.wrong_tokens;
  }
  runner.drop_sequence(sequence);
}

// Positions that may differ: their score is within 2e-5 of the boundary's.
bool positions_agree(std::span<const std::int32_t> got,
                     std::span<const std::int32_t> want,
                     std::span<const float> scores) {
  const std::set<std::int32_t> chosen(want.begin(), want.end());
  const std::set<std::int32_t> mine(got.begin(), got.end());
  if (chosen == mine) return true;
  if (scores.empty() || chosen.size() != mine.size()) return false;
  float boundary = INFINITY;
  for (const std::int32_t s : chosen) {
    boundary = std::min(boundary, scores[static_cast<std::size_t>(s)]);
  }
  std::vector<std::int32_t> differing;
  std::ranges::set_symmetric_difference(chosen, mine, std::back_inserter(differing));
  return std::ranges::all_of(differing, [&](std::int32_t s) {
    return std::fabs(scores[static_cast<std::size_t>(s)] - boundary) <= 2e-5F;
  });
}

void compare_last_positions(const Recorder& recorder,
                            const SafetensorsFile& golden,
                            const std::string& prefix,
                            std::int32_t layer,
                            GoldenReport& report) {
  const std::string name = std::to_string(layer);
  const std::string scores_name = prefix + "index_scores." + name;
  const std::span<const float> scores =
      golden.has(scores_name) ? golden.floats(scores_name) : std::span<const float>();
  ++report.compared_rows;
  if (!positions_agree(recorder.positions.at(layer).back(), golden.ints(prefix + "topk." + name),
                       scores)) {
    ++report.wrong_positions;
  }
}

void check_tiny_prompt(ModelRunner& runner,
                       const SafetensorsFile& golden,
                       int number,
                       GoldenReport& report) {
  constexpr float kClearMargin = 2e-3F;
  const std::string prefix = std::to_string(number) + ".";
  const std::span<const std::int32_t> ids = golden.ints(prefix + "input_ids");
  const auto length = static_cast<std::int32_t>(ids.size());
  const std::int32_t draft_layer = runner.config().num_hidden_layers;
  const int sequence = runner.add_sequence();

  Recorder recorder;
  const ModelRunner::Piece prompt{sequence, 0, {ids.begin(), ids.end()}};
  const ModelRunner::Step step = runner.forward({&prompt, 1}, &recorder);
  widen(report.logits, step.logits.back(), golden.floats(prefix + "logits"));
  const std::span<const std::int32_t> greedy = golden.ints(prefix + "greedy");
  const std::span<const float> margin = golden.floats(prefix + "greedy_margin");
  const std::vector<std::int32_t> draft_ids = shifted(ids, greedy[0]);
  const ModelRunner::Piece draft{sequence, 0, draft_ids};
  const ModelRunner::Step drafted = runner.draft({&draft, 1}, step.hidden, &recorder);
  widen(report.draft_logits, drafted.logits.back(), golden.floats(prefix + "mtp_logits"));
  for (std::int32_t layer = 0; layer <= draft_layer; ++layer) {
    compare_last_positions(recorder, golden, prefix, layer, report);
  }

  // Teacher-forced from here, so that one token near a tie does not decide the rest.
  std::vector<std::int32_t> drafts = {test_support::argmax(drafted.logits.back())};
  std::vector<std::int32_t> tokens = {test_support::argmax(step.logits.back())};
  for (std::size_t j = 1; j < greedy.size(); ++j) {
    const std::int32_t position = length + static_cast<std::int32_t>(j) - 1;
    const ModelRunner::Piece piece{sequence, position, {greedy[j - 1]}};
    const ModelRunner::Step next = runner.forward({&piece, 1});
    tokens.push_back(test_support::argmax(next.logits[0]));
    const ModelRunner::Piece guess{sequence, position, {greedy[j]}};
    drafts.push_back(test_support::argmax(runner.draft({&guess, 1}, next.hidden).logits[0]));
  }
  const std::span<const std::int32_t> want_drafts = golden.ints(prefix + "mtp_draft");
  for (std::size_t j = 0; j < greedy.size(); ++j) {
    if (margin[j] <= kClearMargin) continue;
    ++report.compared_tokens;
    if (tokens[j] != greedy[j]) ++report.wrong_tokens;
    if (drafts[j] != want_drafts[j]) ++report.wrong_drafts;
  }
  runner.drop_sequence(sequence);
}

}  // namespace

std::string GoldenReport::describe() const {
  char text[256];
  std::snprintf(text, sizeof text,
                "logits %.2e hidden %.2e draft logits %.2e draft hidden %.2e, %d of %d rows of "
                "positions, %d of %d tokens and %d drafts differ",
                logits, hidden, draft_logits, draft_hidden, wrong_positions, compared_rows,
                wrong_tokens, compared_tokens, wrong_drafts);
  return text;
}

GoldenReport check_prompts(const std::filesystem::path& folder,
                           const std::vector<int>& lengths,
                           const test_support::RunnerOptions& options) {
  const SafetensorsFile golden(folder / "golden.safetensors");
  ModelRunner runner(folder, options);
  GoldenReport report;
  for (const int length : lengths) check_prompt(runner, golden, length, report);
  return report;
}

GoldenReport check_tiny(const std::filesystem::path& folder,
                        const std::vector<int>& prompts,
                        const test_support::RunnerOptions& options) {
  const SafetensorsFile golden(folder / "golden.safetensors");
  ModelRunner runner(folder, options);
  GoldenReport report;
  for (const int prompt : prompts) check_tiny_prompt(runner, golden, prompt, report);
  return report;
}

void expect_golden(const GoldenReport& report) {
  SCOPED_TRACE(report.describe());
  ::testing::Test::RecordProperty("report", report.describe());
  EXPECT_LE(report.logits, 1e-3);
  EXPECT_LE(report.hidden, 1e-3);
  EXPECT_LE(report.draft_logits, 1e-3);
  EXPECT_LE(report.draft_hidden, 1e-3);
  EXPECT_EQ(report.wrong_positions, 0);
  EXPECT_EQ(report.wrong_tokens, 0);
  EXPECT_EQ(report.wrong_drafts, 0);
  EXPECT_GT(report.compared_tokens, 0);
  EXPECT_GT(report.compared_rows, 0);
}

}  // namespace fathom::oracle
