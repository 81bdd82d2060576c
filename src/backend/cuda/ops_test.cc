// Each operation on the GPU against the CPU, bit by bit, from the same random inputs into outputs
// that hold the same garbage.

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>

#include "backend/cuda/twin_testing.h"
#include "config/kv_layout.h"

namespace fathom::cuda {
namespace {

using ops::LinearInput;

class CudaOps : public TwinTest {
 protected:
  std::vector<std::int32_t> random_integers(std::size_t count, std::int32_t below) {
    std::vector<std::int32_t> values(count);
    for (std::int32_t& value : values) {
      value = static_cast<std::int32_t>(random_() % static_cast<std::uint32_t>(below));
    }
    return values;
  }

  // Ascending positions; every third row, from the second one on, is padding.
  Twin positions_with_padding(std::int64_t tokens) {
    std::vector<std::int32_t> places(static_cast<std::size_t>(tokens));
    for (std::size_t t = 0; t < places.size(); ++t) {
      places[t] = t % 3 == 1 ? -1 : static_cast<std::int32_t>(t);
    }
    return integers({tokens}, places);
  }
};

constexpr DType kActivations[] = {DType::kF32, DType::kBF16};
constexpr DType kStored[] = {DType::kF32, DType::kBF16, DType::kF16};

TEST_F(CudaOps, EmbedAndGather) {
  for (const DType table_type : kStored) {
    for (const DType type : kActivations) {
      Twin table = normal(table_type, {50, 129});
      Twin ids = integers({7}, random_integers(7, 50));
      Twin y = poisoned(type, {7, 129});
      Twin some = integers({3}, {6, 0, 2});
      Twin gathered = poisoned(type, {3, 129});
      on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
        ops.embed(s, {view(ids), view(table), view(y)});
        ops.gather_rows(s, {view(y), view(some), view(gathered)});
      });
      expect_equal(y, "embed");
      expect_equal(gathered, "gather_rows");
    }
  }
}

TEST_F(CudaOps, Norms) {
  for (const std::int64_t width : {1, 15, 64, 128, 576, 1537, 7168}) {
    for (const DType type : kActivations) {
      for (const DType weight : kStored) {
        Twin x = normal(type, {5, width}, 3);
        Twin residual = normal(type, {5, width}, 3);
        Twin w = normal(weight, {width});
        Twin b = normal(weight, {width});
        Twin y = poisoned(type, {5, width});
        Twin added = poisoned(type, {5, width});
        Twin layer = poisoned(type, {5, width});
        on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
          ops.rms_norm(s, {view(x), view(w), view(y), 1e-6F});
          ops.add_rms_norm(s, {view(x), view(residual), view(w), view(added), 1e-6F});
          ops.layer_norm(s, {view(x), view(w), view(b), view(layer), 1e-6F});
        });
        expect_equal(y, "rms_norm");
        expect_equal(residual, "residual");
        expect_equal(added, "add_rms_norm");
        expect_equal(layer, "layer_norm");
      }
    }
  }
}

TEST_F(CudaOps, SiluAndRope) {
  for (const DType type : kActivations) {
    Twin gate = normal(type, {9, 515}, 20);
    Twin up = normal(type, {9, 515});
    Twin y = poisoned(type, {9, 515});
    Twin heads = normal(type, {9, 4, 64});
    Twin halves = normal(type, {9, 4, 64});
    std::vector<std::int32_t> places = random_integers(9, 100);
    places[4] = -1;  // padding
    Twin positions = integers({9}, places);
    Twin cos = normal(DType::kF32, {100, 32});
    Twin sin = normal(DType::kF32, {100, 32});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      ops.silu_mul(s, {view(gate), view(up), view(y)});
      ops.rope(s, {view(heads), view(heads), view(positions), view(cos), view(sin),
                   ops::RopePairing::kInterleaved});
      ops.rope(s, {view(halves), view(halves), view(positions), view(cos), view(sin),
                   ops::RopePairing::kHalfSplit});
    });
    expect_equal(y, "silu_mul");
    expect_equal(heads, "rope, interleaved");
    expect_equal(halves, "rope, half-split");
  }
}

TEST_F(CudaOps, Argmax) {
  for (const std::int64_t vocab : {1, 2, 255, 3072, 129280}) {
    Twin logits = normal(DType::kF32, {4, vocab}, 5);
    logits.as<float>()[0] = std::nanf("");
    if (vocab > 2) logits.as<float>()[static_cast<std::size_t>(vocab) - 1] = logits.as<float>()[1];
    upload(logits);
    Twin token = poisoned(DType::kI32, {4});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      ops.argmax(s, {view(logits), view(token), {}});
    });
    expect_equal(token, "argmax");
  }
}

TEST_F(CudaOps, Quantize) {
  for (const std::int64_t width : {1, 127, 128, 129, 1536, 7168}) {
    for (const DType type : kActivations) {
      for (const bool ue8m0 : {false, true}) {
        Twin x = normal(type, {3, width}, 50);
        Twin values = poisoned(DType::kF8E4M3, {3, width});
        Twin scale = poisoned(DType::kF32, {3, ceil_div(width, kScaleBlock)});
        on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
          ops.quantize(s, {view(x), view(values), view(scale), ue8m0});
        });
        expect_equal(values, "codes");
        expect_equal(scale, "scales");
      }
    }
  }
}

TEST_F(CudaOps, Experts) {
  for (const std::int64_t tokens : {1, 3, 64, 200}) {
    constexpr std::int64_t kExperts = 16;
    constexpr std::int64_t kChosen = 4;
    constexpr std::int64_t kHidden = 256;
    Twin logits = normal(DType::kF32, {tokens, kExperts});
    Twin bias = normal(DType::kF32, {kExperts}, 0.1F);
    Twin positions = positions_with_padding(tokens);
    Twin experts = poisoned(DType::kI32, {tokens, kChosen});
    Twin weights = poisoned(DType::kF32, {tokens, kChosen});
    Twin source = poisoned(DType::kI32, {tokens * kChosen});
    Twin row_of = poisoned(DType::kI32, {tokens, kChosen});
    Twin offsets = poisoned(DType::kI32, {kExperts + 1});
    Twin x = normal(DType::kF8E4M3, {tokens, kHidden});
    Twin xs = scales({tokens, 2});
    Twin rows = poisoned(DType::kF8E4M3, {tokens * kChosen, kHidden});
    Twin rs = poisoned(DType::kF32, {tokens * kChosen, 2});
    Twin matrices = normal(DType::kF8E4M3, {kExperts * 130, kHidden});
    Twin matrix_scales = scales({kExperts * 2, 2});
    Twin out = poisoned(DType::kBF16, {tokens * kChosen, 130});
    Twin shared = normal(DType::kBF16, {tokens, 130});
    Twin y = poisoned(DType::kBF16, {tokens, 130});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      ops::GateArgs gate;
      gate.logits = view(logits);
      gate.bias = view(bias);
      gate.positions = view(positions);
      gate.experts = view(experts);
      gate.weights = view(weights);
      gate.groups = 4;
      gate.kept_groups = 2;
      gate.scale = 2.5F;
      ops.gate(s, gate);
      ops.group_by_expert(s, {view(experts), view(source), view(row_of), view(offsets), 0});
      ops.expand_rows(s, {view(x), view(xs), view(source), view(offsets), view(rows), view(rs)});
      std::vector<WeightView> w;
      for (std::int64_t e = 0; e < kExperts; ++e) {
        w.push_back({view(matrices).rows(e * 130, 130), view(matrix_scales).rows(e * 2, 2)});
      }
      ops.grouped_linear(s, {LinearInput{view(rows), view(rs)}, w, view(offsets), view(out)});
      ops.combine(s, {view(out), view(row_of), view(weights), view(shared), view(y)});
    });
    expect_equal(experts, "gate");
    expect_equal(weights, "gate's weights");
    expect_equal(source, "group_by_expert");
    expect_equal(row_of, "rows of choices");
    expect_equal(offsets, "offsets");
    // Rows 1, 4, 7 and so on are padding.
    EXPECT_EQ(offsets.as<std::int32_t>()[kExperts], (tokens - (tokens + 1) / 3) * kChosen);
    expect_equal(rows, "expand_rows");
    expect_equal(out, "grouped_linear");
    expect_equal(y, "combine");
  }
}

// The published model's: 256 experts in 8 groups, 8 of them chosen; and one rank's share of them.
TEST_F(CudaOps, ExpertsOfThePublishedModel) {
  constexpr std::int64_t kExperts = 256;
  constexpr std::int64_t kChosen = 8;
  for (const std::int64_t tokens : {1, 65, 700}) {
    for (const std::int32_t local : {256, 32}) {
      SCOPED_TRACE(std::to_string(tokens) + " tokens, " + std::to_string(local) + " local");
      Twin logits = normal(DType::kF32, {tokens, kExperts});
      Twin bias = normal(DType::kF32, {kExperts}, 0.1F);
      Twin positions = positions_with_padding(tokens);
      Twin experts = poisoned(DType::kI32, {tokens, kChosen});
      Twin weights = poisoned(DType::kF32, {tokens, kChosen});
      Twin source = poisoned(DType::kI32, {tokens * kChosen});
      Twin row_of = poisoned(DType::kI32, {tokens, kChosen});
      Twin offsets = poisoned(DType::kI32, {local + 1});
      on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
        ops::GateArgs gate;
        gate.logits = view(logits);
        gate.bias = view(bias);
        gate.positions = view(positions);
        gate.experts = view(experts);
        gate.weights = view(weights);
        gate.groups = 8;
        gate.kept_groups = 4;
        gate.scale = 2.5F;
        ops.gate(s, gate);
        ops.group_by_expert(
            s, {view(experts), view(source), view(row_of), view(offsets), local == 256 ? 0 : 96});
      });
      expect_equal(experts, "gate");
      expect_equal(weights, "gate's weights");
      expect_equal(source, "group_by_expert");
      expect_equal(row_of, "rows of choices");
      expect_equal(offsets, "offsets");
    }
  }
}

struct CacheCase {
  DType latent;
  DType activation;
  std::int32_t c;
  std::int32_t r;
  std::int32_t d;
  std::int64_t heads;
  std::int64_t index_heads;
};
constexpr CacheCase kCacheCases[] = {{DType::kBF16, DType::kBF16, 512, 64, 128, 128, 64},
                                     {DType::kF8E4M3, DType::kBF16, 512, 64, 128, 8, 64},
                                     {DType::kBF16, DType::kBF16, 64, 16, 32, 4, 4},
                                     {DType::kF8E4M3, DType::kBF16, 64, 16, 32, 4, 8},
                                     {DType::kF32, DType::kF32, 64, 16, 32, 4, 4}};

// Two sequences: 200 and 70 tokens in pages out of order, then attention of their rows; two padding
// rows among them.
TEST_F(CudaOps, CachesIndexerAndAttention) {
  for (const CacheCase& one : kCacheCases) {
    SCOPED_TRACE(std::string(dtype_name(one.latent)) + " c " + std::to_string(one.c));
    config::KvLayout layout;
    layout.latent_dtype = one.latent;
    layout.index_dtype = one.latent == DType::kF32 ? DType::kF32 : DType::kF8E4M3;
    layout.latent_dim = one.c;
    layout.rope_dim = one.r;
    layout.index_dim = one.d;
    constexpr std::int64_t kPages = 9;
    constexpr std::int64_t kTokens = 272;
    constexpr std::int64_t kSelected = 130;
    const std::int64_t heads = one.heads;
    std::vector<std::int32_t> places;
    std::vector<std::int32_t> owners;
    for (std::int32_t i = 0; i < kTokens; ++i) {
      places.push_back(i < 200 ? i : i - 200);
      owners.push_back(i < 200 ? 0 : 1);
    }
    places[270] = places[271] = -1;
    std::swap(places[0], places[270]);
    std::swap(owners[0], owners[270]);
    Twin positions = integers({kTokens}, places);
    Twin sequences = integers({kTokens}, owners);
    Twin table = integers({2, 4}, {3, 7, 0, 5, 8, 2, 1, 1});
    Twin latent_pages = poisoned(DType::kU8, {kPages, layout.latent_page_bytes()});
    Twin index_pages = poisoned(DType::kU8, {kPages, layout.index_page_bytes()});
    Twin latent = normal(one.activation, {kTokens, one.c});
    Twin rope = normal(one.activation, {kTokens, one.r});
    Twin key = normal(one.activation, {kTokens, one.d});
    Twin query = normal(one.activation, {kTokens, one.index_heads, one.d});
    Twin codes = poisoned(DType::kF8E4M3, {kTokens, one.index_heads, one.d});
    Twin code_scales = poisoned(DType::kF32, {kTokens, one.index_heads});
    Twin weights = normal(DType::kF32, {kTokens, one.index_heads});
    Twin scores = poisoned(DType::kF32, {kTokens, 256});
    Twin selected = poisoned(DType::kI32, {kTokens, kSelected});
    Twin count = poisoned(DType::kI32, {kTokens});
    Twin attention = normal(one.activation, {kTokens, heads, one.c + one.r}, 0.2F);
    Twin y = poisoned(one.activation, {kTokens, heads, one.c});
    Twin loaded = poisoned(one.activation, {190, one.c + one.r});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      const ops::PagedTokens tokens{view(positions), view(sequences), view(table)};
      const ops::CacheView latent_cache{view(latent_pages), layout};
      const ops::CacheView index_cache{view(index_pages), layout};
      ops.store_latent(s, {view(latent), view(rope), tokens, latent_cache});
      ops.store_index_key(s, {view(key), tokens, index_cache});
      const bool quantized = layout.index_dtype == DType::kF8E4M3;
      if (quantized) ops.quantize_index_query(s, {view(query), view(codes), view(code_scales)});
      ops.index_scores(
          s, {quantized ? view(codes) : view(query), quantized ? view(code_scales) : TensorView(),
              view(weights), tokens, index_cache, view(scores)});
      ops.select(s, {view(scores), view(positions), view(selected), view(count)});
      ops.sparse_attention(
          s, {view(attention), view(selected), view(count), tokens, latent_cache, view(y), 0.13F});
      ops.load_latent(s, {view(table), latent_cache, view(loaded), 0});
    });
    expect_equal(latent_pages, "store_latent");
    expect_equal(index_pages, "store_index_key");
    expect_equal(codes, "quantize_index_query");
    expect_equal(code_scales, "scales of index queries");
    expect_equal(scores, "index_scores");
    expect_equal(selected, "select");
    expect_equal(count, "counts");
    expect_equal(y, "sparse_attention");
    expect_equal(loaded, "load_latent");
  }
}

// More rows than the second dimension of a grid has blocks for, in a page of one sequence.
TEST_F(CudaOps, AttentionOfMoreRowsThanAGridIsHigh) {
  constexpr std::int64_t kRows = 65536 + 1;
  constexpr std::int64_t kHeads = 2;
  config::KvLayout layout;
  layout.latent_dtype = layout.index_dtype = DType::kF32;
  layout.latent_dim = 8;
  layout.rope_dim = 4;
  layout.index_dim = 4;
  std::vector<std::int32_t> places(kRows);
  for (std::size_t t = 0; t < places.size(); ++t) places[t] = static_cast<std::int32_t>(t % 5) - 1;
  Twin positions = integers({kRows}, places);
  Twin sequences = integers({kRows}, std::vector<std::int32_t>(kRows));
  Twin table = integers({1, 1}, {0});
  Twin latent_page = normal(DType::kF32, {1, layout.latent_page_bytes() / 4});
  Twin index_page = normal(DType::kF32, {1, layout.index_page_bytes() / 4});
  Twin index_query = normal(DType::kF32, {kRows, kHeads, 4});
  Twin weights = normal(DType::kF32, {kRows, kHeads});
  Twin scores = poisoned(DType::kF32, {kRows, 4});
  Twin selected = poisoned(DType::kI32, {kRows, 2});
  Twin count = poisoned(DType::kI32, {kRows});
  Twin query = normal(DType::kF32, {kRows, kHeads, 12});
  Twin y = poisoned(DType::kF32, {kRows, kHeads, 8});
  // The expanded form has no padding: every row attends to both keys.
  Twin both = integers({kRows, 2}, [] {
    std::vector<std::int32_t> lists(2 * kRows);
    for (std::size_t i = 1; i < lists.size(); i += 2) lists[i] = 1;
    return lists;
  }());
  Twin twos = integers({kRows}, std::vector<std::int32_t>(kRows, 2));
  Twin key = normal(DType::kF32, {2, kHeads, 8});
  Twin key_rope = normal(DType::kF32, {2, 4});
  Twin value = normal(DType::kF32, {2, kHeads, 3});
  Twin expanded = poisoned(DType::kF32, {kRows, kHeads, 3});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    const ops::PagedTokens tokens{view(positions), view(sequences), view(table)};
    const auto page = [&](Twin& twin, std::int64_t bytes) {
      return ops::CacheView{TensorView(view(twin).data, DType::kU8, {1, bytes}), layout};
    };
    ops.index_scores(s, {view(index_query), TensorView(), view(weights), tokens,
                         page(index_page, layout.index_page_bytes()), view(scores)});
    ops.select(s, {view(scores), view(positions), view(selected), view(count)});
    ops.sparse_attention(s, {view(query), view(selected), view(count), tokens,
                             page(latent_page, layout.latent_page_bytes()), view(y), 0.3F});
    ops.expanded_attention(s, {view(query), view(key), view(key_rope), view(value), view(both),
                               view(twos), view(expanded), 0.3F});
  });
  expect_equal(scores, "index_scores");
  expect_equal(selected, "select");
  expect_equal(y, "sparse_attention");
  expect_equal(expanded, "expanded_attention");
}

TEST_F(CudaOps, InputsOfAStep) {
  Twin ids = integers({6}, {5, -1, 0, -700, -2, 9});
  Twin tokens = integers({700}, random_integers(700, 1000));
  Twin index = integers({3}, {299, 0, 17});
  Twin values = integers({3}, {1, 2, 3});
  Twin table = poisoned(DType::kI32, {300});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.fill_ids(s, {view(ids), view(tokens)});
    ops.scatter(s, {view(index), view(values), view(table)});
  });
  expect_equal(ids, "fill_ids");
  expect_equal(table, "scatter");
}

TEST_F(CudaOps, AcceptedDrafts) {
  constexpr std::int64_t kSequences = 300;
  std::vector<std::int32_t> first{0};
  std::vector<std::int32_t> draft;
  for (std::int32_t i = 0; i < kSequences; ++i) {
    for (std::int32_t r = 0; r < i % 6; ++r) draft.push_back((i + r) % 3);
    draft.push_back(-1);
    first.push_back(static_cast<std::int32_t>(draft.size()));
  }
  const auto draws = static_cast<std::int64_t>(draft.size());
  Twin bounds = integers({kSequences + 1}, first);
  Twin drawn = integers({draws}, random_integers(draws, 3));
  Twin drafts = integers({draws}, draft);
  Twin row = integers({draws}, random_integers(draws, 5000));
  Twin accepted = poisoned(DType::kI32, {kSequences});
  Twin last = poisoned(DType::kI32, {kSequences});
  Twin token = poisoned(DType::kI32, {kSequences});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.accept_drafts(s, {view(bounds), view(drawn), view(drafts), view(row), view(accepted),
                          view(last), view(token)});
  });
  expect_equal(token, "tokens");
  expect_equal(accepted, "accepted");
  expect_equal(last, "last");
}

TEST_F(CudaOps, RowsThatFollow) {
  Twin from = integers({5}, {3, 0, 2, 1, 3});
  Twin position = integers({4}, {10, -1, 63, 7});
  Twin sequence = integers({4}, {5, 0, 2, 9});
  Twin end = integers({5}, {64, 64, 64, 64, 9});
  Twin next_position = poisoned(DType::kI32, {5});
  Twin next_sequence = poisoned(DType::kI32, {5});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.follow_rows(s, {view(from), view(position), view(sequence), view(end), view(next_position),
                        view(next_sequence), 2});
  });
  expect_equal(next_position, "positions");
  expect_equal(next_sequence, "sequences");
}

TEST_F(CudaOps, RowsThatGoOnFromTheStepBefore) {
  constexpr std::int64_t kFollowers = 300;
  constexpr std::int32_t kDrafts = 3;
  constexpr std::int64_t kLeaders = kFollowers + 10;
  std::vector<std::int32_t> leader;
  std::vector<std::int32_t> row;
  std::vector<std::int32_t> draw;
  std::vector<std::int32_t> rows;
  std::int32_t draws = 0;
  for (std::int32_t i = 0; i < kFollowers; ++i) {
    leader.push_back((i * 7) % static_cast<std::int32_t>(kLeaders));
    row.push_back(i * (1 + kDrafts) + 2);
    draw.push_back(draws);
    rows.push_back(1 + i % (1 + kDrafts));
    draws += rows.back();
  }
  const std::int64_t all_rows = kFollowers * (1 + kDrafts) + 2;
  Twin accepted = integers({kLeaders}, random_integers(kLeaders, 1 + kDrafts));
  Twin token = integers({kLeaders}, random_integers(kLeaders, 1000));
  Twin drafted = integers({kDrafts, kLeaders}, random_integers(kDrafts * kLeaders, 1000));
  Twin leaders = integers({kFollowers}, leader);
  Twin first_row = integers({kFollowers}, row);
  Twin first_draw = integers({kFollowers}, draw);
  Twin count = integers({kFollowers}, rows);
  Twin id = integers({all_rows}, random_integers(all_rows, 1000));
  Twin position = integers({all_rows}, random_integers(all_rows, 1000));
  Twin drawn_position = integers({draws}, random_integers(draws, 1000));
  Twin draft = integers({draws}, random_integers(draws, 1000));
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.advance_rows(s, {view(accepted), view(token), view(drafted), view(leaders), view(first_row),
                         view(first_draw), view(count), view(id), view(position),
                         view(drawn_position), view(draft)});
  });
  expect_equal(id, "ids");
  expect_equal(position, "positions");
  expect_equal(drawn_position, "drawn positions");
  expect_equal(draft, "drafts");
}

TEST_F(CudaOps, SelectionOfManyEqualScores) {
  Twin scores = normal(DType::kF32, {3, 9000});
  for (float& score : scores.as<float>())
    score = std::floor(score * 2) == 0 ? -0.0F : score > 0 ? 1.0F : 0.0F;
  scores.as<float>()[17] = std::nanf("");
  upload(scores);
  Twin positions = integers({3}, {8999, 2048, 2047});
  Twin selected = poisoned(DType::kI32, {3, 2048});
  Twin count = poisoned(DType::kI32, {3});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.select(s, {view(scores), view(positions), view(selected), view(count)});
  });
  expect_equal(selected, "select");
  expect_equal(count, "counts");
}

// A selection so wide that its scores have no room in shared memory: the launch is refused, and so
// is everything that is asked of the stream from then on.
TEST_F(CudaOps, AFailedLaunchIsToldByNameAndSticks) {
  config::KvLayout layout;
  layout.latent_dtype = DType::kBF16;
  layout.latent_dim = 64;
  layout.rope_dim = 16;
  layout.index_dim = 32;
  constexpr std::int64_t kTooMany = 100000;
  Twin query = normal(DType::kBF16, {1, 1, 80});
  Twin selected = poisoned(DType::kI32, {1, kTooMany});
  Twin one = integers({1}, {0});
  Twin pages = poisoned(DType::kU8, {1, layout.latent_page_bytes()});
  Twin y = poisoned(DType::kBF16, {1, 1, 64});
  const Status told = on_gpu([&](const ops::OpSet& ops, Stream& s, auto view) {
    const ops::PagedTokens tokens{view(one), view(one), view(one).reshape({1, 1})};
    ops.sparse_attention(
        s, {view(query), view(selected), view(one), tokens, {view(pages), layout}, view(y), 1.0F});
  });
  ASSERT_FALSE(told.ok());
  EXPECT_EQ(told.code(), Code::kUnavailable);
  EXPECT_THAT(told.message(), testing::HasSubstr("sparse_attention of"));
  EXPECT_THAT(told.message(), testing::HasSubstr("100000"));
  const Status again = on_gpu([](const ops::OpSet&, Stream&, auto) {});
  EXPECT_EQ(again.message(), told.message());
}

}  // namespace
}  // namespace fathom::cuda
