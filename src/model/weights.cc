#include "model/weights.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "model/weight_upload.h"

namespace fathom::model {

namespace {

template <class T, class Convert>
void convert(const T* from, std::int64_t count, float* to, const Convert& number) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = number(from[i]);
}

std::array<float, 256> numbers_of_codes() {
  std::array<float, 256> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = to_float(static_cast<Float8E4M3>(i));
  }
  return numbers;
}

// One row of stored numbers as float32, without scales.
void widen(const TensorView& view, std::int64_t row, float* to) {
  const std::int64_t width = view.shape[static_cast<std::size_t>(view.rank - 1)];
  const auto plain = [](auto stored) { return to_float(stored); };
  switch (view.dtype) {
    case DType::kF32:
      return convert(view.row<float>(row), width, to, plain);
    case DType::kBF16:
      return convert(view.row<BFloat16>(row), width, to, plain);
    case DType::kF16:
      return convert(view.row<Float16>(row), width, to, plain);
    default:
      break;
  }
  static const std::array<float, 256> numbers = numbers_of_codes();
  convert(view.row<Float8E4M3>(row), width, to,
          [](Float8E4M3 code) { return numbers[static_cast<std::size_t>(code)]; });
}

}  // namespace

class WeightLoader {
 public:
  WeightLoader(const config::ModelConfig& config,
               config::Arithmetic arithmetic,
               Device& device,
               Mutation mutation,
               Weights& weights)
      : config_(config),
        arithmetic_(arithmetic),
        device_(device),
        mutation_(mutation),
        weights_(weights) {}

  Status load(std::shared_ptr<const checkpoint::Checkpoint> source) {
    weights_.source_ = std::move(source);
    if (device_.uses_host_memory()) return load_all();
    auto upload = WeightUpload::create(device_);
    FATHOM_RETURN_IF_ERROR(upload.status());
    upload_ = std::move(upload).value();
    FATHOM_RETURN_IF_ERROR(load_all());
    return upload_->finish();
  }

 private:
  Status load_all() {
    FATHOM_RETURN_IF_ERROR(vector("model.embed_tokens.weight", weights_.embed));
    FATHOM_RETURN_IF_ERROR(vector("model.norm.weight", weights_.final_norm));
    FATHOM_RETURN_IF_ERROR(matrix("lm_head.weight", weights_.head));
    for (std::int32_t i = 0; i < config_.num_hidden_layers; ++i) {
      FATHOM_RETURN_IF_ERROR(layer(i, config_.is_moe_layer(i), weights_.layers.emplace_back()));
    }
    if (config_.num_nextn_predict_layers == 0) return {};
    weights_.draft = std::make_unique<DraftWeights>();
    DraftWeights& draft = *weights_.draft;
    const std::string prefix = layer_prefix(config_.num_hidden_layers);
    FATHOM_RETURN_IF_ERROR(vector(prefix + "enorm.weight", draft.embed_norm));
    FATHOM_RETURN_IF_ERROR(vector(prefix + "hnorm.weight", draft.hidden_norm));
    FATHOM_RETURN_IF_ERROR(vector(prefix + "shared_head.norm.weight", draft.final_norm));
    FATHOM_RETURN_IF_ERROR(matrix(prefix + "eh_proj.weight", draft.project));
    return layer(config_.num_hidden_layers, /*moe=*/true, draft.layer);
  }

  static std::string layer_prefix(std::int32_t layer) {
    return "model.layers." + std::to_string(layer) + ".";
  }

  TensorView stored(const std::string& name) const { return weights_.source_->weight(name).values; }

  Status vector(const std::string& name, TensorView& to) {
    to = stored(name);
    return place(to);
  }

  Status matrix(const std::string& name, WeightView& to) {
    FATHOM_RETURN_IF_ERROR(stored_matrix(name, to));
    return place(to);
  }

  // In host memory still.
  Status stored_matrix(const std::string& name, WeightView& to) {
    to = weights_.source_->weight(name);
    if (!to.scales.present()) return {};
    FATHOM_RETURN_IF_ERROR(weights_.source_->check_scales(name));
    return mutate_scales(name, to);
  }

  Status place(WeightView& weight) {
    if (weight.scales.present()) {
      FATHOM_RETURN_IF_ERROR(place(weight.scales));
    }
    return place(weight.values);
  }

  // Where the device can use them: a dense view of host memory stays, or becomes a copy.
  Status place(TensorView& view) {
    if (device_.uses_host_memory()) return {};
    FATHOM_CHECK(view.dense());
    const void* const from = view.data;
    const std::size_t bytes = static_cast<std::size_t>(view.elements()) * size_of(view.dtype);
    Result<std::byte*> to = take(bytes);
    FATHOM_RETURN_IF_ERROR(to.status());
    view.data = *to;
    upload_->add(view.data, from, bytes);
    return {};
  }

  // Memory of the device. Tensors share buffers: there are too many for one each.
  Result<std::byte*> take(std::size_t bytes) {
    constexpr std::size_t kChunkBytes = std::size_t{64} << 20;
    constexpr std::size_t kAlignment = 256;
    const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (rounded > chunk_left_) {
      const std::size_t size = std::max(rounded, kChunkBytes);
      Result<Buffer> buffer = device_.allocate(size);
      FATHOM_RETURN_IF_ERROR(buffer.status());
      if (upload_ != nullptr) upload_->change_buffer();
      chunk_ = static_cast<std::byte*>(buffer->data());
      chunk_left_ = size;
      weights_.owned_.push_back(std::move(buffer).value());
    }
    std::byte* const taken = chunk_;
    chunk_ += rounded;
    chunk_left_ -= rounded;
    return taken;
  }

  Status mutate_scales(const std::string& name, WeightView& weight) {
    const bool divides = mutated(mutation_, Mutation::kScaleInverseDivides);
    const bool ragged = mutated(mutation_, Mutation::kRaggedScaleRow) &&
                        name.find("kv_a_proj") != std::string::npos;
    if (!divides && !ragged) return {};
    const std::int64_t rows = weight.scales.shape[0];
    const std::int64_t columns = weight.scales.shape[1];
    TensorView copy;
    FATHOM_RETURN_IF_ERROR(allocate(DType::kF32, {rows, columns}, copy));
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t from = ragged && r == rows - 1 ? r - 1 : r;
      for (std::int64_t c = 0; c < columns; ++c) {
        const float scale = weight.scales.row<float>(from)[c];
        copy.row<float>(r)[c] = divides ? 1.0F / scale : scale;
      }
    }
    weight.scales = copy;
    return {};
  }

  Status mlp(const std::string& prefix, MlpWeights& to) {
    FATHOM_RETURN_IF_ERROR(matrix(prefix + "gate_proj.weight", to.gate));
    FATHOM_RETURN_IF_ERROR(matrix(prefix + "up_proj.weight", to.up));
    return matrix(prefix + "down_proj.weight", to.down);
  }

  // A new tensor for the host to write, and then to place().
  Status allocate(DType dtype, std::initializer_list<std::int64_t> shape, TensorView& to) {
    to = TensorView(nullptr, dtype, shape);
    const std::size_t bytes = static_cast<std::size_t>(to.elements()) * size_of(dtype);
    if (!device_.uses_host_memory()) {
      to.data = copied_from_.emplace_back(bytes).data();
      return {};
    }
    Result<Buffer> buffer = device_.allocate(bytes);
    FATHOM_RETURN_IF_ERROR(buffer.status());
    to.data = buffer->data();
    weights_.owned_.push_back(std::move(buffer).value());
    return {};
  }

  // What was allocated on the way to the device is not needed once it has been read.
  void forget_copied() {
    if (upload_ == nullptr) return;
    upload_->flush();
    copied_from_.clear();
  }

  // The tensor as float32: where it lies, or widened into memory of its own.
  Status float_vector(const std::string& name, TensorView& to) {
    const TensorView from = stored(name);
    to = from;
    if (from.dtype == DType::kF32) return place(to);
    FATHOM_RETURN_IF_ERROR(allocate(DType::kF32, {from.shape[0]}, to));
    widen(from, 0, to.row<float>(0));
    return place(to);
  }

  // One row of a matrix as float32, scales applied.
  static void widen_scaled(const WeightView& stored, std::int64_t row, float* to) {
    widen(stored.values, row, to);
    if (!stored.scales.present()) return;
    const auto* scales = stored.scales.row<float>(row / kScaleBlock);
    for (std::int64_t c = 0; c < stored.values.shape[1]; ++c) to[c] *= scales[c / kScaleBlock];
  }

  // to[i] = from[i * stride], rounded to `dtype`.
  static void narrow(const float* from,
                     std::int64_t stride,
                     std::int64_t count,
                     DType dtype,
                     std::byte* to) {
    if (dtype == DType::kF32) {
      auto* numbers = reinterpret_cast<float*>(to);
      for (std::int64_t i = 0; i < count; ++i) numbers[i] = from[i * stride];
    } else {
      auto* numbers = reinterpret_cast<BFloat16*>(to);
      for (std::int64_t i = 0; i < count; ++i) numbers[i] = to_bfloat16(from[i * stride]);
    }
  }

  Status key_value_up(const std::string& name, AttentionWeights& to) {
    WeightView stored_kv_b;
    FATHOM_RETURN_IF_ERROR(stored_matrix(name, stored_kv_b));
    to.kv_b = stored_kv_b;
    FATHOM_RETURN_IF_ERROR(place(to.kv_b));
    const std::int64_t heads = config_.num_attention_heads;
    const std::int64_t nope = config_.qk_nope_head_dim;
    const std::int64_t value = config_.v_head_dim;
    const std::int64_t latent = config_.kv_lora_rank;
    const DType dtype = arithmetic_ == config::Arithmetic::kExact ? DType::kF32 : DType::kBF16;
    FATHOM_RETURN_IF_ERROR(allocate(dtype, {heads, latent, nope}, to.key_up_transposed));
    FATHOM_RETURN_IF_ERROR(allocate(dtype, {heads, value, latent}, to.value_up));
    const auto element = static_cast<std::int64_t>(size_of(dtype));
    // A little wider than the rows: at a distance of a power of two, a column's numbers would push
    // each other out of the cache.
    const std::int64_t stride = latent + 16;
    std::vector<float> rows(static_cast<std::size_t>((nope + value) * stride));
    auto* keys = static_cast<std::byte*>(to.key_up_transposed.data);
    auto* values = static_cast<std::byte*>(to.value_up.data);
    for (std::int64_t head = 0; head < heads; ++head) {
      for (std::int64_t i = 0; i < nope + value; ++i) {
        widen_scaled(stored_kv_b, head * (nope + value) + i, rows.data() + i * stride);
      }
      for (std::int64_t c = 0; c < latent; ++c, keys += nope * element) {
        narrow(rows.data() + c, stride, nope, dtype, keys);
      }
      for (std::int64_t i = nope; i < nope + value; ++i, values += latent * element) {
        narrow(rows.data() + i * stride, 1, latent, dtype, values);
      }
    }
    FATHOM_RETURN_IF_ERROR(place(to.key_up_transposed));
    FATHOM_RETURN_IF_ERROR(place(to.value_up));
    forget_copied();
    return {};
  }

  Status attention(const std::string& prefix, AttentionWeights& to) {
    const std::string self = prefix + "self_attn.";
    const std::string indexer = self + "indexer.";
    FATHOM_RETURN_IF_ERROR(vector(prefix + "input_layernorm.weight", to.input_norm));
    FATHOM_RETURN_IF_ERROR(vector(self + "q_a_layernorm.weight", to.q_a_norm));
    FATHOM_RETURN_IF_ERROR(vector(self + "kv_a_layernorm.weight", to.kv_a_norm));
    FATHOM_RETURN_IF_ERROR(vector(indexer + "k_norm.weight", to.index_k_norm));
    FATHOM_RETURN_IF_ERROR(vector(indexer + "k_norm.bias", to.index_k_norm_bias));
    FATHOM_RETURN_IF_ERROR(matrix(self + "q_a_proj.weight", to.q_a));
    FATHOM_RETURN_IF_ERROR(matrix(self + "q_b_proj.weight", to.q_b));
    FATHOM_RETURN_IF_ERROR(matrix(self + "kv_a_proj_with_mqa.weight", to.kv_a));
    FATHOM_RETURN_IF_ERROR(matrix(self + "o_proj.weight", to.o));
    FATHOM_RETURN_IF_ERROR(matrix(indexer + "wq_b.weight", to.index_q_b));
    FATHOM_RETURN_IF_ERROR(matrix(indexer + "wk.weight", to.index_k));
    FATHOM_RETURN_IF_ERROR(matrix(indexer + "weights_proj.weight", to.index_weights));
    return key_value_up(self + "kv_b_proj.weight", to);
  }

  Status layer(std::int32_t index, bool moe, LayerWeights& to) {
    const std::string prefix = layer_prefix(index);
    FATHOM_RETURN_IF_ERROR(attention(prefix, to.attention));
    FATHOM_RETURN_IF_ERROR(
        vector(prefix + "post_attention_layernorm.weight", to.post_attention_norm));
    to.moe = moe;
    if (!moe) return mlp(prefix + "mlp.", to.dense);
    FATHOM_RETURN_IF_ERROR(matrix(prefix + "mlp.gate.weight", to.router));
    FATHOM_RETURN_IF_ERROR(
        float_vector(prefix + "mlp.gate.e_score_correction_bias", to.router_bias));
    for (std::int32_t e = 0; e < config_.n_routed_experts; ++e) {
      MlpWeights expert;
      FATHOM_RETURN_IF_ERROR(mlp(prefix + "mlp.experts." + std::to_string(e) + ".", expert));
      to.expert_gate.push_back(expert.gate);
      to.expert_up.push_back(expert.up);
      to.expert_down.push_back(expert.down);
    }
    return mlp(prefix + "mlp.shared_experts.", to.shared);
  }

  const config::ModelConfig& config_;
  config::Arithmetic arithmetic_;
  Device& device_;
  Mutation mutation_;
  Weights& weights_;
  std::unique_ptr<WeightUpload> upload_;  // none where the device uses the host's memory
  std::byte* chunk_ = nullptr;            // what is left of the last shared buffer
  std::size_t chunk_left_ = 0;
  std::list<std::vector<std::byte>> copied_from_;  // host memory on its way to the device
};

Result<std::unique_ptr<Weights>> Weights::load(const config::ModelConfig& config,
                                               std::shared_ptr<const checkpoint::Checkpoint> source,
                                               config::Arithmetic arithmetic,
                                               Device& device,
                                               Mutation mutation) {
  auto weights = std::make_unique<Weights>();
  WeightLoader loader(config, arithmetic, device, mutation, *weights);
  FATHOM_RETURN_IF_ERROR(loader.load(std::move(source)));
  return weights;
}

}  // namespace fathom::model
