#pragma once

#include "backend/cpu/cpu_device.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/sample.h"

// One function per operation of ops::OpSet, one file per family.
namespace fathom::cpu {

// elementwise.cc
void embed(CpuStream& stream, const ops::EmbedArgs& args);
void fill_ids(CpuStream& stream, const ops::FillIdsArgs& args);
void scatter(CpuStream& stream, const ops::ScatterArgs& args);
void gather_rows(CpuStream& stream, const ops::GatherRowsArgs& args);
void rope(CpuStream& stream, const ops::RopeArgs& args);

// draft_rows.cc, adjust_logits.cc, logprobs.cc, sample.cc
void accept_drafts(CpuStream& stream, const ops::AcceptDraftsArgs& args);
void follow_rows(CpuStream& stream, const ops::FollowRowsArgs& args);
void advance_rows(CpuStream& stream, const ops::AdvanceRowsArgs& args);
void adjust_logits(CpuStream& stream, const ops::AdjustLogitsArgs& args);
void argmax(CpuStream& stream, const ops::ArgmaxArgs& args);
void logprobs(CpuStream& stream, const ops::LogprobsArgs& args);
void sample(CpuStream& stream, const ops::SampleArgs& args);

// norm.cc
void rms_norm(CpuStream& stream, const ops::RmsNormArgs& args);
void add_rms_norm(CpuStream& stream, const ops::AddRmsNormArgs& args);
void layer_norm(CpuStream& stream, const ops::LayerNormArgs& args);
void silu_mul(CpuStream& stream, const ops::SiluMulArgs& args);

// quantize.cc, store_cache.cc
void quantize(CpuStream& stream, const ops::QuantizeArgs& args);
void quantize_index_query(CpuStream& stream, const ops::QuantizeIndexQueryArgs& args);
void store_latent(CpuStream& stream, const ops::StoreLatentArgs& args);
void store_index_key(CpuStream& stream, const ops::StoreIndexKeyArgs& args);

// linear.cc
void linear(CpuStream& stream, const ops::LinearArgs& args);
void head_linear(CpuStream& stream, const ops::HeadLinearArgs& args);
void grouped_linear(CpuStream& stream, const ops::GroupedLinearArgs& args);

// indexer.cc, select.cc, attention.cc, load_latent.cc, expanded_attention.cc
void index_scores(CpuStream& stream, const ops::IndexScoresArgs& args);
void select(CpuStream& stream, const ops::SelectArgs& args);
void sparse_attention(CpuStream& stream, const ops::SparseAttentionArgs& args);
void load_latent(CpuStream& stream, const ops::LoadLatentArgs& args);
void expanded_attention(CpuStream& stream, const ops::ExpandedAttentionArgs& args);

// moe.cc
void gate(CpuStream& stream, const ops::GateArgs& args);
void group_by_expert(CpuStream& stream, const ops::GroupByExpertArgs& args);
void expand_rows(CpuStream& stream, const ops::ExpandRowsArgs& args);
void combine(CpuStream& stream, const ops::CombineArgs& args);

}  // namespace fathom::cpu
