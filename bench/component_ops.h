#pragma once

#include <map>
#include <string>

#include "ops/op_set.h"

namespace fathom::bench {

// Another OpSet's operations, each told by the component of a step that it belongs to, so that the
// step's time can be taken apart.
class ComponentOps : public ops::OpSet {
 public:
  // Every OpSet given must outlive it.
  explicit ComponentOps(const ops::OpSet& ops) : ops_(&ops) {}

  // The operations of the next steps.
  void use(const ops::OpSet& ops) { ops_ = &ops; }

  void embed(Stream& s, const ops::EmbedArgs& a) const override;
  void accept_drafts(Stream& s, const ops::AcceptDraftsArgs& a) const override;
  void follow_rows(Stream& s, const ops::FollowRowsArgs& a) const override;
  void advance_rows(Stream& s, const ops::AdvanceRowsArgs& a) const override;
  void fill_ids(Stream& s, const ops::FillIdsArgs& a) const override;
  void scatter(Stream& s, const ops::ScatterArgs& a) const override;
  void gather_rows(Stream& s, const ops::GatherRowsArgs& a) const override;
  void rms_norm(Stream& s, const ops::RmsNormArgs& a) const override;
  void add_rms_norm(Stream& s, const ops::AddRmsNormArgs& a) const override;
  void layer_norm(Stream& s, const ops::LayerNormArgs& a) const override;
  void silu_mul(Stream& s, const ops::SiluMulArgs& a) const override;
  void rope(Stream& s, const ops::RopeArgs& a) const override;
  void argmax(Stream& s, const ops::ArgmaxArgs& a) const override;
  void adjust_logits(Stream& s, const ops::AdjustLogitsArgs& a) const override;
  void sample(Stream& s, const ops::SampleArgs& a) const override;
  void logprobs(Stream& s, const ops::LogprobsArgs& a) const override;
  void quantize(Stream& s, const ops::QuantizeArgs& a) const override;
  void linear(Stream& s, const ops::LinearArgs& a) const override;
  void head_linear(Stream& s, const ops::HeadLinearArgs& a) const override;
  void grouped_linear(Stream& s, const ops::GroupedLinearArgs& a) const override;
  void store_latent(Stream& s, const ops::StoreLatentArgs& a) const override;
  void store_index_key(Stream& s, const ops::StoreIndexKeyArgs& a) const override;
  void quantize_index_query(Stream& s, const ops::QuantizeIndexQueryArgs& a) const override;
  void index_scores(Stream& s, const ops::IndexScoresArgs& a) const override;
  void select(Stream& s, const ops::SelectArgs& a) const override;
  void sparse_attention(Stream& s, const ops::SparseAttentionArgs& a) const override;
  void load_latent(Stream& s, const ops::LoadLatentArgs& a) const override;
  void expanded_attention(Stream& s, const ops::ExpandedAttentionArgs& a) const override;
  void gate(Stream& s, const ops::GateArgs& a) const override;
  void group_by_expert(Stream& s, const ops::GroupByExpertArgs& a) const override;
  void expand_rows(Stream& s, const ops::ExpandRowsArgs& a) const override;
  void combine(Stream& s, const ops::CombineArgs& a) const override;

 protected:
  // Around each operation.
  virtual void begin_op(const char* component, Stream& stream) const = 0;
  virtual void end_op(Stream& stream) const = 0;

 private:
  template <class Args>
  void timed(const char* component,
             void (ops::OpSet::*op)(Stream&, const Args&) const,
             Stream& stream,
             const Args& args) const;

  const ops::OpSet* ops_;
};

// On the CPU, whose operations are done when they return.
class ClockedOps final : public ComponentOps {
 public:
  using ComponentOps::ComponentOps;

  // Begins a step, from which times are taken anew.
  void begin() { seconds_.clear(); }
  // Of the operations since, by component.
  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  void begin_op(const char* component, Stream& stream) const override;
  void end_op(Stream& stream) const override;

  mutable std::map<std::string, double> seconds_;
  mutable double* running_ = nullptr;
  mutable double start_ = 0;
};

}  // namespace fathom::bench
