#include "model/tensor_table.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "model/tensor_slices.h"
#include "model/tensor_sums.h"

namespace fathom::model {
namespace {

using testing::HasSubstr;

config::ModelConfig real() {
  const std::string path = FATHOM_SOURCE_DIR "/tests/data/real-config.json";
  return config::parse_model_config(read_small_file(path, 1 << 20).value()).value();
}

PartSums real_files() { return sum_checkpoint(model_tensors(real()), published_dtypes(real())); }

PartSums real_rank(const Layout& layout, std::int32_t rank) {
  return sum_rank(real(), model_tensors(real()), published_dtypes(real()), layout, rank);
}

const ModelTensor& find(const std::vector<ModelTensor>& tensors, const std::string& name) {
  for (const ModelTensor& tensor : tensors) {
    if (tensor.spec.name == name) return tensor;
  }
  FATHOM_CHECK_MSG(false, name);
}

// The totals were counted from the headers of the published files.
TEST(TensorTable, CountsThePublishedFilesExactly) {
  const Amount files = real_files().total();

  EXPECT_EQ(files.tensors, 92'425);
  EXPECT_EQ(files.parameters + files.scales, 685'396'921'376);
  EXPECT_EQ(files.scales, 41'591'584);
  EXPECT_EQ(files.bytes, 689'471'107'200);
}

TEST(TensorTable, SumsThePartsOfThePublishedModel) {
  const PartSums sums = real_files();

  EXPECT_EQ(sums.main_model().parameters, 671'877'944'064);
  EXPECT_EQ(sums.main_model().bytes, 674'032'381'632);
  EXPECT_EQ(sums[Part::kDraft].parameters, 11'624'027'648);
  EXPECT_EQ(sums[Part::kDraft].bytes, 11'732'009'408);
  EXPECT_EQ(sums[Part::kDraftCopies].bytes, 3'706'716'160);
  EXPECT_EQ(sums[Part::kAttention].parameters, 61 * 187'107'328LL);
  EXPECT_EQ(sums[Part::kAttention].bytes, 61 * 187'159'264LL);
  EXPECT_EQ(sums[Part::kIndexer].parameters, 61 * 13'959'424LL);
  EXPECT_EQ(sums[Part::kIndexer].bytes, 61 * 14'422'240LL);
  EXPECT_EQ(sums[Part::kNorms].bytes, 61 * 57'344LL + 28'672);
  EXPECT_EQ(sums[Part::kDenseMlp].bytes, 3 * 396'458'496LL);
  EXPECT_EQ(sums[Part::kGates].bytes, 58 * 3'671'040LL);
  EXPECT_EQ(sums[Part::kSharedExperts].bytes, 58 * 44'050'944LL);
  EXPECT_EQ(sums[Part::kRoutedExperts].bytes, 58LL * 256 * 44'050'944);
  EXPECT_EQ(sums[Part::kEmbedding].bytes, 1'853'358'080);
  EXPECT_EQ(sums[Part::kHead].bytes, 1'853'358'080);
}

TEST(TensorTable, CountsTheParametersOfOneToken) {
  const ActivatedParameters activated = activated_parameters(real(), real_files());

  EXPECT_EQ(activated.layers / 10'000'000, 3'655);  // 36.55 G
  EXPECT_EQ(activated.with_head / 10'000'000, 3'747);
  EXPECT_NEAR(static_cast<double>(activated.with_head), 37.48e9, 0.005e9);
  EXPECT_NEAR(static_cast<double>(activated.with_head_and_embedding), 38.40e9, 0.005e9);
}

TEST(TensorTable, ExpectsTheNamesOfEachKindOfLayer) {
  config::ModelConfig model = real();
  model.num_hidden_layers = 4;
  std::set<std::string> names;
  for (const auto& spec : expected_tensors(model)) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
  }

  // 3 around the layers, 3 dense layers of 17, a MoE layer of 19 + 768, the draft layer with 6
  // more.
  EXPECT_EQ(names.size(), 3U + 3 * 17 + 787 + 787 + 6);
  EXPECT_EQ(names.count("model.layers.2.mlp.gate_proj.weight"), 1U);
  EXPECT_EQ(names.count("model.layers.3.mlp.gate_proj.weight"), 0U);
  EXPECT_EQ(names.count("model.layers.3.mlp.experts.255.down_proj.weight"), 1U);
  EXPECT_EQ(names.count("model.layers.3.eh_proj.weight"), 0U);
  EXPECT_EQ(names.count("model.layers.4.shared_head.norm.weight"), 1U);
  EXPECT_EQ(names.count("model.layers.5.input_layernorm.weight"), 0U);
  model.num_nextn_predict_layers = 0;
  EXPECT_EQ(expected_tensors(model).size(), 3U + 3 * 17 + 787);
}

TEST(TensorTable, LetsOnlyTheDraftLayersCopiesBeAbsent) {
  for (const ModelTensor& tensor : model_tensors(real())) {
    EXPECT_EQ(tensor.spec.optional, tensor.part == Part::kDraftCopies) << tensor.spec.name;
  }
}

// The decode instance of 16 ranks with data-parallel attention.
TEST(TensorSlices, GiveADecodeRankItsShare) {
  const Layout layout{16, 16, 16};
  ASSERT_TRUE(check_layout(real(), layout).ok());

  for (const std::int32_t rank : {0, 7, 15}) {
    const PartSums rank_sums = real_rank(layout, rank);

    EXPECT_EQ(rank_sums.main_model().bytes, 60'843'241'152);
    EXPECT_EQ(rank_sums[Part::kDraft].bytes, 1'159'782'848);
    EXPECT_EQ(rank_sums[Part::kDraftCopies].bytes, 0);
    EXPECT_EQ(rank_sums[Part::kRoutedExperts].bytes, 58LL * 16 * 44'050'944);
    EXPECT_EQ(experts_of(real(), layout, rank).first, 16 * rank);
  }
}

// Attention and indexer with kv_b held in bf16 as well, as a GPU's absorbed attention wants it.
TEST(TensorSlices, AgreeWithTheMemoryOfRanksOfSeveralSizes) {
  struct Case {
    std::int32_t ranks;
    double total_gb;
    double total_gib;
    double routed_gb;
    double draft_gb;
  };
  constexpr std::int64_t kBf16KeyValue = 16'773'120;  // more than in FP8, per layer
  for (const Case& known : {Case{8, 104.6, 97.4, 81.76, 1.88}, Case{16, 63.0, 58.7, 40.88, 1.18},
                            Case{32, 42.2, 39.3, 20.44, 0.82}}) {
    const PartSums sums = real_rank({known.ranks, known.ranks, known.ranks}, known.ranks - 1);
    const double attention = static_cast<double>(sums[Part::kAttention].bytes +
                                                 sums[Part::kIndexer].bytes + 61 * kBf16KeyValue);
    const double total = static_cast<double>(sums.loaded().bytes + 62 * kBf16KeyValue);

    EXPECT_NEAR(attention / 1e9, 13.32, 0.005);
    EXPECT_NEAR(static_cast<double>(sums[Part::kRoutedExperts].bytes) / 1e9, known.routed_gb, 0.01);
    EXPECT_NEAR(static_cast<double>(sums[Part::kDraft].bytes + kBf16KeyValue) / 1e9, known.draft_gb,
                0.01);
    EXPECT_NEAR(total / 1e9, known.total_gb, 0.06);
    EXPECT_NEAR(total / (1 << 30), known.total_gib, 0.06);
  }
}

TEST(TensorSlices, DivideEverythingUnderPlainTensorParallelism) {
  const Layout layout{8, 1, 1};
  const std::vector<ModelTensor> tensors = model_tensors(real());
  ASSERT_TRUE(check_layout(real(), layout).ok());
  const auto slice = [&](const std::string& name, std::int32_t rank) {
    return slice_of(real(), find(tensors, name), layout, rank);
  };

  const TensorSlice q_b = slice("model.layers.0.self_attn.q_b_proj.weight", 3);
  EXPECT_EQ(q_b.first_row, 3 * 16 * 192);
  EXPECT_EQ(q_b.rows, 16 * 192);
  EXPECT_EQ(q_b.columns, 1536);
  const TensorSlice o = slice("model.layers.0.self_attn.o_proj.weight", 3);
  EXPECT_EQ(o.first_column, 3 * 16 * 128);
  EXPECT_EQ(o.columns, 16 * 128);
  EXPECT_EQ(o.rows, 7168);
  EXPECT_EQ(slice("model.layers.0.mlp.up_proj.weight", 7).first_row, 7 * 2304);
  EXPECT_EQ(slice("model.layers.0.mlp.down_proj.weight", 7).first_column, 7 * 2304);
  EXPECT_EQ(slice("model.layers.9.mlp.shared_experts.up_proj.weight", 1).rows, 256);
  EXPECT_EQ(slice("model.layers.9.mlp.experts.200.up_proj.weight", 1).rows, 256);
  EXPECT_EQ(slice("model.layers.9.mlp.experts.200.down_proj.weight", 1).first_column, 256);
  EXPECT_EQ(slice("model.embed_tokens.weight", 2).first_row, 2 * 16160);
  EXPECT_EQ(slice("lm_head.weight", 2).rows, 16160);
  EXPECT_EQ(slice("model.layers.0.self_attn.indexer.wq_b.weight", 2).rows, 8192);
  EXPECT_EQ(slice("model.norm.weight", 2).rows, 7168);
}

TEST(TensorSlices, CutHeadsInsideAnAttentionGroup) {
  const Layout layout{8, 4, 8};
  const std::vector<ModelTensor> tensors = model_tensors(real());
  ASSERT_TRUE(check_layout(real(), layout).ok());
  const auto slice = [&](const std::string& name, std::int32_t rank) {
    return slice_of(real(), find(tensors, name), layout, rank);
  };

  EXPECT_EQ(slice("model.layers.5.self_attn.kv_b_proj.weight", 4).first_row, 0);
  EXPECT_EQ(slice("model.layers.5.self_attn.kv_b_proj.weight", 5).first_row, 64 * 256);
  EXPECT_EQ(slice("lm_head.weight", 5).first_row, 64640);
  EXPECT_EQ(slice("model.embed_tokens.weight", 5).rows, 129280);
  EXPECT_EQ(slice("model.layers.0.mlp.up_proj.weight", 5).rows, 18432);
  EXPECT_EQ(slice("model.layers.5.mlp.experts.159.up_proj.weight", 5).rows, 0);
  EXPECT_EQ(slice("model.layers.5.mlp.experts.160.up_proj.weight", 5).rows, 2048);
}

// Over any layout, the ranks of one replica together hold every element of every tensor, each as
// often as every other element of it.
TEST(TensorSlices, CoverEveryTensorEvenly) {
  config::ModelConfig model = real();
  model.num_hidden_layers = 4;
  model.vocab_size = 1003;  // does not divide
  const std::vector<ModelTensor> tensors = model_tensors(model);
  for (const Layout& layout : {Layout{1, 1, 1}, Layout{8, 1, 1}, Layout{8, 1, 8}, Layout{8, 2, 4},
                               Layout{16, 16, 16}, Layout{16, 8, 2}}) {
    ASSERT_TRUE(check_layout(model, layout).ok()) << check_layout(model, layout).message();
    for (const ModelTensor& tensor : tensors) {
      const std::int64_t all =
          tensor.spec.shape[0] * (tensor.spec.shape.size() > 1 ? tensor.spec.shape[1] : 1);
      std::int64_t held = 0;
      std::set<std::pair<std::int64_t, std::int64_t>> starts;
      std::int64_t distinct = 0;
      for (std::int32_t rank = 0; rank < layout.tensor_parallel_size; ++rank) {
        const TensorSlice slice = slice_of(model, tensor, layout, rank);
        if (slice.rows == 0) continue;
        held += slice.rows * slice.columns;
        if (starts.insert({slice.first_row, slice.first_column}).second) {
          distinct += slice.rows * slice.columns;
        }
      }
      EXPECT_EQ(distinct, all) << tensor.spec.name;
      EXPECT_EQ(held % all, 0) << tensor.spec.name;
    }
  }
}

TEST(TensorSlices, RefuseLayoutsThatDoNotDivide) {
  const auto refusal = [](const Layout& layout) { return check_layout(real(), layout).message(); };
  EXPECT_EQ(refusal({0, 1, 1}), "--tensor-parallel-size is 0, expected 1 to 4096");
  EXPECT_EQ(refusal({8, 3, 1}),
            "--tensor-parallel-size is 8, expected a multiple of --data-parallel-size 3");
  EXPECT_EQ(refusal({8, 8, 16}),
            "--tensor-parallel-size is 8, expected a multiple of --ep-size 16");
  EXPECT_EQ(refusal({24, 24, 24}), "n_routed_experts is 256, expected a multiple of --ep-size 24");
  EXPECT_EQ(refusal({3, 1, 1}),
            "tensor 'model.layers.0.self_attn.q_b_proj.weight': rows: 128 of 192 cannot be divided "
            "among 3 ranks");
  EXPECT_EQ(refusal({128, 1, 128}),
            "tensor 'model.layers.0.self_attn.q_b_proj.weight': rows: the 192 of one of 128 ranks "
            "would cut a block of 128 that shares one scale");
  config::ModelConfig unquantised = real();
  unquantised.quantization.reset();
  EXPECT_TRUE(check_layout(unquantised, {128, 1, 128}).ok());
}

}  // namespace
}  // namespace fathom::model
