#include "bench/gpu/synthetic_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

namespace fathom::bench {

namespace {

constexpr std::size_t kPatternBytes = std::size_t{64} << 20;
constexpr std::size_t kBufferBytes = std::size_t{1} << 30;
constexpr float kCodeSize = 0.5F;  // of a typical FP8 number below

class Maker {
 public:
  Maker(const config::ModelConfig& config, Device& device, SyntheticWeights& made)
      : config_(config), device_(device), made_(made), stream_(device.create_stream()) {}

  Status make() {
    FATHOM_RETURN_IF_ERROR(make_pattern());
    model::Weights& weights = made_.weights;
    weights.embed = numbers(DType::kBF16, {config_.vocab_size, config_.hidden_size}, 1);
    weights.final_norm = ones({config_.hidden_size});
    weights.head.values = numbers(DType::kBF16, {config_.vocab_size, config_.hidden_size}, 0.01F);
    for (std::int32_t i = 0; i < config_.num_hidden_layers; ++i) {
      layer(config_.is_moe_layer(i), weights.layers.emplace_back());
      FATHOM_RETURN_IF_ERROR(failure_);
    }
    FATHOM_RETURN_IF_ERROR(failure_);
    return stream_->synchronize();
  }

 private:
  // FP8 codes of magnitude below 1.75, both signs.
  Status make_pattern() {
    Result<Buffer> host = device_.allocate_host(kPatternBytes);
    FATHOM_RETURN_IF_ERROR(host.status());
    pattern_ = std::move(host).value();
    std::mt19937_64 random(1);
    auto* words = static_cast<std::uint64_t*>(pattern_.data());
    for (std::size_t i = 0; i < kPatternBytes / sizeof(std::uint64_t); ++i) {
      words[i] = random() & 0xBFBFBFBFBFBFBFBFU & ~0x0808080808080808U;
    }
    return {};
  }

  TensorView take(DType dtype, std::initializer_list<std::int64_t> shape) {
    TensorView view(nullptr, dtype, shape);
    if (!failure_.ok()) return view;
    const std::size_t bytes =
        (static_cast<std::size_t>(view.elements()) * size_of(dtype) + 255) / 256 * 256;
    if (bytes > left_) {
      const std::size_t size = std::max(bytes, kBufferBytes);
      Result<Buffer> buffer = device_.allocate(size);
      if (!buffer.ok()) {
        failure_ = buffer.status();
        return view;
      }
      next_ = static_cast<std::byte*>(buffer->data());
      left_ = size;
      made_.buffers.push_back(std::move(buffer).value());
    }
    view.data = next_;
    next_ += bytes;
    left_ -= bytes;
    return view;
  }

  // Copies `from` over and over; it must stay until the stream is synchronized.
  void fill(const TensorView& view, const void* from, std::size_t from_bytes) {
    if (!failure_.ok()) return;
    const std::size_t bytes = static_cast<std::size_t>(view.elements()) * size_of(view.dtype);
    for (std::size_t done = 0; done < bytes; done += from_bytes) {
      device_.copy_to_device(*stream_, static_cast<std::byte*>(view.data) + done, from,
                             std::min(from_bytes, bytes - done));
    }
  }

  // bf16 or f32 numbers of about `size`.
  TensorView numbers(DType dtype, std::initializer_list<std::int64_t> shape, float size) {
    const TensorView view = take(dtype, shape);
    constexpr std::size_t kNumbers = std::size_t{1} << 22;
    std::normal_distribution<float> normal(0, size);
    std::mt19937 random(2);
    std::vector<std::byte>& bytes = host_.emplace_back(
        std::min(kNumbers, static_cast<std::size_t>(view.elements())) * size_of(dtype));
    for (std::size_t i = 0; i < bytes.size() / size_of(dtype); ++i) {
      const float number = normal(random);
      if (dtype == DType::kF32) {
        std::memcpy(bytes.data() + i * 4, &number, 4);
      } else {
        const BFloat16 narrow = to_bfloat16(number);
        std::memcpy(bytes.data() + i * 2, &narrow, 2);
      }
    }
    fill(view, bytes.data(), bytes.size());
    return view;
  }

  TensorView constant(DType dtype, std::initializer_list<std::int64_t> shape, float number) {
    const TensorView view = take(dtype, shape);
    std::vector<std::byte>& bytes =
        host_.emplace_back(static_cast<std::size_t>(view.elements()) * size_of(dtype));
    for (std::int64_t i = 0; i < view.elements(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const BFloat16 narrow = to_bfloat16(number);
      if (dtype == DType::kF32) {
        std::memcpy(bytes.data() + at * 4, &number, 4);
      } else {
        std::memcpy(bytes.data() + at * 2, &narrow, 2);
      }
    }
    fill(view, bytes.data(), bytes.size());
    return view;
  }
  TensorView ones(std::initializer_list<std::int64_t> shape) {
    return constant(DType::kBF16, shape, 1);
  }

  // Products of inputs of unit size have unit size.
  WeightView matrix(std::int64_t out, std::int64_t in) {
    WeightView weight;
    weight.values = take(DType::kF8E4M3, {out, in});
    fill(weight.values, pattern_.data(), kPatternBytes);
    weight.scales = constant(DType::kF32, {ceil_div(out, kScaleBlock), ceil_div(in, kScaleBlock)},
                             1.0F / (kCodeSize * std::sqrt(static_cast<float>(in))));
    return weight;
  }

  model::MlpWeights mlp(std::int64_t width) {
    return {matrix(width, config_.hidden_size), matrix(width, config_.hidden_size),
            matrix(config_.hidden_size, width)};
  }

  void attention(model::AttentionWeights& to) {
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t heads = config_.num_attention_heads;
    const std::int64_t nope = config_.qk_nope_head_dim;
    const std::int64_t value = config_.v_head_dim;
    const std::int64_t latent = config_.kv_lora_rank;
    const std::int64_t rank = config_.q_lora_rank;
    to.input_norm = ones({hidden});
    to.q_a = matrix(rank, hidden);
    to.q_a_norm = ones({rank});
    to.q_b = matrix(heads * config_.qk_head_dim(), rank);
    to.kv_a = matrix(latent + config_.qk_rope_head_dim, hidden);
    to.kv_a_norm = ones({latent});
    to.kv_b = matrix(heads * (nope + value), latent);
    to.key_up_transposed = numbers(DType::kBF16, {heads, latent, nope}, 0.04F);
    to.value_up = numbers(DType::kBF16, {heads, value, latent}, 0.04F);
    to.o = matrix(hidden, heads * value);
    to.index_q_b = matrix(std::int64_t{config_.index_n_heads} * config_.index_head_dim, rank);
    to.index_k = matrix(config_.index_head_dim, hidden);
    to.index_k_norm = ones({config_.index_head_dim});
    to.index_k_norm_bias = constant(DType::kBF16, {config_.index_head_dim}, 0);
    to.index_weights.values = numbers(DType::kBF16, {config_.index_n_heads, hidden}, 0.01F);
  }

  void layer(bool moe, model::LayerWeights& to) {
    attention(to.attention);
    to.post_attention_norm = ones({config_.hidden_size});
    to.moe = moe;
    if (!moe) {
      to.dense = mlp(config_.intermediate_size);
      return;
    }
    to.router.values =
        numbers(DType::kBF16, {config_.n_routed_experts, config_.hidden_size}, 0.01F);
    to.router_bias = numbers(DType::kF32, {config_.n_routed_experts}, 0.05F);
    for (std::int32_t e = 0; e < config_.n_routed_experts; ++e) {
      const model::MlpWeights expert = mlp(config_.moe_intermediate_size);
      to.expert_gate.push_back(expert.gate);
      to.expert_up.push_back(expert.up);
      to.expert_down.push_back(expert.down);
    }
    to.shared = mlp(std::int64_t{config_.moe_intermediate_size} * config_.n_shared_experts);
  }

  const config::ModelConfig& config_;
  Device& device_;
  SyntheticWeights& made_;
  std::unique_ptr<Stream> stream_;
  Buffer pattern_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
  std::vector<std::vector<std::byte>> host_;  // on its way to the device
  Status failure_;
};

}  // namespace

Result<std::unique_ptr<SyntheticWeights>> make_synthetic_weights(const config::ModelConfig& config,
                                                                 Device& device) {
  FATHOM_CHECK(config.quantization.has_value());
  auto made = std::make_unique<SyntheticWeights>();
  Maker maker(config, device, *made);
  FATHOM_RETURN_IF_ERROR(maker.make());
  return made;
}

}  // namespace fathom::bench
