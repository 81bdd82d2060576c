#include "backend/cuda/cuda_ops.h"

#include <string>

#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/fast_products.h"
#include "backend/cuda/launches.h"

namespace fathom::cuda {

namespace {

// Launches one operation; a failure is told with its name and the shape of its main operand.
template <class Args>
void launch(Stream& stream,
            void (*kernel)(CUstream_st*, const Args&),
            const Args& args,
            const char* name,
            const TensorView& operand) {
  auto& own = static_cast<CudaStream&>(stream);
  kernel(own.handle(), args);
  own.check(cudaGetLastError(), [&] { return std::string(name) + " of " + operand.describe(); });
}

// Rows [first, ...) of a product.
ops::LinearArgs rows_from(const ops::LinearArgs& args, std::int64_t first) {
  const std::int64_t rows = args.y.shape[0] - first;
  ops::LinearArgs rest = args;
  rest.x.values = args.x.values.rows(first, rows);
  if (args.x.scales.present()) rest.x.scales = args.x.scales.rows(first, rows);
  rest.y = args.y.rows(first, rows);
  return rest;
}

class CudaOps final : public ops::OpSet {
 public:
  explicit CudaOps(std::shared_ptr<FastProducts> fast) : fast_(std::move(fast)) {}

  void prepare(Stream& s) const override {
    if (fast_ != nullptr) static_cast<CudaStream&>(s).workspace();
  }
  void embed(Stream& s, const ops::EmbedArgs& a) const override {
    launch(s, cuda::embed, a, "embed", a.y);
  }
  void fill_ids(Stream& s, const ops::FillIdsArgs& a) const override {
    launch(s, cuda::fill_ids, a, "fill_ids", a.ids);
  }
  void scatter(Stream& s, const ops::ScatterArgs& a) const override {
    launch(s, cuda::scatter, a, "scatter", a.index);
  }
  void gather_rows(Stream& s, const ops::GatherRowsArgs& a) const override {
    launch(s, cuda::gather_rows, a, "gather_rows", a.y);
  }
  void rms_norm(Stream& s, const ops::RmsNormArgs& a) const override {
    launch(s, cuda::rms_norm, a, "rms_norm", a.y);
  }
  void add_rms_norm(Stream& s, const ops::AddRmsNormArgs& a) const override {
    launch(s, cuda::add_rms_norm, a, "add_rms_norm", a.y);
  }
  void layer_norm(Stream& s, const ops::LayerNormArgs& a) const override {
    launch(s, cuda::layer_norm, a, "layer_norm", a.y);
  }
  void silu_mul(Stream& s, const ops::SiluMulArgs& a) const override {
    launch(s, cuda::silu_mul, a, "silu_mul", a.y);
  }
  void rope(Stream& s, const ops::RopeArgs& a) const override {
    launch(s, cuda::rope, a, "rope", a.y);
  }
  void argmax(Stream& s, const ops::ArgmaxArgs& a) const override {
    launch(s, cuda::argmax, a, "argmax", a.logits);
  }
  void accept_drafts(Stream& s, const ops::AcceptDraftsArgs& a) const override {
    launch(s, cuda::accept_drafts, a, "accept_drafts", a.accepted);
  }
  void follow_rows(Stream& s, const ops::FollowRowsArgs& a) const override {
    launch(s, cuda::follow_rows, a, "follow_rows", a.from);
  }
  void advance_rows(Stream& s, const ops::AdvanceRowsArgs& a) const override {
    launch(s, cuda::advance_rows, a, "advance_rows", a.leader);
  }
  void quantize(Stream& s, const ops::QuantizeArgs& a) const override {
    launch(s, cuda::quantize, a, "quantize", a.x);
  }
  void linear(Stream& s, const ops::LinearArgs& a) const override {
    const std::int64_t done = fast_ == nullptr ? 0 : fast_->linear(static_cast<CudaStream&>(s), a);
    if (done == 0) {
      launch(s, cuda::linear, a, "linear", a.y);
    } else if (done < a.y.shape[0]) {
      launch(s, cuda::linear, rows_from(a, done), "linear", a.y);
    }
  }
  void head_linear(Stream& s, const ops::HeadLinearArgs& a) const override {
    if (fast_ != nullptr && fast_->head_linear(static_cast<CudaStream&>(s), a)) return;
    launch(s, cuda::head_linear, a, "head_linear", a.y);
  }
  void grouped_linear(Stream& s, const ops::GroupedLinearArgs& a) const override {
    launch(s, cuda::grouped_linear, a, "grouped_linear", a.y);
  }
  void store_latent(Stream& s, const ops::StoreLatentArgs& a) const override {
    launch(s, cuda::store_latent, a, "store_latent", a.latent);
  }
  void store_index_key(Stream& s, const ops::StoreIndexKeyArgs& a) const override {
    launch(s, cuda::store_index_key, a, "store_index_key", a.key);
  }
  void quantize_index_query(Stream& s, const ops::QuantizeIndexQueryArgs& a) const override {
    launch(s, cuda::quantize_index_query, a, "quantize_index_query", a.query);
  }
  void index_scores(Stream& s, const ops::IndexScoresArgs& a) const override {
    launch(s, cuda::index_scores, a, "index_scores", a.scores);
  }
  void select(Stream& s, const ops::SelectArgs& a) const override {
    launch(s, cuda::select, a, "select", a.selected);
  }
  void sparse_attention(Stream& s, const ops::SparseAttentionArgs& a) const override {
    launch(s, cuda::sparse_attention, a, "sparse_attention", a.selected);
  }
  void load_latent(Stream& s, const ops::LoadLatentArgs& a) const override {
    launch(s, cuda::load_latent, a, "load_latent", a.y);
  }
  void gate(Stream& s, const ops::GateArgs& a) const override {
    launch(s, cuda::gate, a, "gate", a.logits);
  }
  void group_by_expert(Stream& s, const ops::GroupByExpertArgs& a) const override {
    launch(s, cuda::group_by_expert, a, "group_by_expert", a.experts);
  }
  void expand_rows(Stream& s, const ops::ExpandRowsArgs& a) const override {
    launch(s, cuda::expand_rows, a, "expand_rows", a.y);
  }
  void combine(Stream& s, const ops::CombineArgs& a) const override {
    launch(s, cuda::combine, a, "combine", a.y);
  }
  void adjust_logits(Stream& s, const ops::AdjustLogitsArgs& a) const override {
    launch(s, cuda::adjust_logits, a, "adjust_logits", a.row);
  }
  void sample(Stream& s, const ops::SampleArgs& a) const override {
    launch(s, cuda::sample, a, "sample", a.logits);
  }
  void logprobs(Stream& s, const ops::LogprobsArgs& a) const override {
    launch(s, cuda::logprobs, a, "logprobs", a.logits);
  }
  void expanded_attention(Stream& s, const ops::ExpandedAttentionArgs& a) const override {
    launch(s, cuda::expanded_attention, a, "expanded_attention", a.y);
  }

 private:
  std::shared_ptr<FastProducts> fast_;
};

}  // namespace

std::unique_ptr<ops::OpSet> make_cuda_ops(std::shared_ptr<FastProducts> fast) {
  return std::make_unique<CudaOps>(std::move(fast));
}

}  // namespace fathom::cuda
