#pragma once

#include "ops/op_set.h"

struct CUstream_st;

// The kernels' launches, one for each operation; arguments are those of ops/, already validated.
// They enqueue and return; a failure is what cudaGetLastError() says afterwards.
namespace fathom::cuda {

void embed(CUstream_st* stream, const ops::EmbedArgs& args);
void fill_ids(CUstream_st* stream, const ops::FillIdsArgs& args);
void scatter(CUstream_st* stream, const ops::ScatterArgs& args);
void gather_rows(CUstream_st* stream, const ops::GatherRowsArgs& args);
void rms_norm(CUstream_st* stream, const ops::RmsNormArgs& args);
void add_rms_norm(CUstream_st* stream, const ops::AddRmsNormArgs& args);
void layer_norm(CUstream_st* stream, const ops::LayerNormArgs& args);
void silu_mul(CUstream_st* stream, const ops::SiluMulArgs& args);
void rope(CUstream_st* stream, const ops::RopeArgs& args);
void argmax(CUstream_st* stream, const ops::ArgmaxArgs& args);
void quantize(CUstream_st* stream, const ops::QuantizeArgs& args);
void linear(CUstream_st* stream, const ops::LinearArgs& args);
// to[g * rows + row] = scales[row, g] of the first `rows` rows.
void transpose_scales(CUstream_st* stream, const TensorView& scales, std::int64_t rows, float* to);
void head_linear(CUstream_st* stream, const ops::HeadLinearArgs& args);
void grouped_linear(CUstream_st* stream, const ops::GroupedLinearArgs& args);
void store_latent(CUstream_st* stream, const ops::StoreLatentArgs& args);
void store_index_key(CUstream_st* stream, const ops::StoreIndexKeyArgs& args);
void quantize_index_query(CUstream_st* stream, const ops::QuantizeIndexQueryArgs& args);
void index_scores(CUstream_st* stream, const ops::IndexScoresArgs& args);
void select(CUstream_st* stream, const ops::SelectArgs& args);
void sparse_attention(CUstream_st* stream, const ops::SparseAttentionArgs& args);
void load_latent(CUstream_st* stream, const ops::LoadLatentArgs& args);
void expanded_attention(CUstream_st* stream, const ops::ExpandedAttentionArgs& args);
void gate(CUstream_st* stream, const ops::GateArgs& args);
void group_by_expert(CUstream_st* stream, const ops::GroupByExpertArgs& args);
void expand_rows(CUstream_st* stream, const ops::ExpandRowsArgs& args);
void combine(CUstream_st* stream, const ops::CombineArgs& args);
void adjust_logits(CUstream_st* stream, const ops::AdjustLogitsArgs& args);
void accept_drafts(CUstream_st* stream, const ops::AcceptDraftsArgs& args);
void follow_rows(CUstream_st* stream, const ops::FollowRowsArgs& args);
void advance_rows(CUstream_st* stream, const ops::AdvanceRowsArgs& args);
void sample(CUstream_st* stream, const ops::SampleArgs& args);
void logprobs(CUstream_st* stream, const ops::LogprobsArgs& args);

}  // namespace fathom::cuda
