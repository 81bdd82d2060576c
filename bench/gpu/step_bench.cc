// The time of a decode step by component, on a model with DeepSeek-V3.2's head and expert
// dimensions but few layers and synthetic weights, beside the bytes that the step cannot do without
// at the rate at which this card copies.
//
// usage: cuda_step_bench [--layers N] [--batches 1,9,9/16,16,64,128] [--context 4096] [--json FILE]
//
// 9/16 is a step of 9 requests with padding up to 16 rows. Its floor is that of 9.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/fast_products.h"
#include "base/json.h"
#include "bench/gpu/step_options.h"
#include "bench/gpu/timed_ops.h"
#include "bench/median.h"
#include "bench/table.h"
#include "cache/kv_store.h"
#include "config/kv_layout.h"
#include "model/model.h"
#include "model/synthetic_weights.h"

namespace fathom::bench {
namespace {

constexpr int kWarmUp = 3;
// Of steps timed as a whole, and again of steps timed by component: fewer when steps are slow.
constexpr int kMaxSteps = 20;
constexpr int kMinSteps = 3;
constexpr double kMaxMilliseconds = 2500;

// Whether `steps` steps that took `milliseconds` together are enough.
bool enough(std::size_t steps, double milliseconds) {
  return steps >= kMaxSteps || (steps >= kMinSteps && milliseconds >= kMaxMilliseconds);
}

config::ModelConfig real_layers(std::int32_t moe_layers) {
  config::ModelConfig config;
  config.model_type = "deepseek_v32";
  config.vocab_size = 129280;
  config.hidden_size = 7168;
  config.num_hidden_layers = 1 + moe_layers;
  config.num_nextn_predict_layers = 0;
  config.first_k_dense_replace = 1;
  config.intermediate_size = 18432;
  config.moe_intermediate_size = 2048;
  config.n_routed_experts = 256;
  config.n_shared_experts = 1;
  config.num_experts_per_tok = 8;
  config.n_group = 8;
  config.topk_group = 4;
  config.routed_scaling_factor = 2.5F;
  config.num_attention_heads = 128;
  config.q_lora_rank = 1536;
  config.kv_lora_rank = 512;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.v_head_dim = 128;
  config.index_n_heads = 64;
  config.index_head_dim = 128;
  config.index_topk = 2048;
  config.max_position_embeddings = 163840;
  config.quantization = config::QuantizationConfig{true};
  return config;
}

template <class T>
TensorView upload(Device& device,
                  Stream& stream,
                  const std::vector<T>& numbers,
                  std::vector<Buffer>& buffers) {
  buffers.push_back(device.allocate(numbers.size() * sizeof(T)).value());
  device.copy_to_device(stream, buffers.back().data(), numbers.data(), numbers.size() * sizeof(T));
  FATHOM_CHECK(stream.synchronize().ok());
  return {buffers.back().data(), DType::kI32, {static_cast<std::int64_t>(numbers.size())}};
}

// Bytes read and written by copies inside the card, per second: the median of ten copies of 1 GiB.
double copy_rate(Device& device, cuda::CudaStream& stream) {
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  const Buffer from = device.allocate(kBytes).value();
  const Buffer to = device.allocate(kBytes).value();
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  std::vector<double> seconds;
  for (int i = 0; i < 12; ++i) {
    cudaEventRecord(begin, stream.handle());
    cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, stream.handle());
    cudaEventRecord(end, stream.handle());
    cudaEventSynchronize(end);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    if (i >= 2) seconds.push_back(static_cast<double>(milliseconds) / 1e3);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return 2 * static_cast<double>(kBytes) / median(seconds);
}

double bytes_of(const TensorView& view) {
  return static_cast<double>(view.elements()) * static_cast<double>(size_of(view.dtype));
}
double bytes_of(const WeightView& weight) {
  return bytes_of(weight.values) + (weight.scales.present() ? bytes_of(weight.scales) : 0);
}
double bytes_of(const model::MlpWeights& mlp) {
  return bytes_of(mlp.gate) + bytes_of(mlp.up) + bytes_of(mlp.down);
}

// What a step reads at least, by the components of TimedOps: weights once, of the experts those
// that `rows` rows choose when choices are even, and the cache records that rows attend to.
std::map<std::string, double> floor_bytes(const config::ModelConfig& config,
                                          const config::KvLayout& layout,
                                          const model::Weights& weights,
                                          double rows,
                                          double context) {
  std::map<std::string, double> bytes;
  const double share = static_cast<double>(config.num_experts_per_tok) / config.n_routed_experts;
  const double hit = 1 - std::pow(1 - share, rows);
  for (const model::LayerWeights& layer : weights.layers) {
    const model::AttentionWeights& attention = layer.attention;
    for (const WeightView* weight : {&attention.q_a, &attention.q_b, &attention.kv_a, &attention.o,
                                     &attention.index_q_b, &attention.index_k}) {
      bytes["FP8 products"] += bytes_of(*weight);
    }
    bytes["absorbed kv_b"] += bytes_of(attention.key_up_transposed) + bytes_of(attention.value_up);
    bytes["router, index weights"] += bytes_of(attention.index_weights);
    const double selected = std::min(context, static_cast<double>(config.index_topk));
    bytes["sparse attention"] +=
        rows * selected * static_cast<double>(layout.latent_record_bytes());
    bytes["indexer scores"] += rows * context * static_cast<double>(layout.index_record_bytes());
    if (!layer.moe) {
      bytes["FP8 products"] += bytes_of(layer.dense);
      continue;
    }
    bytes["router, index weights"] += bytes_of(layer.router);
    bytes["FP8 products"] += bytes_of(layer.shared);
    bytes["routed experts"] +=
        hit * config.n_routed_experts *
        bytes_of(model::MlpWeights{layer.expert_gate.front(), layer.expert_up.front(),
                                   layer.expert_down.front()});
  }
  bytes["head"] = bytes_of(weights.head);
  return bytes;
}

struct Component {
  std::string name;
  double milliseconds = 0;
  double bytes = 0;
  double floor_ms = 0;
};

struct Summary {
  StepBatch batch;
  std::size_t steps = 0;
  double milliseconds = 0;
  double floor_ms = 0;
  std::vector<Component> components;
};

Json json_of(const Summary& summary) {
  Json components = Json::array();
  for (const Component& one : summary.components) {
    Json component = Json::object();
    component.set("component", Json::string(one.name));
    component.set("ms", Json::number(one.milliseconds));
    component.set("bytes", Json::number(one.bytes));
    component.set("floor_ms", Json::number(one.floor_ms));
    components.as_array()->push_back(std::move(component));
  }
  Json batch = Json::object();
  batch.set("batch", Json::integer(summary.batch.requests));
  batch.set("rows", Json::integer(summary.batch.rows));
  batch.set("steps", Json::integer(static_cast<std::int64_t>(summary.steps)));
  batch.set("step_ms", Json::number(summary.milliseconds));
  batch.set("floor_ms", Json::number(summary.floor_ms));
  batch.set("components", std::move(components));
  return batch;
}

void print_summaries(const std::vector<Summary>& summaries) {
  std::printf("\n");
  const Table table({{"batch", 8}, {"step ms", 9}, {"floor ms", 9}, {"times", 7}, {"tokens/s", 9}});
  for (const Summary& one : summaries) {
    table.row({one.batch.name(), number(one.milliseconds, 2), number(one.floor_ms, 2),
               number(one.milliseconds / one.floor_ms, 1),
               number(1e3 * one.batch.requests / one.milliseconds, 0)});
  }
}

class Bench {
 public:
  Bench(cuda::CudaDevice& device, const StepOptions& options)
      : device_(device),
        config_(real_layers(options.moe_layers)),
        context_(options.context),
        most_(std::ranges::max(options.batches, {}, &StepBatch::rows).rows),
        canonical_(cuda::make_cuda_ops()),
        timed_(*canonical_),
        stream_(device.create_stream()) {}

  Status make() {
    auto weights = model::make_synthetic_weights(config_, device_, /*seed=*/1);
    FATHOM_RETURN_IF_ERROR(weights.status());
    weights_ = std::move(weights).value();
    model::ModelOptions options;
    options.max_tokens = most_;
    options.max_logit_rows = most_;
    options.max_positions = context_;
    auto model = model::Model::create(config_, *weights_, timed_, device_, options);
    FATHOM_RETURN_IF_ERROR(model.status());
    model_ = std::move(model).value();
    const auto layout =
        config::make_kv_layout(config_, config::Arithmetic::kDeployed, config::KvCacheDType::kBF16);
    FATHOM_RETURN_IF_ERROR(layout.status());
    pages_each_ = static_cast<std::int32_t>(ceil_div(context_, config::kPageTokens));
    auto store =
        cache::KvStore::create(device_, *layout, config_.layers_with_cache(), pages_each_ * most_);
    FATHOM_RETURN_IF_ERROR(store.status());
    store_ = std::make_unique<cache::KvStore>(std::move(store).value());
    rate_ = copy_rate(device_, static_cast<cuda::CudaStream&>(*stream_));
    std::printf("%s, copies at %.2f TB/s; 1 dense and %d MoE layers, context %d\n",
                std::string(device_.name()).c_str(), rate_ / 1e12, config_.num_hidden_layers - 1,
                context_);
    return {};
  }

  // Steps from now on: with the deterministic products, or by cuBLASLt where it serves.
  Status use_fast(bool fast) {
    if (!fast) {
      timed_.use(*canonical_);
      return {};
    }
    auto products = cuda::FastProducts::open();
    FATHOM_RETURN_IF_ERROR(products.status());
    fast_ = cuda::make_cuda_ops(std::move(products).value());
    timed_.use(*fast_);
    return {};
  }

  Summary run(const StepBatch& batch) {
    const model::Batch step = make_batch(batch);
    timed_.begin(false);
    for (int i = 0; i < kWarmUp; ++i) timed_step(step);
    std::vector<double> whole;
    for (double sum = 0; !enough(whole.size(), sum); sum += whole.back()) {
      timed_.begin(false);
      whole.push_back(timed_step(step));
    }
    std::map<std::string, std::vector<double>> parts;
    double sum = 0;
    for (std::size_t steps = 0; !enough(steps, sum); ++steps) {
      timed_.begin(true);
      sum += timed_step(step);
      for (const auto& [name, milliseconds] : timed_.milliseconds()) {
        parts[name].push_back(milliseconds);
      }
    }
    Summary summary;
    summary.batch = batch;
    summary.steps = whole.size();
    summary.milliseconds = median(whole);
    const auto bytes = floor_bytes(config_, store_->layout(), *weights_, batch.requests, context_);
    for (const auto& [name, times] : parts) {
      const auto found = bytes.find(name);
      const double counted = found == bytes.end() ? 0 : found->second;
      const double floor_ms = counted / rate_ * 1e3;
      summary.floor_ms += floor_ms;
      summary.components.push_back({name, median(times), counted, floor_ms});
    }
    print(summary);
    return summary;
  }

  double rate() const { return rate_; }

 private:
  static void print(const Summary& summary) {
    std::printf("\nbatch %s, %zu steps\n", summary.batch.name().c_str(), summary.steps);
    const Table table({{"component", 24}, {"ms", 9}, {"bytes", 10}, {"floor ms", 9}, {"times", 7}});
    double sum = 0;
    for (const Component& one : summary.components) {
      sum += one.milliseconds;
      const bool counted = one.bytes > 0;
      table.row({one.name, number(one.milliseconds, 3),
                 counted ? number(one.bytes / 1e6, 1) + " MB" : "-",
                 counted ? number(one.floor_ms, 3) : "-",
                 counted ? number(one.milliseconds / one.floor_ms, 1) : "-"});
    }
    table.row({"sum of components", number(sum, 3), "", number(summary.floor_ms, 3),
               number(sum / summary.floor_ms, 1)});
  }

  model::Batch make_batch(const StepBatch& batch) {
    buffers_.clear();
    std::vector<std::int32_t> rows(static_cast<std::size_t>(batch.rows));
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<std::int32_t> ids = rows;
    for (std::int32_t& id : ids) id = (id * 7919 + 13) % config_.vocab_size;
    std::vector<std::int32_t> positions(rows.size(), context_ - 1);
    for (std::size_t row = static_cast<std::size_t>(batch.requests); row < rows.size(); ++row) {
      ids[row] = 0;  // as the engine lays padding out
      positions[row] = -1;
    }
    std::vector<std::int32_t> pages(static_cast<std::size_t>(batch.rows * pages_each_));
    std::iota(pages.begin(), pages.end(), 0);
    model::Batch step;
    step.ids = upload(device_, *stream_, ids, buffers_);
    step.tokens.positions = upload(device_, *stream_, positions, buffers_);
    step.tokens.sequences = upload(device_, *stream_, rows, buffers_);
    step.tokens.page_table =
        upload(device_, *stream_, pages, buffers_).reshape({batch.rows, pages_each_});
    step.logit_rows = upload(device_, *stream_, rows, buffers_);
    step.max_position = context_ - 1;
    return step;
  }

  // Milliseconds of the step between events of the device.
  double timed_step(const model::Batch& step) {
    auto& stream = static_cast<cuda::CudaStream&>(*stream_);
    if (begin_ == nullptr) {
      cudaEventCreate(&begin_);
      cudaEventCreate(&end_);
    }
    cudaEventRecord(begin_, stream.handle());
    const auto output = model_->forward(stream, step, *store_);
    FATHOM_CHECK_MSG(output.ok(), output.status().message());
    cudaEventRecord(end_, stream.handle());
    const Status done = stream.synchronize();
    FATHOM_CHECK_MSG(done.ok(), done.message());
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin_, end_);
    return static_cast<double>(milliseconds);
  }

  cuda::CudaDevice& device_;
  config::ModelConfig config_;
  std::int32_t context_;
  std::int32_t most_;  // rows of the largest batch
  std::unique_ptr<ops::OpSet> canonical_;
  std::unique_ptr<ops::OpSet> fast_;
  TimedOps timed_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<cache::KvStore> store_;
  std::vector<Buffer> buffers_;
  std::int32_t pages_each_ = 0;
  double rate_ = 0;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

Status run(const StepOptions& options) {
  auto device = cuda::CudaDevice::open(0);
  FATHOM_RETURN_IF_ERROR(device.status());
  Bench bench(**device, options);
  FATHOM_RETURN_IF_ERROR(bench.make());
  Json json = Json::object();
  json.set("card", Json::string(std::string((*device)->name())));
  json.set("copy_bytes_per_s", Json::number(bench.rate()));
  json.set("moe_layers", Json::integer(options.moe_layers));
  json.set("context", Json::integer(options.context));
  for (const bool fast : {false, true}) {
    std::printf("\n%s\n", fast ? "products by cuBLASLt where it serves" : "deterministic");
    FATHOM_RETURN_IF_ERROR(bench.use_fast(fast));
    std::vector<Summary> summaries;
    Json batches = Json::array();
    for (const StepBatch& batch : options.batches) {
      summaries.push_back(bench.run(batch));
      batches.as_array()->push_back(json_of(summaries.back()));
    }
    print_summaries(summaries);
    json.set(fast ? "cublaslt" : "deterministic", std::move(batches));
  }
  if (options.json.empty()) return {};
  std::ofstream file(options.json, std::ios::trunc);
  file << to_json(json) << '\n';
  file.close();
  if (file.good()) return {};
  return {Code::kUnavailable, "--json " + options.json + ": cannot be written"};
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) {
  const auto options = fathom::bench::parse_step_options(std::span(argv + 1, argv + argc));
  if (!options.ok()) {
    std::fprintf(stderr, "cuda_step_bench: %s\n", options.status().message().c_str());
    return 2;
  }
  const fathom::Status done = fathom::bench::run(*options);
  if (!done.ok()) std::fprintf(stderr, "cuda_step_bench: %s\n", done.message().c_str());
  return done.ok() ? 0 : 1;
}
