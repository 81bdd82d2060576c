#include "bench/gpu/timed_ops.h"

#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_device.h"
#include "base/check.h"

namespace fathom::bench {

namespace {

void require(cudaError_t code) { FATHOM_CHECK_MSG(code == cudaSuccess, cudaGetErrorString(code)); }

// The head is the only product with plain weights and float32 results; the router's has few rows.
const char* product_name(const ops::LinearArgs& args) {
  if (args.y.dtype != DType::kF32) return "FP8 products";
  return args.w.values.shape[0] > 4096 ? "head" : "router, index weights";
}

}  // namespace

TimedOps::TimedOps(const ops::OpSet& ops) : ops_(&ops) {}

TimedOps::~TimedOps() {
  for (const Interval& interval : intervals_) {
    cudaEventDestroy(interval.begin);
    cudaEventDestroy(interval.end);
  }
}

void TimedOps::begin(bool timing) {
  timing_ = timing;
  used_ = 0;
}

std::map<std::string, double> TimedOps::milliseconds() const {
  std::map<std::string, double> sums;
  for (std::size_t i = 0; i < used_; ++i) {
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, intervals_[i].begin, intervals_[i].end));
    sums[intervals_[i].component] += static_cast<double>(milliseconds);
  }
  return sums;
}

template <class Args>
void TimedOps::timed(const char* component,
                     void (ops::OpSet::*op)(Stream&, const Args&) const,
                     Stream& stream,
                     const Args& args) const {
  if (!timing_) return (ops_->*op)(stream, args);
  if (used_ == intervals_.size()) {
    Interval& made = intervals_.emplace_back();
    require(cudaEventCreate(&made.begin));
    require(cudaEventCreate(&made.end));
  }
  Interval& interval = intervals_[used_++];
  CUstream_st* const handle = static_cast<cuda::CudaStream&>(stream).handle();
  interval.component = component;
  require(cudaEventRecord(interval.begin, handle));
  (ops_->*op)(stream, args);
  require(cudaEventRecord(interval.end, handle));
}

void TimedOps::embed(Stream& s, const ops::EmbedArgs& a) const {
  timed("embed, gather", &ops::OpSet::embed, s, a);
}
void TimedOps::fill_ids(Stream& s, const ops::FillIdsArgs& a) const {
  timed("embed, gather", &ops::OpSet::fill_ids, s, a);
}
void TimedOps::scatter(Stream& s, const ops::ScatterArgs& a) const {
  timed("embed, gather", &ops::OpSet::scatter, s, a);
}
void TimedOps::gather_rows(Stream& s, const ops::GatherRowsArgs& a) const {
  timed("embed, gather", &ops::OpSet::gather_rows, s, a);
}
void TimedOps::rms_norm(Stream& s, const ops::RmsNormArgs& a) const {
  timed("norms", &ops::OpSet::rms_norm, s, a);
}
void TimedOps::add_rms_norm(Stream& s, const ops::AddRmsNormArgs& a) const {
  timed("norms", &ops::OpSet::add_rms_norm, s, a);
}
void TimedOps::layer_norm(Stream& s, const ops::LayerNormArgs& a) const {
  timed("norms", &ops::OpSet::layer_norm, s, a);
}
void TimedOps::silu_mul(Stream& s, const ops::SiluMulArgs& a) const {
  timed("activation", &ops::OpSet::silu_mul, s, a);
}
void TimedOps::rope(Stream& s, const ops::RopeArgs& a) const {
  timed("rope", &ops::OpSet::rope, s, a);
}
void TimedOps::argmax(Stream& s, const ops::ArgmaxArgs& a) const {
  timed("sampling", &ops::OpSet::argmax, s, a);
}
void TimedOps::adjust_logits(Stream& s, const ops::AdjustLogitsArgs& a) const {
  timed("sampling", &ops::OpSet::adjust_logits, s, a);
}
void TimedOps::sample(Stream& s, const ops::SampleArgs& a) const {
  timed("sampling", &ops::OpSet::sample, s, a);
}
void TimedOps::accept_drafts(Stream& s, const ops::AcceptDraftsArgs& a) const {
  timed("sampling", &ops::OpSet::accept_drafts, s, a);
}
void TimedOps::follow_rows(Stream& s, const ops::FollowRowsArgs& a) const {
  timed("sampling", &ops::OpSet::follow_rows, s, a);
}
void TimedOps::advance_rows(Stream& s, const ops::AdvanceRowsArgs& a) const {
  timed("sampling", &ops::OpSet::advance_rows, s, a);
}
void TimedOps::logprobs(Stream& s, const ops::LogprobsArgs& a) const {
  timed("sampling", &ops::OpSet::logprobs, s, a);
}
void TimedOps::quantize(Stream& s, const ops::QuantizeArgs& a) const {
  timed("quantize", &ops::OpSet::quantize, s, a);
}
void TimedOps::linear(Stream& s, const ops::LinearArgs& a) const {
  timed(product_name(a), &ops::OpSet::linear, s, a);
}
void TimedOps::head_linear(Stream& s, const ops::HeadLinearArgs& a) const {
  timed("absorbed kv_b", &ops::OpSet::head_linear, s, a);
}
void TimedOps::grouped_linear(Stream& s, const ops::GroupedLinearArgs& a) const {
  timed("routed experts", &ops::OpSet::grouped_linear, s, a);
}
void TimedOps::store_latent(Stream& s, const ops::StoreLatentArgs& a) const {
  timed("cache rows", &ops::OpSet::store_latent, s, a);
}
void TimedOps::store_index_key(Stream& s, const ops::StoreIndexKeyArgs& a) const {
  timed("cache rows", &ops::OpSet::store_index_key, s, a);
}
void TimedOps::quantize_index_query(Stream& s, const ops::QuantizeIndexQueryArgs& a) const {
  timed("quantize", &ops::OpSet::quantize_index_query, s, a);
}
void TimedOps::index_scores(Stream& s, const ops::IndexScoresArgs& a) const {
  timed("indexer scores", &ops::OpSet::index_scores, s, a);
}
void TimedOps::select(Stream& s, const ops::SelectArgs& a) const {
  timed("selection", &ops::OpSet::select, s, a);
}
void TimedOps::sparse_attention(Stream& s, const ops::SparseAttentionArgs& a) const {
  timed("sparse attention", &ops::OpSet::sparse_attention, s, a);
}
void TimedOps::load_latent(Stream& s, const ops::LoadLatentArgs& a) const {
  timed("sparse attention", &ops::OpSet::load_latent, s, a);
}
void TimedOps::expanded_attention(Stream& s, const ops::ExpandedAttentionArgs& a) const {
  timed("sparse attention", &ops::OpSet::expanded_attention, s, a);
}
void TimedOps::gate(Stream& s, const ops::GateArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::gate, s, a);
}
void TimedOps::group_by_expert(Stream& s, const ops::GroupByExpertArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::group_by_expert, s, a);
}
void TimedOps::expand_rows(Stream& s, const ops::ExpandRowsArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::expand_rows, s, a);
}
void TimedOps::combine(Stream& s, const ops::CombineArgs& a) const {
  timed("gate, permute, combine", &ops::OpSet::combine, s, a);
}

}  // namespace fathom::bench
