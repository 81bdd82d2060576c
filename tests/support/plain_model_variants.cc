#include "support/plain_model_variants.h"

#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <string_view>

#include <make_checkpoint/presets.h>
#include <make_checkpoint/random_checkpoint.h>

#include "base/check.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/writer.h"
#include "model/tensor_table.h"

namespace fathom::test_support {
namespace {

using checkpoint::SafetensorsWriter;
using config::ModelConfig;

// `micro` with few layers and a narrow vocabulary.
ModelConfig base() {
  ModelConfig config = make_checkpoint::preset("micro").value();
  config.num_hidden_layers = 2;
  config.vocab_size = 96;
  config.max_position_embeddings = 1024;
  config.yarn->original_max_position_embeddings = 64;
  return config;
}

ModelConfig odd() {
  ModelConfig config = base();
  config.vocab_size = 101;
  config.hidden_size = 80;
  config.q_lora_rank = 72;
  config.kv_lora_rank = 48;
  config.qk_nope_head_dim = 24;
  config.qk_rope_head_dim = 8;
  config.v_head_dim = 40;
  config.num_attention_heads = 3;
  config.index_n_heads = 5;
  config.index_head_dim = 16;
  config.index_topk = 7;
  config.n_routed_experts = 6;
  config.n_group = 2;
  config.topk_group = 1;
  config.num_experts_per_tok = 3;
  config.intermediate_size = 100;
  config.moe_intermediate_size = 36;
  return config;
}

ModelConfig ragged() {
  ModelConfig config = base();
  config.hidden_size = 200;
  config.q_lora_rank = 136;
  config.kv_lora_rank = 192;
  config.intermediate_size = 300;
  config.moe_intermediate_size = 130;
  config.num_attention_heads = 3;  // heads of 64 and of 72 do not end where blocks do
  config.v_head_dim = 40;
  config.quantization = config::QuantizationConfig{true};
  return config;
}

// IEEE half precision, mantissa cut off. Requires a magnitude below 65504.
std::uint16_t half_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16U) & 0x8000U;
  const float magnitude = std::abs(value);
  if (magnitude < 0x1p-14F) {
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(magnitude * 0x1p24F));
  }
  const std::uint32_t rebiased = (bits & 0x7FFFFFFFU) - (112U << 23U);
  return static_cast<std::uint16_t>(sign | (rebiased >> 13U));
}

// With bits below those of bf16, so that a reader that drops them is noticed.
float with_low_bits(float value, std::size_t index) {
  const auto noise = static_cast<std::uint32_t>(index * 40503U) & 0xFFFFU;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | noise);
}

template <class T>
void append(std::vector<std::byte>& bytes, T value) {
  const auto raw = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

// Tensor by tensor with other numbers, in memory: the checkpoints are small.
class Rewriter {
 public:
  Rewriter(const Variant& variant, const std::filesystem::path& from)
      : variant_(variant), specs_(model::expected_tensors(variant.config)) {
    source_ = checkpoint::Checkpoint::open(from, specs_).value();
  }

  void write(const std::filesystem::path& path) {
    std::vector<SafetensorsWriter::Tensor> tensors;
    for (const checkpoint::TensorSpec& spec : specs_) {
      const WeightView weight = source_->weight(spec.name);
      tensors.push_back({spec.name, stored_as(weight), spec.shape});
      if (!weight.scales.present()) continue;
      tensors.push_back({spec.name + "_scale_inv",
                         DType::kF32,
                         {weight.scales.shape[0], weight.scales.shape[1]}});
    }
    SafetensorsWriter writer = SafetensorsWriter::create(path, tensors).value();
    for (const checkpoint::TensorSpec& spec : specs_) {
      const WeightView weight = source_->weight(spec.name);
      FATHOM_CHECK(writer.write(converted(spec.name, weight.values)).ok());
      if (weight.scales.present()) FATHOM_CHECK(writer.write(copied(weight.scales)).ok());
    }
    FATHOM_CHECK(writer.finish().ok());
  }

 private:
  DType stored_as(const WeightView& weight) const {
    return variant_.stored_as == DType::kBF16 ? weight.values.dtype : variant_.stored_as;
  }

  static std::vector<std::byte> copied(const TensorView& view) {
    const auto* first = static_cast<const std::byte*>(view.data);
    return {first, first + view.elements() * static_cast<std::int64_t>(size_of(view.dtype))};
  }

  std::vector<std::byte> converted(const std::string& name, const TensorView& view) const {
    const bool bias = std::string_view(name).ends_with("e_score_correction_bias");
    if (variant_.stored_as == DType::kBF16 && !bias) return copied(view);
    std::vector<std::byte> bytes;
    for (std::int64_t i = 0; i < view.elements(); ++i) {
      float value = view.dtype == DType::kF32
                        ? static_cast<const float*>(view.data)[i]
                        : to_float(static_cast<const BFloat16*>(view.data)[i]);
      if (bias && i == 1) value += 1;
      if (variant_.stored_as == DType::kF16) {
        append(bytes, half_bits(value));
      } else {
        append(bytes, with_low_bits(value, static_cast<std::size_t>(i)));
      }
    }
    return bytes;
  }

  const Variant& variant_;
  std::vector<checkpoint::TensorSpec> specs_;
  std::unique_ptr<checkpoint::Checkpoint> source_;
};

}  // namespace

std::vector<Variant> plain_variants() {
  std::vector<Variant> variants;
  const auto add = [&](const char* name, ModelConfig config) -> Variant& {
    return variants.emplace_back(Variant{name, std::move(config)});
  };
  add("no_rope_scaling", base()).config.yarn.reset();
  // Settings of YaRN that differ, so that the tables carry an amplitude.
  add("amplitude", base()).config.yarn->mscale = 0.5;
  add("no_dense_layer", base()).config.first_k_dense_replace = 0;
  add("dense_layers_only", base()).config.first_k_dense_replace = 2;
  ModelConfig& one_group = add("one_group", base()).config;
  one_group.n_group = 1;
  one_group.topk_group = 1;
  add("two_shared_experts", base()).config.n_shared_experts = 2;
  add("unnormalised_weights", base()).config.norm_topk_prob = false;
  add("no_draft_layer", base()).config.num_nextn_predict_layers = 0;
  // One head is at 0 for half of the keys: ties decide many rows.
  ModelConfig& one_index_head = add("one_index_head", base()).config;
  one_index_head.index_n_heads = 1;
  one_index_head.index_topk = 8;
  add("odd_dimensions", odd());
  add("f16", base()).stored_as = DType::kF16;
  add("f32", odd()).stored_as = DType::kF32;
  add("ragged_fp8", ragged()).power_of_two_scales = false;
  Variant& deep = add("ragged_fp8_two_dense_layers", ragged());
  deep.config.num_hidden_layers = 3;
  deep.config.first_k_dense_replace = 2;
  deep.config.quantization->ue8m0_scales = false;
  return variants;
}

void write_variant(const Variant& variant,
                   std::uint64_t seed,
                   const std::filesystem::path& folder) {
  make_checkpoint::RandomCheckpointOptions options;
  options.seed = seed;
  options.power_of_two_scales = variant.power_of_two_scales;
  const std::filesystem::path published = folder / "published";
  const Status written =
      make_checkpoint::write_random_checkpoint(variant.config, options, published);
  FATHOM_CHECK_MSG(written.ok(), written.message());
  Rewriter(variant, published).write(folder / "model.safetensors");
  std::filesystem::copy_file(published / "config.json", folder / "config.json");
  std::filesystem::remove_all(published);
}

}  // namespace fathom::test_support
