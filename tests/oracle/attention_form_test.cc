#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/cpu_ops.h"
#include "cache/kv_store.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "model/tensor_table.h"
#include "model/weights.h"
#include "support/model_runner.h"

// The expanded form of attention as an option of the model: what a batch must tell it, and that it
// keeps sequences apart. golden_test compares its numbers.

namespace fathom::oracle {
namespace {

using test_support::ModelRunner;
using test_support::RunnerOptions;

const std::filesystem::path kMicro = std::filesystem::path(FATHOM_TEST_DATA) / "micro-bf16";

std::vector<std::int32_t> ids_from(std::int32_t first, std::int32_t count) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t& id : ids) {
    id = first % 500;
    first += 7;
  }
  return ids;
}

TEST(ExpandedForm, ABatchOfChunksGivesEachSequenceItsOwnNumbers) {
  RunnerOptions options;
  options.attention_form = config::AttentionForm::kExpanded;
  ModelRunner runner(kMicro, options);
  const std::vector<std::int32_t> first = ids_from(3, 70);
  const std::vector<std::int32_t> second = ids_from(11, 66);
  const ModelRunner::Step alone = runner.prefill(runner.add_sequence(), first);
  const ModelRunner::Step other = runner.prefill(runner.add_sequence(), second);
  const int one = runner.add_sequence();
  const int two = runner.add_sequence();
  runner.prefill(one, std::span(first).first(65));
  runner.prefill(two, std::span(second).first(1));

  // The second sequence's chunk stands between two of the first one.
  const std::vector<ModelRunner::Piece> pieces = {
      {one, 65, {first.begin() + 65, first.begin() + 66}},
      {two, 1, {second.begin() + 1, second.end()}},
      {one, 66, {first.begin() + 66, first.end()}}};
  const ModelRunner::Step step = runner.forward(pieces);

  EXPECT_EQ(step.logits[0], alone.logits[65]);
  for (std::size_t i = 1; i < second.size(); ++i) {
    EXPECT_EQ(step.logits[i], other.logits[i]) << "second sequence, position " << i;
  }
  for (std::size_t i = 66; i < first.size(); ++i) {
    EXPECT_EQ(step.logits[i], alone.logits[i]) << "first sequence, position " << i;
  }
}

// Three rows of one sequence whose segments a test may spoil.
class Segments : public ::testing::Test {
 protected:
  Segments() {
    model::ModelOptions options;
    options.arithmetic = config::Arithmetic::kExact;
    options.max_positions = 128;
    options.attention_form = config::AttentionForm::kExpanded;
    model = model::Model::create(config, *weights, *ops, device, options).value();
  }

  Status forward(std::vector<model::Segment> segments) {
    std::vector<std::int32_t> ids = {5, 6, 7};
    std::vector<std::int32_t> positions = {0, 1, 2};
    std::vector<std::int32_t> sequences = {0, 0, 0};
    std::vector<std::int32_t> table = {1, 0};
    std::int32_t logit_row = 2;
    model::Batch batch;
    batch.ids = {ids.data(), DType::kI32, {3}};
    batch.tokens.positions = {positions.data(), DType::kI32, {3}};
    batch.tokens.sequences = {sequences.data(), DType::kI32, {3}};
    batch.tokens.page_table = {table.data(), DType::kI32, {1, 2}};
    batch.logit_rows = {&logit_row, DType::kI32, {1}};
    batch.max_position = 2;
    batch.segments = segments;
    return model->forward(*stream, batch, store).status();
  }
  void expect_refusal(std::vector<model::Segment> segments, const std::string& message) {
    const Status refused = forward(std::move(segments));
    EXPECT_EQ(refused.code(), Code::kInvalidArgument);
    EXPECT_EQ(refused.message(), message);
  }

  config::ModelConfig config = config::load_model_config(kMicro).value();
  cpu::CpuDevice device{1};
  std::unique_ptr<ops::OpSet> ops = cpu::make_cpu_ops();
  std::unique_ptr<Stream> stream = device.create_stream();
  std::unique_ptr<model::Weights> weights =
      model::Weights::load(
          config,
          checkpoint::Checkpoint::open(kMicro, model::expected_tensors(config)).value(),
          config::Arithmetic::kExact,
          device)
          .value();
  cache::KvStore store =
      cache::KvStore::create(
          device,
          config::make_kv_layout(config, config::Arithmetic::kExact, config::KvCacheDType::kAuto)
              .value(),
          config.layers_with_cache(),
          2)
          .value();
  std::unique_ptr<model::Model> model;
};

TEST_F(Segments, MayDivideTheRowsOfASequence) {
  EXPECT_TRUE(forward({{0, 0, 3, 3}}).ok());
  EXPECT_TRUE(forward({{0, 0, 2, 2}, {0, 2, 1, 3}}).ok());
}

TEST_F(Segments, MustCoverTheBatch) {
  expect_refusal({}, "a batch without segments; the expanded attention form needs them");
  expect_refusal({{0, 0, 2, 2}}, "the segments cover 2 rows of 3");
  expect_refusal({{0, 0, 4, 3}}, "the segments cover 4 rows of 3");
  expect_refusal({{0, 0, 2, 2}, {0, 1, 1, 3}},
                 "segment 1: rows are 1 from 1, expected 1 or more from 2");
  expect_refusal({{0, 0, 0, 3}}, "segment 0: rows are 0 from 0, expected 1 or more from 0");
}

TEST_F(Segments, MustNameASequenceAndWhatItSees) {
  expect_refusal({{1, 0, 3, 3}}, "segment 0: sequence is 1, the page table has 1");
  expect_refusal({{0, 0, 3, 0}}, "segment 0: visible is 0, expected 1 to 3");
  expect_refusal({{0, 0, 3, 4}}, "segment 0: visible is 4, expected 1 to 3");
}

}  // namespace
}  // namespace fathom::oracle
