#include "bench/component_ops.h"

#include "bench/machine.h"

namespace fathom::bench {

namespace {

// The head is the only product with plain weights and float32 results; the router's has few rows.
const char* product_name(const ops::LinearArgs& args) {
  if (args.y.dtype != DType::kF32) return "FP8 products";
  return args.w.values.shape[0] > 1024 ? "head" : "router, index weights";
}

}  // namespace

template <class Args>
void ComponentOps::timed(const char* component,
                         void (ops::OpSet::*op)(Stream&, const Args&) const,
                         Stream& stream,
                         const Args& args) const {
  begin_op(component, stream);
  (ops_->*op)(stream, args);
  end_op(stream);
}

void ComponentOps::embed(Stream& s, const ops::EmbedArgs& a) const {
  timed("embed, gather", &ops::OpSet::embed, s, a);
}
void ComponentOps::fill_ids(Stream& s, const ops::FillIdsArgs& a) const {
  timed("embed, gather", &ops::OpSet::fill_ids, s, a);
}
void ComponentOps::scatter(Stream& s, const ops::ScatterArgs& a) const {
  timed("embed, gather", &ops::OpSet::scatter, s, a);
}
void ComponentOps::gather_rows(Stream& s, const ops::GatherRowsArgs& a) const {
  timed("embed, gather", &ops::OpSet::gather_rows, s, a);
}
void ComponentOps::rms_norm(Stream& s, const ops::RmsNormArgs& a) const {
  timed("norms", &ops::OpSet::rms_norm, s, a);
}
void ComponentOps::add_rms_norm(Stream& s, const ops::AddRmsNormArgs& a) const {
  timed("norms", &ops::OpSet::add_rms_norm, s, a);
}
void ComponentOps::layer_norm(Stream& s, const ops::LayerNormArgs& a) const {
  timed("norms", &ops::OpSet::layer_norm, s, a);
}
void ComponentOps::silu_mul(Stream& s, const ops::SiluMulArgs& a) const {
  timed("activation", &ops::OpSet::silu_mul, s, a);
}
void ComponentOps::rope(Stream& s, const ops::RopeArgs& a) const {
  timed("rope", &ops::OpSet::rope, s, a);
}
void ComponentOps::argmax(Stream& s, const ops::ArgmaxArgs& a) const {
  timed("sampling", &ops::OpSet::argmax, s, a);
}
void ComponentOps::adjust_logits(Stream& s, const ops::AdjustLogitsArgs& a) const {
  timed("sampling", &ops::OpSet::adjust_logits, s, a);
}
void ComponentOps::sample(Stream& s, const ops::SampleArgs& a) const {
  timed("sampling", &ops::OpSet::sample, s, a);
}
void ComponentOps::accept_drafts(Stream& s, const ops::AcceptDraftsArgs& a) const {
  timed("sampling", &ops::OpSet::accept_drafts, s, a);
}
void ComponentOps::follow_rows(Stream& s, const ops::FollowRowsArgs& a) const {
  timed("sampling", &ops::OpSet::follow_rows, s, a);
}
void ComponentOps::advance_rows(Stream& s, const ops::AdvanceRowsArgs& a) const {
  timed("sampling", &ops::OpSet::advance_rows, s, a);
}
void ComponentOps::logprobs(Stream& s, const ops::LogprobsArgs& a) const {
  timed("sampling", &ops::OpSet::logprobs, s, a);
}
void ComponentOps::quantize(Stream& s, const ops::QuantizeArgs& a) const {
  timed("quantize", &ops::OpSet::quantize, s, a);
}
void ComponentOps::linear(Stream& s, const ops::LinearArgs& a) const {
  timed(product_name(a), &ops::OpSet::linear, s, a);
}
void ComponentOps::head_linear(Stream& s, const ops::HeadLinearArgs& a) const {
  timed("absorbed kv_b", &ops::OpSet::head_linear, s, a);
}
void ComponentOps::grouped_linear(Stream& s, const ops::GroupedLinearArgs& a) const {
  timed("routed experts", &ops::OpSet::grouped_linear, s, a);
}
void ComponentOps::store_latent(Stream& s, const ops::StoreLatentArgs& a) const {
  timed("cache rows", &ops::OpSet::store_latent, s, a);
}
void ComponentOps::store_index_key(Stream& s, const ops::StoreIndexKeyArgs& a) const {
  timed("cache rows", &ops::OpSet::store_index_key, s, a);
}
void ComponentOps::quantize_index_query(Stream& s, const ops::QuantizeIndexQueryArgs& a) const {
  timed("quantize", &ops::OpSet::quantize_index_query, s, a);
}
void ComponentOps::index_scores(Stream& s, const ops::IndexScoresArgs& a) const {
  timed("indexer scores", &ops::OpSet::index_scores, s, a);
}
void ComponentOps::select(Stream& s, const ops::SelectArgs& a) const {
  timed("selection", &ops::OpSet::select, s, a);
}
void ComponentOps::sparse_attention(Stream& s, const ops::SparseAttentionArgs& a) const {
  timed("sparse attention", &ops::OpSet::sparse_attention, s, a);
}
void ComponentOps::load_latent(Stream& s, const ops::LoadLatentArgs& a) const {
  timed("sparse attention", &ops::OpSet::load_latent, s, a);
}
void ComponentOps::expanded_attention(Stream& s, const ops::ExpandedAttentionArgs& a) const {
  timed("sparse attention", &ops::OpSet::expanded_attention, s, a);
}
void ComponentOps::gate(Stream& s, const ops::GateArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::gate, s, a);
}
void ComponentOps::group_by_expert(Stream& s, const ops::GroupByExpertArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::group_by_expert, s, a);
}
void ComponentOps::expand_rows(Stream& s, const ops::ExpandRowsArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::expand_rows, s, a);
}
void ComponentOps::combine(Stream& s, const ops::CombineArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::combine, s, a);
}

void ClockedOps::begin_op(const char* component, Stream& /*stream*/) const {
  running_ = &seconds_[component];
  start_ = now_s();
}
void ClockedOps::end_op(Stream& /*stream*/) const { *running_ += now_s() - start_; }

}  // namespace fathom::bench
