#include "model/synthetic_weights.h"

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstddef>
#include <initializer_list>
#include <map>
#include <random>
#include <utility>

namespace fathom::model {

namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kChunkBytes = std::size_t{256} << 20;
// Large enough for copies at full speed.
constexpr std::size_t kMatrixBlockBytes = std::size_t{4} << 20;
constexpr std::size_t kVectorBlockBytes = std::size_t{1} << 16;

// What the numbers of a block are like.
struct Numbers {
  DType dtype = DType::kF32;
  float middle = 0;
  float width = 0;  // uniform in [middle - width, middle + width); FP8: every finite code
  auto operator<=>(const Numbers&) const = default;
};

// Of matrices: uniform numbers of this width have a standard deviation of 1.
const float kUnitWidth = std::sqrt(3.0F);

constexpr bool is_nan(std::uint8_t code) { return (code & 0x7FU) == 0x7FU; }

// The root of the mean square of all finite FP8 numbers: a typical one when codes are uniform.
float typical_code() {
  double sum = 0;
  int count = 0;
  for (unsigned code = 0; code < 0x7FU; ++code, ++count) {
    const double number = to_float(static_cast<Float8E4M3>(code));
    sum += number * number;
  }
  return static_cast<float>(std::sqrt(sum / count));
}

// In [-1, 1), a multiple of 2^-23: the same on every platform, unlike the library's distributions.
float symmetric(std::mt19937_64& random) {
  return static_cast<float>(random() >> 40U) * 0x1p-23F - 1;
}

void write_numbers(const Numbers& numbers, std::mt19937_64& random, const Buffer& to) {
  if (numbers.dtype == DType::kF8E4M3) {
    auto* const codes = static_cast<std::uint8_t*>(to.data());
    for (std::size_t i = 0; i < to.bytes(); i += sizeof(std::uint64_t)) {
      const std::uint64_t bits = random();
      for (std::size_t k = 0; k < sizeof(bits); ++k) {
        const auto code = static_cast<std::uint8_t>(bits >> (8 * k));
        codes[i + k] = is_nan(code) ? static_cast<std::uint8_t>(code ^ 1U) : code;
      }
    }
    return;
  }
  const std::size_t count = to.bytes() / size_of(numbers.dtype);
  for (std::size_t i = 0; i < count; ++i) {
    const float number = numbers.middle + numbers.width * symmetric(random);
    if (numbers.dtype == DType::kF32) {
      static_cast<float*>(to.data())[i] = number;
    } else {
      static_cast<BFloat16*>(to.data())[i] = to_bfloat16(number);
    }
  }
}

}  // namespace

class SyntheticWeightMaker {
 public:
  SyntheticWeightMaker(const config::ModelConfig& config,
                       Device& device,
                       std::uint64_t seed,
                       Weights& weights)
      : config_(config),
        device_(device),
        weights_(weights),
        random_(seed),
        stream_(device.create_stream()) {}

  Status make() {
    const Status made = make_all();
    const Status copied = stream_->synchronize();  // the blocks are read until then
    return made.ok() ? copied : made;
  }

 private:
  Status make_all() {
    const std::int64_t hidden = config_.hidden_size;
    FATHOM_RETURN_IF_ERROR(
        tensor({DType::kBF16, 0, kUnitWidth}, {config_.vocab_size, hidden}, weights_.embed));
    FATHOM_RETURN_IF_ERROR(norm(hidden, weights_.final_norm));
    FATHOM_RETURN_IF_ERROR(plain_matrix(config_.vocab_size, hidden, weights_.head));
    for (std::int32_t i = 0; i < config_.num_hidden_layers; ++i) {
      FATHOM_RETURN_IF_ERROR(layer(config_.is_moe_layer(i), weights_.layers.emplace_back()));
    }
    return config_.num_nextn_predict_layers == 0 ? Status() : draft();
  }

  // Host memory with such numbers, made when they are first asked for.
  Result<const Buffer*> block(const Numbers& numbers, std::size_t wanted_bytes) {
    const auto found = blocks_.find(numbers);
    if (found != blocks_.end()) return &found->second;
    Result<Buffer> made = device_.allocate_host(wanted_bytes);
    FATHOM_RETURN_IF_ERROR(made.status());
    write_numbers(numbers, random_, *made);
    return &blocks_.emplace(numbers, std::move(made).value()).first->second;
  }

  // Memory of the device. Tensors share buffers: there are too many for one each.
  Result<std::byte*> take(std::size_t bytes) {
    const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (rounded > chunk_left_) {
      const std::size_t size = std::max(rounded, kChunkBytes);
      Result<Buffer> buffer = device_.allocate(size);
      FATHOM_RETURN_IF_ERROR(buffer.status());
      chunk_ = static_cast<std::byte*>(buffer->data());
      chunk_left_ = size;
      weights_.owned_.push_back(std::move(buffer).value());
    }
    std::byte* const taken = chunk_;
    chunk_ += rounded;
    chunk_left_ -= rounded;
    return taken;
  }

  Status tensor(const Numbers& numbers,
                std::initializer_list<std::int64_t> shape,
                TensorView& to,
                std::size_t block_bytes = kMatrixBlockBytes) {
    to = TensorView(nullptr, numbers.dtype, shape);
    const std::size_t bytes = static_cast<std::size_t>(to.elements()) * size_of(numbers.dtype);
    const Result<const Buffer*> from = block(numbers, block_bytes);
    FATHOM_RETURN_IF_ERROR(from.status());
    const Result<std::byte*> memory = take(bytes);
    FATHOM_RETURN_IF_ERROR(memory.status());
    to.data = *memory;
    const std::size_t whole = (*from)->bytes();
    std::size_t start = random_() % (whole / kAlignment) * kAlignment;
    for (std::size_t done = 0; done < bytes;) {
      const std::size_t part = std::min(bytes - done, whole - start);
      device_.copy_to_device(*stream_, *memory + done,
                             static_cast<const std::byte*>((*from)->data()) + start, part);
      done += part;
      start = 0;
    }
    return {};
  }

  Status vector(float middle, float width, std::int64_t size, TensorView& to) {
    return tensor({DType::kF32, middle, width}, {size}, to, kVectorBlockBytes);
  }
  Status norm(std::int64_t size, TensorView& to) { return vector(1, 0.125F, size, to); }

  static float width_for(std::int64_t in) { return kUnitWidth / std::sqrt(static_cast<float>(in)); }

  // Never quantised in the published files.
  Status plain_matrix(std::int64_t out, std::int64_t in, WeightView& to) {
    return tensor({DType::kBF16, 0, width_for(in)}, {out, in}, to.values);
  }

  Status matrix(std::int64_t out, std::int64_t in, WeightView& to) {
    if (!config_.quantization) return plain_matrix(out, in, to);
    static const float typical = typical_code();
    const float scale = 1 / (std::sqrt(static_cast<float>(in)) * typical);
    FATHOM_RETURN_IF_ERROR(tensor({DType::kF8E4M3, 0, 0}, {out, in}, to.values));
    return tensor({DType::kF32, scale, scale / 4},
                  {ceil_div(out, kScaleBlock), ceil_div(in, kScaleBlock)}, to.scales,
                  kVectorBlockBytes);
  }

  Status mlp(std::int64_t width, MlpWeights& to) {
    FATHOM_RETURN_IF_ERROR(matrix(width, config_.hidden_size, to.gate));
    FATHOM_RETURN_IF_ERROR(matrix(width, config_.hidden_size, to.up));
    return matrix(config_.hidden_size, width, to.down);
  }

  Status attention(AttentionWeights& to) {
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t heads = config_.num_attention_heads;
    const std::int64_t nope = config_.qk_nope_head_dim;
    const std::int64_t value = config_.v_head_dim;
    const std::int64_t latent = config_.kv_lora_rank;
    const std::int64_t rank = config_.q_lora_rank;
    FATHOM_RETURN_IF_ERROR(norm(hidden, to.input_norm));
    FATHOM_RETURN_IF_ERROR(norm(rank, to.q_a_norm));
    FATHOM_RETURN_IF_ERROR(norm(latent, to.kv_a_norm));
    FATHOM_RETURN_IF_ERROR(matrix(rank, hidden, to.q_a));
    FATHOM_RETURN_IF_ERROR(matrix(heads * config_.qk_head_dim(), rank, to.q_b));
    FATHOM_RETURN_IF_ERROR(matrix(latent + config_.qk_rope_head_dim, hidden, to.kv_a));
    FATHOM_RETURN_IF_ERROR(matrix(heads * (nope + value), latent, to.kv_b));
    const Numbers up{DType::kBF16, 0, width_for(latent)};
    FATHOM_RETURN_IF_ERROR(tensor(up, {heads, latent, nope}, to.key_up_transposed));
    FATHOM_RETURN_IF_ERROR(tensor(up, {heads, value, latent}, to.value_up));
    FATHOM_RETURN_IF_ERROR(matrix(hidden, heads * value, to.o));
    return indexer(to);
  }

  Status indexer(AttentionWeights& to) {
    const std::int64_t heads = config_.index_n_heads;
    const std::int64_t dim = config_.index_head_dim;
    FATHOM_RETURN_IF_ERROR(matrix(heads * dim, config_.q_lora_rank, to.index_q_b));
    FATHOM_RETURN_IF_ERROR(matrix(dim, config_.hidden_size, to.index_k));
    FATHOM_RETURN_IF_ERROR(norm(dim, to.index_k_norm));
    FATHOM_RETURN_IF_ERROR(vector(0, 0.125F, dim, to.index_k_norm_bias));
    return plain_matrix(heads, config_.hidden_size, to.index_weights);
  }

  Status layer(bool moe, LayerWeights& to) {
    FATHOM_RETURN_IF_ERROR(attention(to.attention));
    FATHOM_RETURN_IF_ERROR(norm(config_.hidden_size, to.post_attention_norm));
    to.moe = moe;
    if (!moe) return mlp(config_.intermediate_size, to.dense);
    FATHOM_RETURN_IF_ERROR(plain_matrix(config_.n_routed_experts, config_.hidden_size, to.router));
    // Small beside the spread of the scores: the choice of experts is the rows'.
    FATHOM_RETURN_IF_ERROR(vector(0, 0x1p-7F, config_.n_routed_experts, to.router_bias));
    for (std::int32_t e = 0; e < config_.n_routed_experts; ++e) {
      MlpWeights expert;
      FATHOM_RETURN_IF_ERROR(mlp(config_.moe_intermediate_size, expert));
      to.expert_gate.push_back(expert.gate);
      to.expert_up.push_back(expert.up);
      to.expert_down.push_back(expert.down);
    }
    return mlp(std::int64_t{config_.n_shared_experts} * config_.moe_intermediate_size, to.shared);
  }

  Status draft() {
    const std::int64_t hidden = config_.hidden_size;
    weights_.draft = std::make_unique<DraftWeights>();
    FATHOM_RETURN_IF_ERROR(norm(hidden, weights_.draft->embed_norm));
    FATHOM_RETURN_IF_ERROR(norm(hidden, weights_.draft->hidden_norm));
    FATHOM_RETURN_IF_ERROR(norm(hidden, weights_.draft->final_norm));
    FATHOM_RETURN_IF_ERROR(plain_matrix(hidden, 2 * hidden, weights_.draft->project));
    return layer(/*moe=*/true, weights_.draft->layer);
  }

  const config::ModelConfig& config_;
  Device& device_;
  Weights& weights_;
  std::mt19937_64 random_;
  std::map<Numbers, Buffer> blocks_;
  std::unique_ptr<Stream> stream_;
  std::byte* chunk_ = nullptr;  // what is left of the last shared buffer
  std::size_t chunk_left_ = 0;
};

Result<std::unique_ptr<Weights>> make_synthetic_weights(const config::ModelConfig& config,
                                                        Device& device,
                                                        std::uint64_t seed) {
  auto weights = std::make_unique<Weights>();
  SyntheticWeightMaker maker(config, device, seed, *weights);
  FATHOM_RETURN_IF_ERROR(maker.make());
  return weights;
}

}  // namespace fathom::model
