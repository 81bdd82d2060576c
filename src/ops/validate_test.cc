#include <array>

#include <gtest/gtest.h>

#include "ops/op_set.h"
#include "ops/validate_testing.h"

namespace fathom::ops {
namespace {

TEST(ValidateEmbed, NamesTheOperandAndBothValues) {
  const EmbedArgs right{view(kI32, {3}), view(kF16, {10, 8}), view(kBF16, {3, 8})};

  expect_messages<EmbedArgs>(right,
                             {{[](auto& a) {
                                 a.y = view(kF32, {3, 8});
                               },
                               ""},
                              {[](auto& a) { a.ids = view(kF32, {3}); }, "ids is f32, wanted i32"},
                              {[](auto& a) { a.table = {}; }, "table is absent"},
                              {[](auto& a) {
                                 a.table = view(kF8, {10, 8});
                               },
                               "table is f8_e4m3, wanted f32 or bf16 or f16"},
                              {[](auto& a) {
                                 a.y = view(kBF16, {4, 8});
                               },
                               "y: tokens is 4, was 3"},
                              {[](auto& a) {
                                 a.y = view(kBF16, {3, 9});
                               },
                               "y: hidden is 9, was 8"}});
}

TEST(ValidateGatherRows, TakesOneDTypeAndAnyNumberOfRows) {
  const GatherRowsArgs right{view(kBF16, {5, 8}), view(kI32, {2}), view(kBF16, {2, 8})};

  expect_messages<GatherRowsArgs>(right, {{[](auto& a) {
                                             a.y = view(kF32, {2, 8});
                                           },
                                           "y is f32, wanted bf16"},
                                          {[](auto& a) {
                                             a.y = view(kBF16, {5, 8});
                                           },
                                           "y: count is 5, was 2"},
                                          {[](auto& a) {
                                             a.rows = view(kI32, {2, 1});
                                           },
                                           "rows is i32[2, 1], wanted 1 dimensions"}});
}

TEST(ValidateRmsNorm, TakesStridedRowsAndRefusesStridedElements) {
  const RmsNormArgs right{view(kF32, {4, 8}), view(kBF16, {8}), view(kF32, {4, 8})};

  expect_messages<RmsNormArgs>(
      right,
      {{[](auto& a) {
          a.x = view(kF32, {4, 20}).columns(2, 8);
        },
        ""},
       {[](auto& a) { a.x.stride[1] = 2; }, "x: elements of its last dimension are not adjacent"},
       {[](auto& a) { a.w = view(kF32, {4}); }, "w: hidden is 4, was 8"},
       {[](auto& a) {
          a.y = view(kBF16, {4, 8});
        },
        "y is bf16, wanted f32"}});
}

TEST(ValidateRmsNorm, TakesZeroTokensWithoutMemory) {
  const TensorView none(nullptr, kBF16, {0, 8});

  EXPECT_TRUE(validate(RmsNormArgs{none, view(kF32, {8}), none}).ok());
}

TEST(ValidateAddRmsNorm, WantsTheResidualInTheActivationsDType) {
  const AddRmsNormArgs right{view(kBF16, {4, 8}), view(kBF16, {4, 8}), view(kF32, {8}),
                             view(kBF16, {4, 8})};

  expect_messages<AddRmsNormArgs>(right, {{[](auto& a) {
                                             a.residual = view(kF32, {4, 8});
                                           },
                                           "residual is f32, wanted bf16"},
                                          {[](auto& a) {
                                             a.residual = view(kBF16, {3, 8});
                                           },
                                           "residual: tokens is 3, was 4"}});
}

TEST(ValidateLayerNorm, WantsWeightAndBiasAsWideAsTheRow) {
  const LayerNormArgs right{view(kBF16, {4, 8}), view(kF32, {8}), view(kBF16, {8}),
                            view(kBF16, {4, 8})};

  expect_messages<LayerNormArgs>(
      right, {{[](auto& a) { a.b = view(kF32, {7}); }, "b: width is 7, was 8"},
              {[](auto& a) { a.w = view(kI32, {8}); }, "w is i32, wanted f32 or bf16 or f16"}});
}

TEST(ValidateSiluMul, WantsThreeEqualShapes) {
  const SiluMulArgs right{view(kBF16, {4, 8}), view(kBF16, {4, 8}), view(kBF16, {4, 8})};

  expect_messages<SiluMulArgs>(right, {{[](auto& a) {
                                          a.up = view(kBF16, {4, 7});
                                        },
                                        "up: width is 7, was 8"},
                                       {[](auto& a) {
                                          a.gate = view(kI32, {4, 8});
                                        },
                                        "gate is i32, wanted f32 or bf16"}});
}

TEST(ValidateRope, WantsPairsAndTablesOfHalfTheWidth) {
  const RopeArgs right{view(kBF16, {4, 2, 8}), view(kBF16, {4, 2, 8}), view(kI32, {4}),
                       view(kF32, {100, 4}), view(kF32, {100, 4})};

  expect_messages<RopeArgs>(
      right, {{[](auto& a) {
                 a.x = a.y = view(kBF16, {4, 2, 7});
               },
               "x: dim is 7, wanted an even number"},
              {[](auto& a) {
                 a.cos = view(kF32, {100, 8});
               },
               "cos: dim / 2 is 8, was 4"},
              {[](auto& a) {
                 a.sin = view(kF32, {99, 4});
               },
               "sin: table positions is 99, was 100"},
              {[](auto& a) { a.positions = view(kI32, {8}); }, "positions: tokens is 8, was 4"}});
}

TEST(ValidateArgmax, TakesTheSumOrNone) {
  const ArgmaxArgs right{view(kF32, {4, 8}), view(kI32, {4}), {}};

  expect_messages<ArgmaxArgs>(
      right, {{[](auto& a) { a.log_sum = view(kF32, {4}); }, ""},
              {[](auto& a) { a.log_sum = view(kF32, {5}); }, "log_sum: rows is 5, was 4"},
              {[](auto& a) {
                 a.logits = view(kBF16, {4, 8});
               },
               "logits is bf16, wanted f32"},
              {[](auto& a) {
                 a.logits = view(kF32, {4, 0});
               },
               "logits: vocab is 0, wanted 1 or more"}});
}

TEST(ValidateQuantize, CountsGroupsOf128) {
  const QuantizeArgs right{view(kBF16, {4, 129}), view(kF8, {4, 129}), view(kF32, {4, 2})};

  expect_messages<QuantizeArgs>(right, {{[](auto& a) {
                                           a.scales = view(kF32, {4, 1});
                                         },
                                         "scales: groups is 1, was 2"},
                                        {[](auto& a) {
                                           a.values = view(DType::kU8, {4, 129});
                                         },
                                         "values is u8, wanted f8_e4m3"}});
}

TEST(ValidateLinear, ScalesGoWithFp8AndWithNothingElse) {
  const LinearArgs plain{
      {view(kBF16, {4, 130}), {}}, {view(kBF16, {200, 130}), {}}, view(kF32, {4, 200})};
  const LinearArgs fp8{{view(kF8, {4, 130}), view(kF32, {4, 2})},
                       {view(kF8, {200, 130}), view(kF32, {2, 2})},
                       view(kBF16, {4, 200})};

  expect_messages<LinearArgs>(plain, {{[](auto& a) {
                                         a.w = {view(kF8, {200, 130}), view(kF32, {2, 2})};
                                       },
                                       ""},
                                      {[](auto& a) {
                                         a.w.values = view(kF8, {200, 130});
                                       },
                                       "w.scales is absent, wanted with f8_e4m3 values"},
                                      {[](auto& a) {
                                         a.w.scales = view(kF32, {2, 2});
                                       },
                                       "w.scales is f32[2, 2], wanted none with bf16 values"},
                                      {[](auto& a) {
                                         a.x.scales = view(kF32, {4, 2});
                                       },
                                       "x.scales is f32[4, 2], wanted none with bf16 values"},
                                      {[](auto& a) {
                                         a.w.values = view(kBF16, {200, 131});
                                       },
                                       "w.values: in is 131, was 130"},
                                      {[](auto& a) {
                                         a.y = view(kF32, {4, 201});
                                       },
                                       "y: out is 201, was 200"}});
  expect_messages<LinearArgs>(fp8, {{[](auto& a) {
                                       a.x.scales = view(kF32, {4, 1});
                                     },
                                     "x.scales: groups is 1, was 2"},
                                    {[](auto& a) {
                                       a.w.scales = view(kF32, {1, 2});
                                     },
                                     "w.scales: block rows is 1, was 2"},
                                    {[](auto& a) {
                                       a.w.scales = view(kF32, {2, 3});
                                     },
                                     "w.scales: block columns is 3, was 2"},
                                    {[](auto& a) {
                                       a.w = {view(kBF16, {200, 130}), {}};
                                     },
                                     "w.values is bf16, wanted f8_e4m3 as x.values is f8_e4m3"}});
}

TEST(ValidateHeadLinear, WantsOneMatrixPerHead) {
  const HeadLinearArgs right{view(kBF16, {4, 2, 8}), view(kBF16, {2, 16, 8}),
                             view(kBF16, {4, 2, 16})};

  expect_messages<HeadLinearArgs>(right, {{[](auto& a) {
                                             a.w = view(kBF16, {3, 16, 8});
                                           },
                                           "w: heads is 3, was 2"},
                                          {[](auto& a) {
                                             a.w = view(kF8, {2, 16, 8});
                                           },
                                           "w is f8_e4m3, wanted f32 or bf16"},
                                          {[](auto& a) {
                                             a.y = view(kBF16, {4, 2, 8});
                                           },
                                           "y: out is 8, was 16"}});
}

TEST(ValidateGroupedLinear, WantsEveryExpertAlike) {
  std::array<WeightView, 2> weights{WeightView{view(kBF16, {16, 8}), {}},
                                    WeightView{view(kBF16, {16, 8}), {}}};
  std::array<WeightView, 2> other_shape{weights[0], WeightView{view(kBF16, {8, 8}), {}}};
  std::array<WeightView, 2> other_dtype{weights[0], WeightView{view(kF32, {16, 8}), {}}};
  const GroupedLinearArgs right{
      {view(kBF16, {6, 8}), {}}, weights, view(kI32, {3}), view(kF32, {6, 16})};

  expect_messages<GroupedLinearArgs>(
      right, {{[&](auto& a) { a.w = other_shape; }, "w[1].values: out is 8, was 16"},
              {[&](auto& a) { a.w = other_dtype; }, "w[1].values is f32, wanted bf16"},
              {[](auto& a) { a.offsets = view(kI32, {2}); }, "offsets: experts + 1 is 2, was 3"}});
}

PagedTokens paged(std::int64_t tokens) {
  return {view(kI32, {tokens}), view(kI32, {tokens}), view(kI32, {2, 5})};
}

CacheView cache(DType latent, DType index, std::int64_t page_bytes) {
  config::KvLayout layout;
  layout.latent_dtype = latent;
  layout.index_dtype = index;
  layout.latent_dim = 512;
  layout.rope_dim = 64;
  layout.index_dim = 128;
  return {view(DType::kU8, {7, page_bytes}), layout};
}

TEST(ValidateStoreLatent, WantsTheCachesPageSizeAndFloatsForFloats) {
  const StoreLatentArgs right{view(kBF16, {4, 512}), view(kBF16, {4, 64}), paged(4),
                              cache(kF8, kF8, 41984)};

  expect_messages<StoreLatentArgs>(
      right, {{[](auto& a) { a.cache = cache(kBF16, kF8, 73728); }, ""},
              {[](auto& a) { a.cache = cache(kBF16, kF8, 41984); },
               "cache: page bytes is 41984, was 73728"},
              {[](auto& a) { a.cache = cache(kF32, kF32, 147456); }, "latent is bf16, wanted f32"},
              {[](auto& a) { a.cache = cache(kF16, kF8, 73728); },
               "cache is f16, wanted f32, bf16 or f8_e4m3"},
              {[](auto& a) {
                 a.rope = view(kBF16, {4, 32});
               },
               "rope: r is 32, was 64"},
              {[](auto& a) { a.tokens = paged(5); }, "positions: tokens is 5, was 4"},
              {[](auto& a) { a.tokens.page_table = {}; }, "page_table is absent"}});
}

TEST(ValidateStoreIndexKey, WantsAPowerOfTwoOnlyWhereKeysAreRotated) {
  const StoreIndexKeyArgs right{view(kBF16, {4, 128}), paged(4), cache(kF8, kF8, 8448)};
  StoreIndexKeyArgs odd = right;
  odd.key = view(kF32, {4, 96});
  odd.cache.layout.index_dim = 96;

  expect_messages<StoreIndexKeyArgs>(
      right, {{[](auto& a) { a.cache = cache(kF32, kF32, 32768); }, ""},
              {[&](auto& a) { a = odd; }, "key: d is 96, wanted a power of two"},
              {[&](auto& a) {
                 a = odd;
                 a.cache.layout.index_dtype = kF32;
                 a.cache.bytes = view(DType::kU8, {7, 24576});
               },
               ""},
              {[](auto& a) { a.cache = cache(kF8, kBF16, 8448); },
               "cache is bf16, wanted f32 or f8_e4m3"}});
}

TEST(ValidateQuantizeIndexQuery, WantsAPowerOfTwo) {
  const QuantizeIndexQueryArgs right{view(kBF16, {4, 2, 128}), view(kF8, {4, 2, 128}),
                                     view(kF32, {4, 2})};

  expect_messages<QuantizeIndexQueryArgs>(right, {{[](auto& a) {
                                                     a.query = view(kBF16, {4, 2, 96});
                                                   },
                                                   "query: d is 96, wanted a power of two"},
                                                  {[](auto& a) {
                                                     a.scales = view(kF32, {4, 3});
                                                   },
                                                   "scales: index heads is 3, was 2"}});
}

TEST(ValidateIndexScores, WantsTheQueryInTheCachesFormat) {
  const IndexScoresArgs right{view(kF8, {4, 2, 128}), view(kF32, {4, 2}),
                              view(kF32, {4, 2}),     paged(4),
                              cache(kF8, kF8, 8448),  view(kF32, {4, 300})};

  expect_messages<IndexScoresArgs>(
      right, {{[](auto& a) {
                 a.query = view(kF32, {4, 2, 128});
               },
               "query is f32, wanted f8_e4m3"},
              {[](auto& a) { a.query_scales = {}; }, "query_scales is absent"},
              {[](auto& a) {
                 a.cache = cache(kF32, kF32, 32768);
                 a.query = view(kF32, {4, 2, 128});
               },
               "query_scales is f32[4, 2], wanted none with a cache of f32"},
              {[](auto& a) {
                 a.scores = view(kF32, {5, 300});
               },
               "scores: tokens is 5, was 4"}});
}

TEST(ValidateSelect, WantsRoomForAtLeastOne) {
  const SelectArgs right{view(kF32, {4, 300}), view(kI32, {4}), view(kI32, {4, 64}),
                         view(kI32, {4})};

  expect_messages<SelectArgs>(
      right, {{[](auto& a) {
                 a.selected = view(kI32, {4, 0});
               },
               "selected: k is 0, wanted 1 or more"},
              {[](auto& a) { a.count = view(kI32, {3}); }, "count: tokens is 3, was 4"}});
}

TEST(ValidateSparseAttention, WantsQueriesAsWideAsARecord) {
  const SparseAttentionArgs right{view(kBF16, {4, 2, 576}), view(kI32, {4, 64}),
                                  view(kI32, {4}),          paged(4),
                                  cache(kBF16, kF8, 73728), view(kBF16, {4, 2, 512})};

  expect_messages<SparseAttentionArgs>(right, {{[](auto& a) {
                                                  a.query = view(kBF16, {4, 2, 512});
                                                },
                                                "query: c + r is 512, was 576"},
                                               {[](auto& a) {
                                                  a.y = view(kBF16, {4, 2, 576});
                                                },
                                                "y: c is 576, was 512"},
                                               {[](auto& a) {
                                                  a.y = view(kF32, {4, 2, 512});
                                                },
                                                "y is f32, wanted bf16"}});
}

TEST(ValidateLoadLatent, WantsASequenceWhosePagesHoldThePositions) {
  LoadLatentArgs right;
  right.page_table = view(kI32, {2, 3});
  right.cache = cache(kBF16, kF8, 73728);
  right.y = view(kBF16, {192, 576});
  right.sequence = 1;

  expect_messages<LoadLatentArgs>(
      right,
      {{[](auto& a) {
          a.y = view(kF32, {0, 576});
        },
        ""},
       {[](auto& a) {
          a.y = view(kBF16, {192, 512});
        },
        "y: c + r is 512, was 576"},
       {[](auto& a) { a.cache = cache(kF32, kF32, 147456); }, "y is bf16, wanted f32"},
       {[](auto& a) { a.sequence = 2; }, "sequence is 2, wanted a row of page_table, which has 2"},
       {[](auto& a) { a.sequence = -1; },
        "sequence is -1, wanted a row of page_table, which has 2"},
       {[](auto& a) {
          a.y = view(kBF16, {193, 576});
        },
        "y: positions is 193, wanted at most 192, what the pages of a sequence hold"}});
}

TEST(ValidateExpandedAttention, WantsQueriesAsWideAsBothKeyParts) {
  ExpandedAttentionArgs right;
  right.query = view(kBF16, {4, 2, 192});
  right.key = view(kBF16, {300, 2, 128});
  right.key_rope = view(kBF16, {300, 64});
  right.value = view(kBF16, {300, 2, 96});
  right.selected = view(kI32, {4, 64});
  right.count = view(kI32, {4});
  right.y = view(kBF16, {4, 2, 96});

  expect_messages<ExpandedAttentionArgs>(right, {{[](auto& a) {
                                                    a.query = view(kBF16, {4, 2, 128});
                                                  },
                                                  "query: n + r is 128, was 192"},
                                                 {[](auto& a) {
                                                    a.key_rope = view(kBF16, {299, 64});
                                                  },
                                                  "key_rope: positions is 299, was 300"},
                                                 {[](auto& a) {
                                                    a.value = view(kF32, {300, 2, 96});
                                                  },
                                                  "value is f32, wanted bf16"},
                                                 {[](auto& a) {
                                                    a.selected = view(kI32, {4, 0});
                                                  },
                                                  "selected: k is 0, wanted 1 or more"},
                                                 {[](auto& a) {
                                                    a.y = view(kBF16, {4, 2, 128});
                                                  },
                                                  "y: v is 128, was 96"}});
}

TEST(ValidateGate, WantsGroupsThatHoldTheChoices) {
  GateArgs right;
  right.logits = view(kF32, {4, 16});
  right.bias = view(kF32, {16});
  right.positions = view(kI32, {4});
  right.experts = view(kI32, {4, 3});
  right.weights = view(kF32, {4, 3});
  right.groups = 4;
  right.kept_groups = 2;

  expect_messages<GateArgs>(
      right,
      {{[](auto& a) {
          a.replay = view(kI32, {4, 3});
        },
        ""},
       {[](auto& a) {
          a.replay = view(kI32, {4, 2});
        },
        "replay: k is 2, was 3"},
       {[](auto& a) { a.positions = {}; }, "positions is absent"},
       {[](auto& a) { a.positions = view(kI32, {5}); }, "positions: tokens is 5, was 4"},
       {[](auto& a) { a.positions = view(kF32, {4}); }, "positions is f32, wanted i32"},
       {[](auto& a) { a.groups = 3; },
        "groups is 3, wanted a divisor of experts, 16, that leaves 2 or more in each group"},
       {[](auto& a) { a.groups = 16; },
        "groups is 16, wanted a divisor of experts, 16, that leaves 2 or more in each group"},
       {[](auto& a) { a.kept_groups = 5; }, "kept_groups is 5, wanted 1 to groups, 4"},
       {[](auto& a) {
          a.experts = a.weights = view(kI32, {4, 9});
        },
        "weights is i32, wanted f32"},
       {[](auto& a) {
          a.experts = view(kI32, {4, 9});
          a.weights = view(kF32, {4, 9});
        },
        "experts: k is 9, wanted at most the 8 experts of the kept groups"}});
}

TEST(ValidateGroupByExpert, WantsOneSourcePerChoice) {
  const GroupByExpertArgs right{view(kI32, {4, 3}), view(kI32, {12}), view(kI32, {4, 3}),
                                view(kI32, {9}), 8};

  expect_messages<GroupByExpertArgs>(
      right, {{[](auto& a) { a.source = view(kI32, {4}); }, "source: tokens * k is 4, was 12"},
              {[](auto& a) { a.offsets = view(kI32, {0}); },
               "offsets: size is 0, wanted local experts + 1"},
              {[](auto& a) { a.first_expert = -1; }, "first_expert is -1, wanted 0 or more"}});
}

TEST(ValidateExpandRows, MovesScalesWithFp8Alone) {
  const ExpandRowsArgs right{view(kF8, {4, 300}), view(kF32, {4, 3}),   view(kI32, {12}),
                             view(kI32, {9}),     view(kF8, {12, 300}), view(kF32, {12, 3})};

  expect_messages<ExpandRowsArgs>(right, {{[](auto& a) { a.y_scales = {}; }, "y_scales is absent"},
                                          {[](auto& a) {
                                             a.x_scales = view(kF32, {4, 2});
                                           },
                                           "x_scales: groups is 2, was 3"},
                                          {[](auto& a) {
                                             a.x = view(kBF16, {4, 300});
                                             a.y = view(kBF16, {12, 300});
                                           },
                                           "x_scales is f32[4, 3], wanted none with bf16 values"},
                                          {[](auto& a) {
                                             a.y = view(kBF16, {12, 300});
                                           },
                                           "y is bf16, wanted f8_e4m3"}});
}

TEST(ValidateCombine, WantsRowsAndSharedAlike) {
  const CombineArgs right{view(kBF16, {12, 8}), view(kI32, {4, 3}), view(kF32, {4, 3}),
                          view(kBF16, {4, 8}), view(kBF16, {4, 8})};

  expect_messages<CombineArgs>(right, {{[](auto& a) {
                                          a.shared = view(kF32, {4, 8});
                                        },
                                        "shared is f32, wanted bf16"},
                                       {[](auto& a) {
                                          a.rows = view(kBF16, {12, 9});
                                        },
                                        "shared: hidden is 8, was 9"},
                                       {[](auto& a) {
                                          a.weights = view(kF32, {4, 4});
                                        },
                                        "weights: k is 4, was 3"}});
}

}  // namespace
}  // namespace fathom::ops
