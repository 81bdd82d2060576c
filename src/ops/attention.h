#pragma once

#include "base/status.h"
#include "config/kv_layout.h"
#include "tensor/tensor_view.h"

namespace fathom::ops {

// Where the tokens of one step stand. Row t belongs to sequence `sequences[t]` of the page table
// and has absolute position `positions[t]`; its slot in every cache is
//   page_table[sequence, position / 64] * 64 + position % 64.
// A token sees the positions 0..positions[t] of its sequence, its own included.
//
// Position -1 makes a row padding, so that a graph of one size serves smaller batches: nothing is
// read from or written to a cache for it, it selects nothing and its attention is zero. Whatever it
// holds touches no other row.
struct PagedTokens {
  TensorView positions;   // [tokens] i32, >= 0, or -1
  TensorView sequences;   // [tokens] i32, rows of page_table; any of them for padding
  TensorView page_table;  // [sequences, pages per sequence] i32, page numbers of the caches
};

// One layer's cache of one kind: bytes [pages, page bytes] as KvLayout lays them out.
struct CacheView {
  TensorView bytes;  // [pages, page bytes] u8
  config::KvLayout layout;
};

// Writes each token's latent record. Under f8_e4m3 the latent is quantised in groups of 128 with
// power-of-two scales; the rotated part is bf16.
struct StoreLatentArgs {
  TensorView latent;  // [tokens, c] f32 | bf16, after its norm
  TensorView rope;    // [tokens, r] same dtype, after its rotation
  PagedTokens tokens;
  CacheView cache;  // latent cache; its dtype f32 takes f32 input only
};
Status validate(const StoreLatentArgs& args);

// Writes each token's indexer key. Under f8_e4m3 the key is first rotated by the Hadamard matrix
// of Sylvester's order, divided by sqrt(d) and rounded to bf16, then quantised as one group with a
// power-of-two scale. f32 stores the key as it is.
struct StoreIndexKeyArgs {
  TensorView key;  // [tokens, d] f32 | bf16, after its norm and rotary rotation
  PagedTokens tokens;
  CacheView cache;  // indexer cache
};
Status validate(const StoreIndexKeyArgs& args);

// The indexer's queries as scored against the cache: rotated and quantised like its keys, those of
// padding rows too. Requires d to be a power of two.
struct QuantizeIndexQueryArgs {
  TensorView query;   // [tokens, index heads, d] bf16, after its rotary rotation
  TensorView values;  // [tokens, index heads, d] f8_e4m3
  TensorView scales;  // [tokens, index heads] f32
};
Status validate(const QuantizeIndexQueryArgs& args);

// scores[t, s] = key_scale[s] · Σ_h w[t, h] · max(0, query[t, h]·key[s])   for s <= positions[t],
// w[t, h] = weights[t, h] · (1/sqrt(heads)) · query_scale[t, h] · (1/sqrt(d)).  (docs/arithmetic.md
// 6) Without scales (exact) both scale factors are absent. The head sum uses lanes h mod 16 and the
// tree of products. Entries past a token's position are left as they were.
struct IndexScoresArgs {
  TensorView query;         // [tokens, index heads, d] f32 (cache f32) or f8_e4m3
  TensorView query_scales;  // [tokens, index heads] f32 with f8_e4m3, else absent
  TensorView weights;       // [tokens, index heads] f32: the raw output of weights_proj
  PagedTokens tokens;
  CacheView cache;    // indexer cache
  TensorView scores;  // [tokens, at least positions[t] + 1] f32
};
Status validate(const IndexScoresArgs& args);

// selected[t, :] = the min(k, positions[t] + 1) positions of the largest scores, ascending, then
// -1; count[t] = how many. −0 equals +0, NaN is below everything, ties go to the lowest position.
// A token with at most k visible positions selects all of them and its scores are not read.
struct SelectArgs {
  TensorView scores;     // [tokens, width] f32; rows may stop at a token's own position
  TensorView positions;  // [tokens] i32, >= 0, or -1 for padding
  TensorView selected;   // [tokens, k] i32; all -1 for padding
  TensorView count;      // [tokens] i32; 0 for padding
};
Status validate(const SelectArgs& args);

// Attention of each token over its selected positions, absorbed form (docs/arithmetic.md 5): key s
// is the record's c + r numbers, its value the first c of them.
//   score[s] = scale · query·key[s];  p[s] = exp(score[s] − max score)
//   y = Σ p'[s]·value[s] / Σ p[s],   p' = p rounded to the activation dtype
// The list is taken in ascending order in blocks of 64 entries: inside a block the value sum is a
// chain of fused multiply-adds in that order and Σ p uses lanes i mod 16 and the tree; block sums
// are added in order; one division at the end (docs/arithmetic.md 5).
struct SparseAttentionArgs {
  TensorView query;     // [tokens, heads, c + r] f32 | bf16: absorbed part, then rotated part
  TensorView selected;  // [tokens, k] i32, ascending
  TensorView count;     // [tokens] i32, 1..k; 0 for padding rows
  PagedTokens tokens;
  CacheView cache;  // latent cache
  TensorView y;     // [tokens, heads, c] same dtype as query
  float scale = 1;
};
Status validate(const SparseAttentionArgs& args);

// y[s, :] = record s of one sequence, [latent | rotated part], for the positions 0..positions-1:
// the numbers that attention reads in the cache. Under f8_e4m3 the latent is code · scale, rounded
// to y's dtype; that is exact in bf16, as are the other formats in a y at least as wide.
// Requires every page of those positions to be in the page table.
struct LoadLatentArgs {
  TensorView page_table;      // [sequences, pages per sequence] i32
  CacheView cache;            // latent cache; its dtype f32 gives f32 only
  TensorView y;               // [positions, c + r] f32 | bf16
  std::int32_t sequence = 0;  // a row of page_table
};
Status validate(const LoadLatentArgs& args);

// Attention of the tokens of one sequence over their selected positions, expanded form
// (docs/arithmetic.md 5): each head has its own keys and values, and the rotated part of a key is
// shared by all heads.
//   score[s] = scale · query·[key[s] | key_rope[s]], one dot product of width n + r
// From there on as SparseAttentionArgs: list blocks, sums, rounding of p and division.
// `key` and `value` are usually parts of one [positions, heads, n + v].
struct ExpandedAttentionArgs {
  TensorView query;     // [tokens, heads, n + r] f32 | bf16: plain part, then rotated part
  TensorView key;       // [positions, heads, n] same dtype as query
  TensorView key_rope;  // [positions, r] same dtype
  TensorView value;     // [positions, heads, v] same dtype
  TensorView selected;  // [tokens, k] i32, ascending, below positions
  TensorView count;     // [tokens] i32, 1..k: this form has no padding rows
  TensorView y;         // [tokens, heads, v] same dtype
  float scale = 1;
};
Status validate(const ExpandedAttentionArgs& args);

}  // namespace fathom::ops
