#include "model/synthetic_weights.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/cpu_ops.h"
#include "cache/kv_store.h"
#include "config/kv_layout.h"
#include "model/model.h"
#include "model/tensor_sums.h"
#include "model/tensor_table.h"

namespace fathom::model {
namespace {

config::ModelConfig small(bool quantised) {
  config::ModelConfig config =
      config::load_model_config(FATHOM_SOURCE_DIR "/models/fathom-tiny").value();
  config.num_hidden_layers = 2;
  if (!quantised) config.quantization.reset();
  return config;
}

std::int64_t bytes_of(const TensorView& view) {
  return view.elements() * static_cast<std::int64_t>(size_of(view.dtype));
}

// What the model reads, except the parts of kv_b, which no checkpoint holds.
class Views {
 public:
  explicit Views(const Weights& weights) {
    add(weights.embed, weights.final_norm);
    add(weights.head);
    for (const LayerWeights& layer : weights.layers) add(layer);
    if (weights.draft == nullptr) return;
    add(weights.draft->embed_norm, weights.draft->hidden_norm, weights.draft->final_norm);
    add(weights.draft->project);
    add(weights.draft->layer);
  }

  const std::vector<TensorView>& all() const { return views_; }

  std::int64_t bytes() const {
    return std::accumulate(
        views_.begin(), views_.end(), std::int64_t{0},
        [](std::int64_t sum, const TensorView& view) { return sum + bytes_of(view); });
  }

 private:
  template <class... Tensors>
  void add(const TensorView& first, const Tensors&... others) {
    views_.push_back(first);
    (views_.push_back(others), ...);
  }
  void add(const WeightView& weight) {
    views_.push_back(weight.values);
    if (weight.scales.present()) views_.push_back(weight.scales);
  }
  void add(const MlpWeights& mlp) {
    for (const WeightView* weight : {&mlp.gate, &mlp.up, &mlp.down}) add(*weight);
  }
  void add(const LayerWeights& layer) {
    const AttentionWeights& a = layer.attention;
    add(a.input_norm, a.q_a_norm, a.kv_a_norm, a.index_k_norm, a.index_k_norm_bias,
        layer.post_attention_norm);
    for (const WeightView* weight :
         {&a.q_a, &a.q_b, &a.kv_a, &a.kv_b, &a.o, &a.index_q_b, &a.index_k, &a.index_weights}) {
      add(*weight);
    }
    if (!layer.moe) return add(layer.dense);
    add(layer.router);
    add(layer.router_bias);
    for (std::size_t e = 0; e < layer.expert_gate.size(); ++e) {
      add(MlpWeights{layer.expert_gate[e], layer.expert_up[e], layer.expert_down[e]});
    }
    add(layer.shared);
  }

  std::vector<TensorView> views_;
};

bool equal(const Weights& a, const Weights& b) {
  const Views left(a);
  const Views right(b);
  if (left.all().size() != right.all().size()) return false;
  for (std::size_t i = 0; i < left.all().size(); ++i) {
    const TensorView& x = left.all()[i];
    const TensorView& y = right.all()[i];
    if (bytes_of(x) != bytes_of(y)) return false;
    if (std::memcmp(x.data, y.data, static_cast<std::size_t>(bytes_of(x))) != 0) return false;
  }
  return true;
}

TensorView view_of(std::vector<std::int32_t>& numbers) {
  return {numbers.data(), DType::kI32, {static_cast<std::int64_t>(numbers.size())}};
}

// The residual stream's root mean square before every layer, and after the last one the output's.
class Sizes final : public Probe {
 public:
  void residual(std::int32_t /*layer*/, const TensorView& hidden) override {
    double sum = 0;
    for (std::int64_t i = 0; i < hidden.elements(); ++i) {
      const auto number = static_cast<double>(to_float(hidden.row<BFloat16>(0)[i]));
      sum += number * number;
    }
    all.push_back(std::sqrt(sum / static_cast<double>(hidden.elements())));
  }
  void selection(std::int32_t /*layer*/,
                 std::int64_t /*first_row*/,
                 const TensorView& /*selected*/,
                 const TensorView& /*count*/,
                 const TensorView& /*scores*/) override {}
  void experts(std::int32_t /*layer*/,
               const TensorView& /*experts*/,
               const TensorView& /*weights*/) override {}

  std::vector<double> all;
};

class SyntheticWeights : public testing::TestWithParam<bool> {
 protected:
  cpu::CpuDevice device_{1};
  config::ModelConfig config_ = small(GetParam());
};

TEST_P(SyntheticWeights, HaveTheBytesOfThePublishedFormat) {
  const auto weights = make_synthetic_weights(config_, device_, 1).value();

  const PartSums sums = sum_checkpoint(model_tensors(config_), published_dtypes(config_));
  EXPECT_EQ(Views(*weights).bytes(), sums.loaded().bytes);
}

TEST_P(SyntheticWeights, AreAFunctionOfTheSeed) {
  const auto weights = make_synthetic_weights(config_, device_, 1).value();

  EXPECT_TRUE(equal(*weights, *make_synthetic_weights(config_, device_, 1).value()));
  EXPECT_FALSE(equal(*weights, *make_synthetic_weights(config_, device_, 2).value()));
}

TEST_P(SyntheticWeights, HoldFiniteNumbers) {
  const auto weights = make_synthetic_weights(config_, device_, 1).value();

  const Views views(*weights);
  for (const TensorView& view : views.all()) {
    std::int64_t bad = 0;
    for (std::int64_t i = 0; i < view.elements(); ++i) {
      const float number = view.dtype == DType::kF32 ? static_cast<const float*>(view.data)[i]
                           : view.dtype == DType::kBF16
                               ? to_float(static_cast<const BFloat16*>(view.data)[i])
                               : to_float(static_cast<const Float8E4M3*>(view.data)[i]);
      bad += std::isfinite(number) ? 0 : 1;
    }
    ASSERT_EQ(bad, 0) << view.describe();
  }
}

TEST_P(SyntheticWeights, KeepAStepsActivationsNearUnitSize) {
  const auto weights = make_synthetic_weights(config_, device_, 1).value();
  const auto ops = cpu::make_cpu_ops();
  ModelOptions options;
  options.max_tokens = 8;
  options.max_logit_rows = 8;
  options.max_positions = 64;
  auto model = Model::create(config_, *weights, *ops, device_, options).value();
  const auto layout =
      config::make_kv_layout(config_, config::Arithmetic::kDeployed, config::KvCacheDType::kAuto)
          .value();
  auto store = cache::KvStore::create(device_, layout, config_.layers_with_cache(), 1).value();
  std::vector<std::int32_t> ids{5, 700, 3071, 0, 12, 1500, 6, 80};
  std::vector<std::int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<std::int32_t> sequences(ids.size(), 0);
  std::vector<std::int32_t> pages{0};
  Batch batch;
  batch.ids = view_of(ids);
  batch.tokens.positions = view_of(positions);
  batch.tokens.sequences = view_of(sequences);
  batch.tokens.page_table = view_of(pages).reshape({1, 1});
  batch.logit_rows = view_of(positions);
  batch.max_position = 7;
  const auto stream = device_.create_stream();

  Sizes sizes;
  const StepOutput output = model->forward(*stream, batch, store, &sizes).value();

  ASSERT_TRUE(stream->synchronize().ok());
  for (std::int64_t i = 0; i < output.logits.elements(); ++i) {
    ASSERT_TRUE(std::isfinite(output.logits.row<float>(0)[i])) << "logit " << i;
  }
  for (const double size : sizes.all) {
    EXPECT_GT(size, 0.5);
    EXPECT_LT(size, 10);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         SyntheticWeights,
                         testing::Values(true, false),
                         [](const auto& each) { return each.param ? "Fp8" : "Bf16"; });

}  // namespace
}  // namespace fathom::model
