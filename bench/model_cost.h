#pragma once

#include <cstdint>
#include <vector>

#include "bench/machine.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "model/model.h"
#include "model/weights.h"

namespace fathom::bench {

// Counts which experts the rows of a step were sent to.
class RoutingProbe final : public model::Probe {
 public:
  // `layers` with the draft layer, where its rows are to be counted.
  RoutingProbe(std::int32_t layers, std::int32_t experts);
  void residual(std::int32_t layer, const TensorView& hidden) override;
  void selection(std::int32_t layer,
                 std::int64_t first_row,
                 const TensorView& selected,
                 const TensorView& count,
                 const TensorView& scores) override;
  void experts(std::int32_t layer, const TensorView& experts, const TensorView& weights) override;

  // How many of the layer's experts got rows in the latest step.
  std::int64_t hit(std::int32_t layer) const;

 private:
  std::vector<std::vector<bool>> hit_;  // [layers][experts]
};

// What a step cannot do without: every weight that some row needs read once, every cache record
// once for each row that attends to it, and the multiply-adds of both. Small things (norms,
// rotations, activations, the router's choice) are left out.
struct Cost {
  double bytes = 0;
  double flops = 0;

  double bandwidth_s(const Limits& limits) const { return bytes / limits.read_bytes_per_s; }
  double compute_s(const Limits& limits) const { return flops / limits.flops_per_s; }
  // Reading and computing overlap at best.
  double floor_s(const Limits& limits) const;
};

// What a part of a step cannot do without, and its name in ComponentOps.
struct Part {
  const char* component = nullptr;
  Cost cost;
};

Cost sum(const std::vector<Part>& parts);

// Parts that run one after the other, each as long as its floor: a part that reads does not overlap
// with the next one that computes.
double serial_s(const std::vector<Part>& parts, const Limits& limits);

// Of one step of the main model in the absorbed form, one part for each product (the products of
// a layer's experts with one of their three matrices are one), and for each layer's attention and
// index scores. `positions` are those of its rows; `probe` has seen the step.
std::vector<Part> step_parts(const config::ModelConfig& config,
                             const config::KvLayout& layout,
                             const model::Weights& weights,
                             const std::vector<std::int32_t>& positions,
                             std::int64_t logit_rows,
                             const RoutingProbe& probe);

// The same of the draft layer behind such a step: its projection of embedding and hidden state,
// its layer, and the head once more. `probe` has seen both. Requires a draft layer.
std::vector<Part> draft_parts(const config::ModelConfig& config,
                              const config::KvLayout& layout,
                              const model::Weights& weights,
                              const std::vector<std::int32_t>& positions,
                              std::int64_t logit_rows,
                              const RoutingProbe& probe);

// The sum of step_parts.
Cost step_cost(const config::ModelConfig& config,
               const config::KvLayout& layout,
               const model::Weights& weights,
               const std::vector<std::int32_t>& positions,
               std::int64_t logit_rows,
               const RoutingProbe& probe);

}  // namespace fathom::bench
