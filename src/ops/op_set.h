#pragma once

#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/sample.h"
#include "tensor/device.h"

namespace fathom::ops {

// One device's implementation of every operation: a backend is a class that implements this.
//
// Each call enqueues on `stream` and returns at once; it does not synchronize and can be captured
// in a graph: what it does depends on shapes and addresses alone, never on numbers on the device.
// A stream's scratch memory grows until the largest shapes have been seen once: a
// warm-up with those leaves nothing to allocate later. Each call requires validate(args).ok(), and
// that `stream` came from the OpSet's own device.
//
// Threads: an OpSet may be used from several threads, each with its own stream.
class OpSet {
 public:
  virtual ~OpSet() = default;

  // Takes what the operations need on `stream` whatever the shapes, which the first of them would
  // take otherwise: for a start that counts its memory. A failure is told by synchronize().
  virtual void prepare(Stream& /*stream*/) const {}

  virtual void embed(Stream& stream, const EmbedArgs& args) const = 0;
  virtual void fill_ids(Stream& stream, const FillIdsArgs& args) const = 0;
  virtual void scatter(Stream& stream, const ScatterArgs& args) const = 0;
  virtual void gather_rows(Stream& stream, const GatherRowsArgs& args) const = 0;
  virtual void rms_norm(Stream& stream, const RmsNormArgs& args) const = 0;
  virtual void add_rms_norm(Stream& stream, const AddRmsNormArgs& args) const = 0;
  virtual void layer_norm(Stream& stream, const LayerNormArgs& args) const = 0;
  virtual void silu_mul(Stream& stream, const SiluMulArgs& args) const = 0;
  virtual void rope(Stream& stream, const RopeArgs& args) const = 0;
  virtual void argmax(Stream& stream, const ArgmaxArgs& args) const = 0;
  virtual void adjust_logits(Stream& stream, const AdjustLogitsArgs& args) const = 0;
  virtual void sample(Stream& stream, const SampleArgs& args) const = 0;
  virtual void accept_drafts(Stream& stream, const AcceptDraftsArgs& args) const = 0;
  virtual void follow_rows(Stream& stream, const FollowRowsArgs& args) const = 0;
  virtual void advance_rows(Stream& stream, const AdvanceRowsArgs& args) const = 0;
  virtual void logprobs(Stream& stream, const LogprobsArgs& args) const = 0;

  virtual void quantize(Stream& stream, const QuantizeArgs& args) const = 0;
  virtual void linear(Stream& stream, const LinearArgs& args) const = 0;
  virtual void head_linear(Stream& stream, const HeadLinearArgs& args) const = 0;
  virtual void grouped_linear(Stream& stream, const GroupedLinearArgs& args) const = 0;

  virtual void store_latent(Stream& stream, const StoreLatentArgs& args) const = 0;
  virtual void store_index_key(Stream& stream, const StoreIndexKeyArgs& args) const = 0;
  virtual void quantize_index_query(Stream& stream, const QuantizeIndexQueryArgs& args) const = 0;
  virtual void index_scores(Stream& stream, const IndexScoresArgs& args) const = 0;
  virtual void select(Stream& stream, const SelectArgs& args) const = 0;
  virtual void sparse_attention(Stream& stream, const SparseAttentionArgs& args) const = 0;
  virtual void load_latent(Stream& stream, const LoadLatentArgs& args) const = 0;
  virtual void expanded_attention(Stream& stream, const ExpandedAttentionArgs& args) const = 0;

  virtual void gate(Stream& stream, const GateArgs& args) const = 0;
  virtual void group_by_expert(Stream& stream, const GroupByExpertArgs& args) const = 0;
  virtual void expand_rows(Stream& stream, const ExpandRowsArgs& args) const = 0;
  virtual void combine(Stream& stream, const CombineArgs& args) const = 0;
};

}  // namespace fathom::ops
