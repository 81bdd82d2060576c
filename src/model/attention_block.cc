#include <algorithm>

#include "model/step.h"

namespace fathom::model {

namespace {

ops::RopeArgs rotation(const Step& step,
                       const TensorView& x,
                       const TensorView& y,
                       ops::RopePairing pairing) {
  ops::RopeArgs args;
  args.x = x;
  args.y = y;
  args.positions = step.batch.tokens.positions;
  args.cos = step.space.rope_cos;
  args.sin = step.space.rope_sin;
  args.pairing = pairing;
  return args;
}

ops::CacheView index_cache(const Step& step, std::int32_t layer) {
  return {step.store.index(layer), step.store.layout()};
}

// Rotates the indexer's heads in place: their first dimensions, paired with the ones half the
// rotated width away.
void rotate_index(const Step& step, const TensorView& heads) {
  const std::int64_t rope = step.config.qk_rope_head_dim;
  const std::int64_t first =
      step.mutated_as(Mutation::kIndexerRopeLast) ? step.config.index_head_dim - rope : 0;
  const TensorView part = heads.columns(first, rope);
  const auto pairing = step.mutated_as(Mutation::kIndexerInterleavedRope)
                           ? ops::RopePairing::kInterleaved
                           : ops::RopePairing::kHalfSplit;
  run(step, &ops::OpSet::rope, rotation(step, part, part, pairing));
}

// The indexer's key of each token, into its cache.
void store_index_key(const Step& step,
                     std::int32_t layer,
                     const AttentionWeights& weights,
                     ProductInput& x) {
  const std::int64_t tokens = step.tokens();
  const std::int64_t dim = step.config.index_head_dim;
  const TensorView key = step.take(step.space.index_k);
  project(step, x, weights.index_k, key);
  if (step.mutated_as(Mutation::kIndexerKeyRmsNorm)) {
    run(step, &ops::OpSet::rms_norm, ops::RmsNormArgs{key, weights.index_k_norm, key});
  } else {
    run(step, &ops::OpSet::layer_norm,
        ops::LayerNormArgs{key, weights.index_k_norm, weights.index_k_norm_bias, key});
  }
  rotate_index(step, key.reshape({tokens, 1, dim}));
  run(step, &ops::OpSet::store_index_key,
      ops::StoreIndexKeyArgs{key, step.batch.tokens, index_cache(step, layer)});
}

// Scores of the rows [first, first + scores.shape[0]) against every key they see.
void score_rows(const Step& step,
                std::int32_t layer,
                std::int64_t first,
                const TensorView& scores) {
  const std::int64_t rows = scores.shape[0];
  ops::IndexScoresArgs args;
  args.query = step.space.index_q.rows(first, rows);
  if (step.deployed()) {
    args.query = step.space.index_q_values.rows(first, rows);
    args.query_scales = step.space.index_q_scales.rows(first, rows);
  }
  args.weights = step.space.index_weights.rows(first, rows);
  args.tokens = step.batch.tokens;
  args.tokens.positions = step.batch.tokens.positions.rows(first, rows);
  args.tokens.sequences = step.batch.tokens.sequences.rows(first, rows);
  args.cache = index_cache(step, layer);
  args.scores = scores;
  run(step, &ops::OpSet::index_scores, args);
}

bool scores_needed(const Step& step) { return step.batch.max_position >= step.config.index_topk; }

// The positions each token attends to. Scoring is skipped when no token sees more keys than it may
// select: the choice is the same.
void select_positions(const Step& step,
                      std::int32_t layer,
                      const AttentionWeights& weights,
                      ProductInput& query_rank) {
  const std::int64_t tokens = step.tokens();
  const std::int64_t heads = step.config.index_n_heads;
  const std::int64_t dim = step.config.index_head_dim;
  if (scores_needed(step)) {
    const TensorView query = step.take(step.space.index_q);
    project(step, query_rank, weights.index_q_b, query.reshape({tokens, heads * dim}));
    rotate_index(step, query);
    if (step.deployed()) {
      run(step, &ops::OpSet::quantize_index_query,
          ops::QuantizeIndexQueryArgs{query, step.take(step.space.index_q_values),
                                      step.take(step.space.index_q_scales)});
    }
  }
  for (std::int64_t first = 0; first < tokens; first += step.space.score_rows) {
    const std::int64_t rows = std::min<std::int64_t>(step.space.score_rows, tokens - first);
    const TensorView scores = step.space.scores.rows(0, rows);
    const TensorView selected = step.space.selected.rows(first, rows);
    const TensorView count = step.space.count.rows(first, rows);
    if (scores_needed(step)) score_rows(step, layer, first, scores);
    run(step, &ops::OpSet::select,
        ops::SelectArgs{scores, step.batch.tokens.positions.rows(first, rows), selected, count});
    if (step.probe != nullptr) step.probe->selection(layer, first, selected, count, scores);
  }
}

// Takes away each token's own position where it sees others: the mistake kOwnKeyHidden.
void hide_own_key(const Step& step) {
  const auto* positions = step.batch.tokens.positions.row<std::int32_t>(0);
  auto* count = step.space.count.row<std::int32_t>(0);
  for (std::int64_t t = 0; t < step.tokens(); ++t) {
    const auto* selected = step.space.selected.row<std::int32_t>(t);
    if (count[t] > 1 && selected[count[t] - 1] == positions[t]) --count[t];
  }
}

// What a row attends to.
struct Selection {
  TensorView selected;  // [tokens, top k]
  TensorView count;     // [tokens]
};

Selection selection_of(const Step& step, std::int32_t layer) {
  if (step.replay != nullptr && step.replay->selected(layer).present()) {
    return {step.replay->selected(layer), step.replay->count(layer)};
  }
  return {step.take(step.space.selected), step.take(step.space.count)};
}

float softmax_scale(const Step& step) {
  config::ModelConfig config = step.config;
  if (step.mutated_as(Mutation::kScaleWithoutMscale)) config.yarn.reset();
  return config.softmax_scale();
}

// Absorbed form: the query meets latents as the cache holds them, and value_up expands what comes
// of it.
void attend_absorbed(const Step& step,
                     const AttentionWeights& weights,
                     const TensorView& query,
                     const Selection& selection,
                     const ops::CacheView& cache,
                     const TensorView& head_values) {
  ops::SparseAttentionArgs attention;
  attention.query = query;
  attention.selected = selection.selected;
  attention.count = selection.count;
  attention.tokens = step.batch.tokens;
  attention.cache = cache;
  attention.y = step.take(step.space.attended);
  attention.scale = softmax_scale(step);
  run(step, &ops::OpSet::sparse_attention, attention);
  run(step, &ops::OpSet::head_linear,
      ops::HeadLinearArgs{attention.y, weights.value_up, head_values});
}

// Expanded form: sequence by sequence, kv_b makes keys and values of every record that its rows
// may see, those of earlier steps included.
void attend_expanded(const Step& step,
                     const AttentionWeights& weights,
                     const TensorView& query,
                     const Selection& selection,
                     const ops::CacheView& cache,
                     const TensorView& head_values) {
  const config::ModelConfig& config = step.config;
  Workspace& space = step.space;
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t nope = config.qk_nope_head_dim;
  const std::int64_t latent = config.kv_lora_rank;
  for (const Segment& segment : step.batch.segments) {
    const TensorView records = space.records.rows(0, segment.visible);
    const TensorView expanded = space.keys_values.rows(0, segment.visible);
    run(step, &ops::OpSet::load_latent,
        ops::LoadLatentArgs{step.batch.tokens.page_table, cache, records, segment.sequence});
    ProductInput latents(step, records.columns(0, latent), space.latents_values,
                         space.latents_scales);
    project(step, latents, weights.kv_b,
            expanded.reshape({segment.visible, heads * (nope + config.v_head_dim)}));
    ops::ExpandedAttentionArgs attention;
    attention.query = query.rows(segment.first_row, segment.rows);
    attention.key = expanded.columns(0, nope);
    attention.key_rope = records.columns(latent, config.qk_rope_head_dim);
    attention.value = expanded.columns(nope, config.v_head_dim);
    attention.selected = selection.selected.rows(segment.first_row, segment.rows);
    attention.count = selection.count.rows(segment.first_row, segment.rows);
    attention.y = head_values.rows(segment.first_row, segment.rows);
    attention.scale = softmax_scale(step);
    run(step, &ops::OpSet::expanded_attention, attention);
  }
}

}  // namespace

void attention_block(const Step& step,
                     std::int32_t layer,
                     const AttentionWeights& weights,
                     const TensorView& x,
                     const TensorView& h) {
  const config::ModelConfig& config = step.config;
  Workspace& space = step.space;
  const std::int64_t tokens = step.tokens();
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t nope = config.qk_nope_head_dim;
  const std::int64_t rope = config.qk_rope_head_dim;
  const std::int64_t latent = config.kv_lora_rank;

  // Everything that reads x comes first: the next input's quantised form takes its buffer.
  ProductInput x_input = product_input(step, x);
  const TensorView q_a = step.take(space.q_a);
  const TensorView kv_a = step.take(space.kv_a);
  project(step, x_input, weights.q_a, q_a);
  project(step, x_input, weights.kv_a, kv_a);
  store_index_key(step, layer, weights, x_input);
  if (scores_needed(step)) {
    project(step, x_input, weights.index_weights, step.take(space.index_weights));
  }

  // Latent and rotated key, into the cache: attention reads cache bytes only.
  const TensorView key_latent = kv_a.columns(0, latent);
  const TensorView key_rope = kv_a.columns(latent, rope);
  run(step, &ops::OpSet::rms_norm,
      ops::RmsNormArgs{key_latent, weights.kv_a_norm, key_latent, config.rms_norm_eps});
  TensorView key_head = key_rope;
  key_head.rank = 3;
  key_head.shape = {tokens, 1, rope};
  key_head.stride = {kv_a.stride[0], kv_a.stride[0], 1};
  run(step, &ops::OpSet::rope, rotation(step, key_head, key_head, ops::RopePairing::kInterleaved));
  const ops::CacheView cache{step.store.latent(layer), step.store.layout()};
  run(step, &ops::OpSet::store_latent,
      ops::StoreLatentArgs{key_latent, key_rope, step.batch.tokens, cache});

  // Queries: the rotated part stays in its place, or goes beside the absorbed one.
  ProductInput unnormed = product_input(step, q_a);
  const bool before_norm = step.mutated_as(Mutation::kIndexerQueryBeforeNorm);
  if (before_norm) select_positions(step, layer, weights, unnormed);
  run(step, &ops::OpSet::rms_norm,
      ops::RmsNormArgs{q_a, weights.q_a_norm, q_a, config.rms_norm_eps});
  ProductInput query_rank = product_input(step, q_a);
  const TensorView q_heads = step.take(space.q_heads);
  project(step, query_rank, weights.q_b, q_heads.reshape({tokens, heads * (nope + rope)}));
  const bool absorbed = step.options.attention_form == config::AttentionForm::kAbsorbed;
  const TensorView query = absorbed ? step.take(space.q_absorbed) : q_heads;
  if (absorbed) {
    run(step, &ops::OpSet::head_linear,
        ops::HeadLinearArgs{q_heads.columns(0, nope), weights.key_up_transposed,
                            query.columns(0, latent)});
  }
  run(step, &ops::OpSet::rope,
      rotation(step, q_heads.columns(nope, rope), query.columns(absorbed ? latent : nope, rope),
               ops::RopePairing::kInterleaved));
  if (!before_norm) select_positions(step, layer, weights, query_rank);
  if (step.mutated_as(Mutation::kOwnKeyHidden)) hide_own_key(step);

  const TensorView head_values = step.take(space.head_values);
  const auto attend = absorbed ? attend_absorbed : attend_expanded;
  attend(step, weights, query, selection_of(step, layer), cache, head_values);
  ProductInput values =
      product_input(step, head_values.reshape({tokens, heads * config.v_head_dim}));
  project(step, values, weights.o, h);
}

}  // namespace fathom::model
