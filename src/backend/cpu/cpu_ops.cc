#include "backend/cpu/cpu_ops.h"

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {

namespace {

CpuStream& of(Stream& stream) { return static_cast<CpuStream&>(stream); }

class CpuOps final : public ops::OpSet {
 public:
  void embed(Stream& s, const ops::EmbedArgs& a) const override { cpu::embed(of(s), a); }
  void fill_ids(Stream& s, const ops::FillIdsArgs& a) const override { cpu::fill_ids(of(s), a); }
  void scatter(Stream& s, const ops::ScatterArgs& a) const override { cpu::scatter(of(s), a); }
  void gather_rows(Stream& s, const ops::GatherRowsArgs& a) const override {
    cpu::gather_rows(of(s), a);
  }
  void rms_norm(Stream& s, const ops::RmsNormArgs& a) const override { cpu::rms_norm(of(s), a); }
  void add_rms_norm(Stream& s, const ops::AddRmsNormArgs& a) const override {
    cpu::add_rms_norm(of(s), a);
  }
  void layer_norm(Stream& s, const ops::LayerNormArgs& a) const override {
    cpu::layer_norm(of(s), a);
  }
  void silu_mul(Stream& s, const ops::SiluMulArgs& a) const override { cpu::silu_mul(of(s), a); }
  void rope(Stream& s, const ops::RopeArgs& a) const override { cpu::rope(of(s), a); }
  void argmax(Stream& s, const ops::ArgmaxArgs& a) const override { cpu::argmax(of(s), a); }
  void adjust_logits(Stream& s, const ops::AdjustLogitsArgs& a) const override {
    cpu::adjust_logits(of(s), a);
  }
  void sample(Stream& s, const ops::SampleArgs& a) const override { cpu::sample(of(s), a); }
  void accept_drafts(Stream& s, const ops::AcceptDraftsArgs& a) const override {
    cpu::accept_drafts(of(s), a);
  }
  void follow_rows(Stream& s, const ops::FollowRowsArgs& a) const override {
    cpu::follow_rows(of(s), a);
  }
  void advance_rows(Stream& s, const ops::AdvanceRowsArgs& a) const override {
    cpu::advance_rows(of(s), a);
  }
  void logprobs(Stream& s, const ops::LogprobsArgs& a) const override { cpu::logprobs(of(s), a); }

  void quantize(Stream& s, const ops::QuantizeArgs& a) const override { cpu::quantize(of(s), a); }
  void linear(Stream& s, const ops::LinearArgs& a) const override { cpu::linear(of(s), a); }
  void head_linear(Stream& s, const ops::HeadLinearArgs& a) const override {
    cpu::head_linear(of(s), a);
  }
  void grouped_linear(Stream& s, const ops::GroupedLinearArgs& a) const override {
    cpu::grouped_linear(of(s), a);
  }

  void store_latent(Stream& s, const ops::StoreLatentArgs& a) const override {
    cpu::store_latent(of(s), a);
  }
  void store_index_key(Stream& s, const ops::StoreIndexKeyArgs& a) const override {
    cpu::store_index_key(of(s), a);
  }
  void quantize_index_query(Stream& s, const ops::QuantizeIndexQueryArgs& a) const override {
    cpu::quantize_index_query(of(s), a);
  }
  void index_scores(Stream& s, const ops::IndexScoresArgs& a) const override {
    cpu::index_scores(of(s), a);
  }
  void select(Stream& s, const ops::SelectArgs& a) const override { cpu::select(of(s), a); }
  void sparse_attention(Stream& s, const ops::SparseAttentionArgs& a) const override {
    cpu::sparse_attention(of(s), a);
  }
  void load_latent(Stream& s, const ops::LoadLatentArgs& a) const override {
    cpu::load_latent(of(s), a);
  }
  void expanded_attention(Stream& s, const ops::ExpandedAttentionArgs& a) const override {
    cpu::expanded_attention(of(s), a);
  }

  void gate(Stream& s, const ops::GateArgs& a) const override { cpu::gate(of(s), a); }
  void group_by_expert(Stream& s, const ops::GroupByExpertArgs& a) const override {
    cpu::group_by_expert(of(s), a);
  }
  void expand_rows(Stream& s, const ops::ExpandRowsArgs& a) const override {
    cpu::expand_rows(of(s), a);
  }
  void combine(Stream& s, const ops::CombineArgs& a) const override { cpu::combine(of(s), a); }
};

}  // namespace

std::unique_ptr<ops::OpSet> make_cpu_ops() { return std::make_unique<CpuOps>(); }

}  // namespace fathom::cpu
