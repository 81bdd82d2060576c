#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include <simdjson.h>

#include "base/file.h"
#include "config/model_config.h"

namespace fathom::config {
namespace {

using simdjson::dom::element;

constexpr std::int64_t kMaxConfigBytes = std::int64_t{16} << 20;

// A value as it stands in the file, short enough for a message.
std::string show(const element& value) {
  constexpr std::size_t kLongest = 60;
  std::string text = simdjson::minify(value);
  if (text.size() <= kLongest) return text;
  std::size_t end = kLongest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end) + "…";
}

std::string show(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

Result<element> parse_json(simdjson::dom::parser& parser, std::string_view json) {
  element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root)) {
    return invalid_argument(std::string("not valid JSON: ") + simdjson::error_message(error));
  }
  return root;
}

// The members of one JSON object, for fields that are read by name. A null counts as absent.
class Fields {
 public:
  // `where` goes in front of every name in a message: "rope_scaling.".
  static Result<Fields> of(const element& value, std::string where) {
    simdjson::dom::object object;
    if (value.get(object)) {
      const std::string name = where.empty() ? "the document" : where.substr(0, where.size() - 1);
      return invalid_argument(name + " is " + show(value) + ", expected an object");
    }
    Fields fields;
    fields.where_ = std::move(where);
    for (const auto& [key, member] : object) {
      if (!fields.members_.emplace(key, member).second) {
        return invalid_argument(fields.where_ + std::string(key) + " is given twice");
      }
    }
    return fields;
  }

  const element* find(std::string_view name) const {
    const auto found = members_.find(name);
    return found == members_.end() || found->second.is_null() ? nullptr : &found->second;
  }

  // Each leaves `out` as it is when the field is absent.
  Status integer(std::string_view name,
                 std::int64_t least,
                 std::int64_t most,
                 std::int32_t& out) const {
    const element* value = find(name);
    if (value == nullptr) return {};
    std::int64_t number = 0;
    if (value->get(number) || number < least || number > most) {
      return wrong(name, *value,
                   "an integer from " + std::to_string(least) + " to " + std::to_string(most));
    }
    out = static_cast<std::int32_t>(number);
    return {};
  }

  Status number(std::string_view name, double least, double most, double& out) const {
    const element* value = find(name);
    if (value == nullptr) return {};
    double number = 0;
    if (value->get(number) || !(number >= least && number <= most)) {
      return wrong(name, *value, "a number from " + show(least) + " to " + show(most));
    }
    out = number;
    return {};
  }

  Status boolean(std::string_view name, bool& out) const {
    const element* value = find(name);
    if (value != nullptr && value->get(out)) return wrong(name, *value, "true or false");
    return {};
  }

  Status text(std::string_view name, std::string& out) const {
    const element* value = find(name);
    if (value == nullptr) return {};
    std::string_view words;
    if (value->get(words)) return wrong(name, *value, "a string");
    out = std::string(words);
    return {};
  }

  // A field that may be left out, but has one supported value.
  Status only(std::string_view name, std::string_view json_value) const {
    const element* value = find(name);
    if (value == nullptr || simdjson::minify(*value) == json_value) return {};
    return wrong(name, *value, std::string(json_value));
  }

  Status require(std::string_view name) const {
    if (find(name) != nullptr) return {};
    return invalid_argument(where_ + std::string(name) + " is missing");
  }

  Status wrong(std::string_view name, const element& value, const std::string& expected) const {
    return invalid_argument(where_ + std::string(name) + " is " + show(value) + ", expected " +
                            expected);
  }

 private:
  std::map<std::string, element, std::less<>> members_;
  std::string where_;
};

struct IntegerField {
  const char* name;
  std::int32_t ModelConfig::*member;
  std::int32_t least;
  std::int32_t most;
  bool required = true;
};

// The upper bounds are far above any published model and low enough that no product of sizes
// leaves an int64.
constexpr IntegerField kIntegers[] = {
    {"vocab_size", &ModelConfig::vocab_size, 2, 1 << 21},
    {"hidden_size", &ModelConfig::hidden_size, 1, 1 << 16},
    {"num_hidden_layers", &ModelConfig::num_hidden_layers, 1, 512},
    {"num_nextn_predict_layers", &ModelConfig::num_nextn_predict_layers, 0, 1, false},
    {"first_k_dense_replace", &ModelConfig::first_k_dense_replace, 0, 512},
    {"moe_layer_freq", &ModelConfig::moe_layer_freq, 1, 512, false},
    {"intermediate_size", &ModelConfig::intermediate_size, 1, 1 << 18},
    {"moe_intermediate_size", &ModelConfig::moe_intermediate_size, 1, 1 << 16},
    {"n_routed_experts", &ModelConfig::n_routed_experts, 2, 4096},
    {"n_shared_experts", &ModelConfig::n_shared_experts, 1, 64},
    {"num_experts_per_tok", &ModelConfig::num_experts_per_tok, 1, 256},
    {"n_group", &ModelConfig::n_group, 1, 2048},
    {"topk_group", &ModelConfig::topk_group, 1, 2048},
    {"num_attention_heads", &ModelConfig::num_attention_heads, 1, 1024},
    {"q_lora_rank", &ModelConfig::q_lora_rank, 1, 1 << 14},
    {"kv_lora_rank", &ModelConfig::kv_lora_rank, 1, 1 << 14},
    {"qk_nope_head_dim", &ModelConfig::qk_nope_head_dim, 1, 2048},
    {"qk_rope_head_dim", &ModelConfig::qk_rope_head_dim, 2, 2048},
    {"v_head_dim", &ModelConfig::v_head_dim, 1, 2048},
    {"index_n_heads", &ModelConfig::index_n_heads, 1, 1024},
    {"index_head_dim", &ModelConfig::index_head_dim, 2, 2048},
    {"index_topk", &ModelConfig::index_topk, 1, 1 << 20},
    {"max_position_embeddings", &ModelConfig::max_position_embeddings, 1, 1 << 26},
};

// Layers times experts; it bounds the number of tensors, and with it the memory their names take.
constexpr std::int64_t kMostExpertsInAll = std::int64_t{1} << 18;

struct OnlyValue {
  const char* name;
  const char* json_value;
};

// Switches of the model family that change the arithmetic and have one supported setting.
constexpr OnlyValue kOnlyValues[] = {
    {"model_type", R"("deepseek_v32")"},  {"hidden_act", R"("silu")"},
    {"scoring_func", R"("sigmoid")"},     {"topk_method", R"("noaux_tc")"},
    {"attention_bias", "false"},          {"tie_word_embeddings", "false"},
    {"rope_interleave", "true"},           // of the attention's own rotation
    {"indexer_rope_interleave", "false"},  // of the indexer's
};

Status parse_architecture(const Fields& fields, ModelConfig& model) {
  FATHOM_RETURN_IF_ERROR(fields.require("model_type"));
  for (const OnlyValue& field : kOnlyValues) {
    FATHOM_RETURN_IF_ERROR(fields.only(field.name, field.json_value));
  }
  FATHOM_RETURN_IF_ERROR(fields.text("model_type", model.model_type));
  FATHOM_RETURN_IF_ERROR(fields.only("architectures", R"(["DeepseekV32ForCausalLM"])"));
  model.architecture = "DeepseekV32ForCausalLM";
  model.torch_dtype = "bfloat16";
  FATHOM_RETURN_IF_ERROR(fields.text("dtype", model.torch_dtype));  // the newer name
  return fields.text("torch_dtype", model.torch_dtype);
}

Status parse_sizes(const Fields& fields, ModelConfig& model) {
  for (const IntegerField& field : kIntegers) {
    if (field.required) FATHOM_RETURN_IF_ERROR(fields.require(field.name));
    FATHOM_RETURN_IF_ERROR(
        fields.integer(field.name, field.least, field.most, model.*field.member));
  }
  FATHOM_RETURN_IF_ERROR(fields.boolean("norm_topk_prob", model.norm_topk_prob));

  FATHOM_RETURN_IF_ERROR(fields.require("rms_norm_eps"));
  FATHOM_RETURN_IF_ERROR(fields.require("routed_scaling_factor"));
  double epsilon = 0;
  double scaling = 0;
  FATHOM_RETURN_IF_ERROR(fields.number("rms_norm_eps", 1e-12, 1, epsilon));
  FATHOM_RETURN_IF_ERROR(fields.number("routed_scaling_factor", 1e-6, 1e6, scaling));
  model.rms_norm_eps = static_cast<float>(epsilon);
  model.routed_scaling_factor = static_cast<float>(scaling);
  return {};
}

Status check_sizes(const Fields& fields, const ModelConfig& model) {
  const auto unequal = [](const char* name, std::int32_t value, const std::string& wanted) {
    return invalid_argument(std::string(name) + " is " + std::to_string(value) + ", expected " +
                            wanted);
  };
  const auto with = [](const char* name, std::int32_t value) {
    return std::string(name) + " " + std::to_string(value);
  };
  if (model.first_k_dense_replace > model.num_hidden_layers) {
    return unequal("first_k_dense_replace", model.first_k_dense_replace,
                   "at most " + with("num_hidden_layers", model.num_hidden_layers));
  }
  if (std::int64_t{model.n_routed_experts} * model.layers_with_cache() > kMostExpertsInAll) {
    return unequal("n_routed_experts", model.n_routed_experts,
                   "at most " + std::to_string(kMostExpertsInAll) + " in all " +
                       std::to_string(model.layers_with_cache()) + " layers");
  }
  if (model.n_routed_experts % model.n_group != 0) {
    return unequal("n_routed_experts", model.n_routed_experts,
                   "a multiple of " + with("n_group", model.n_group));
  }
  const std::int32_t group_size = model.n_routed_experts / model.n_group;
  if (group_size < 2) {
    return unequal("n_group", model.n_group,
                   "2 or more experts in each group: a group's score is the sum of its best two");
  }
  if (model.topk_group > model.n_group) {
    return unequal("topk_group", model.topk_group, "at most " + with("n_group", model.n_group));
  }
  if (model.topk_group * group_size < model.num_experts_per_tok) {
    return unequal("num_experts_per_tok", model.num_experts_per_tok,
                   "at most the " + std::to_string(model.topk_group * group_size) +
                       " experts of the topk_group chosen groups");
  }
  if (model.qk_rope_head_dim % 2 != 0) {
    return unequal("qk_rope_head_dim", model.qk_rope_head_dim, "an even number");
  }
  if (model.qk_rope_head_dim > model.index_head_dim) {
    return unequal("qk_rope_head_dim", model.qk_rope_head_dim,
                   "at most " + with("index_head_dim", model.index_head_dim));
  }
  // Files repeat what follows from other fields; a different value would mean another model.
  std::int32_t heads = model.num_attention_heads;
  std::int32_t query_dim = model.qk_head_dim();
  FATHOM_RETURN_IF_ERROR(fields.integer("num_key_value_heads", heads, heads, heads));
  return fields.integer("qk_head_dim", query_dim, query_dim, query_dim);
}

Status parse_yarn(const Fields& rope, ModelConfig& model) {
  YarnConfig yarn;
  for (const char* name : {"factor", "original_max_position_embeddings"}) {
    FATHOM_RETURN_IF_ERROR(rope.require(name));
  }
  FATHOM_RETURN_IF_ERROR(rope.number("factor", 1, 1e6, yarn.factor));
  FATHOM_RETURN_IF_ERROR(rope.integer("original_max_position_embeddings", 1, 1 << 26,
                                      yarn.original_max_position_embeddings));
  FATHOM_RETURN_IF_ERROR(rope.number("beta_fast", 1e-3, 1e6, yarn.beta_fast));
  FATHOM_RETURN_IF_ERROR(rope.number("beta_slow", 1e-3, 1e6, yarn.beta_slow));
  FATHOM_RETURN_IF_ERROR(rope.number("mscale", 0, 100, yarn.mscale));
  FATHOM_RETURN_IF_ERROR(rope.number("mscale_all_dim", 0, 100, yarn.mscale_all_dim));
  if (yarn.beta_fast < yarn.beta_slow) {
    if (const element* given = rope.find("beta_fast")) {
      return rope.wrong("beta_fast", *given, "at least beta_slow " + show(yarn.beta_slow));
    }
    return rope.wrong("beta_slow", *rope.find("beta_slow"),
                      "at most beta_fast " + show(yarn.beta_fast));
  }
  FATHOM_RETURN_IF_ERROR(rope.only("truncate", "true"));
  model.yarn = yarn;
  if (rope.find("attention_factor") != nullptr) {
    double given = 0;
    const double amplitude = model.rope_amplitude();
    FATHOM_RETURN_IF_ERROR(rope.number("attention_factor", 0, 1e6, given));
    if (std::abs(given - amplitude) > 1e-6) {
      return rope.wrong("attention_factor", *rope.find("attention_factor"),
                        show(amplitude) + ", which follows from mscale and mscale_all_dim");
    }
  }
  return {};
}

Status parse_rope(const Fields& fields, ModelConfig& model) {
  const element* older = fields.find("rope_scaling");
  const element* newer = fields.find("rope_parameters");
  if (older != nullptr && newer != nullptr) {
    return invalid_argument("rope_scaling and rope_parameters are both given, expected one");
  }
  constexpr double kMostTheta = 1e12;
  FATHOM_RETURN_IF_ERROR(fields.number("rope_theta", 2, kMostTheta, model.rope_theta));
  if (older == nullptr && newer == nullptr) return fields.require("rope_theta");

  const bool is_older = older != nullptr;
  Result<Fields> rope =
      Fields::of(is_older ? *older : *newer, is_older ? "rope_scaling." : "rope_parameters.");
  if (!rope.ok()) return rope.status();
  if (is_older || fields.find("rope_theta") != nullptr) {
    FATHOM_RETURN_IF_ERROR(fields.require("rope_theta"));
  } else {
    FATHOM_RETURN_IF_ERROR(rope->require("rope_theta"));
  }
  double theta = model.rope_theta;
  FATHOM_RETURN_IF_ERROR(rope->number("rope_theta", 2, kMostTheta, theta));
  if (fields.find("rope_theta") != nullptr && theta != model.rope_theta) {
    return rope->wrong("rope_theta", *rope->find("rope_theta"),
                       "rope_theta " + show(model.rope_theta));
  }
  model.rope_theta = theta;

  const char* type_name = rope->find("rope_type") != nullptr ? "rope_type" : "type";
  FATHOM_RETURN_IF_ERROR(rope->require(type_name));
  std::string type;
  FATHOM_RETURN_IF_ERROR(rope->text(type_name, type));
  if (type == "default") return {};
  FATHOM_RETURN_IF_ERROR(rope->only(type_name, R"("yarn")"));
  return parse_yarn(*rope, model);
}

Status parse_quantization(const Fields& fields, ModelConfig& model) {
  const element* given = fields.find("quantization_config");
  if (given == nullptr) return {};
  Result<Fields> format = Fields::of(*given, "quantization_config.");
  if (!format.ok()) return format.status();
  for (const char* name : {"quant_method", "weight_block_size"}) {
    FATHOM_RETURN_IF_ERROR(format->require(name));
  }
  FATHOM_RETURN_IF_ERROR(format->only("quant_method", R"("fp8")"));
  FATHOM_RETURN_IF_ERROR(format->only("fmt", R"("e4m3")"));
  FATHOM_RETURN_IF_ERROR(format->only("weight_block_size", "[128,128]"));
  FATHOM_RETURN_IF_ERROR(format->only("activation_scheme", R"("dynamic")"));
  FATHOM_RETURN_IF_ERROR(format->only("scale_fmt", R"("ue8m0")"));
  model.quantization = QuantizationConfig{format->find("scale_fmt") != nullptr};
  return {};
}

// A single id or a list of ids; those already known are not added again.
Status add_eos_ids(const Fields& fields, ModelConfig& model) {
  const element* given = fields.find("eos_token_id");
  if (given == nullptr) return {};
  std::vector<element> ids;
  simdjson::dom::array list;
  if (given->get(list)) {
    ids.push_back(*given);
  } else {
    for (const element id : list) ids.push_back(id);
  }
  for (const element& value : ids) {
    std::int64_t id = 0;
    if (value.get(id) || id < 0 || id >= model.vocab_size) {
      return fields.wrong("eos_token_id", *given,
                          "ids from 0 to " + std::to_string(model.vocab_size - 1));
    }
    const auto token = static_cast<std::int32_t>(id);
    auto& known = model.eos_token_ids;
    if (std::find(known.begin(), known.end(), token) == known.end()) known.push_back(token);
  }
  return {};
}

Status add_generation_config(std::string_view json, ModelConfig& model) {
  simdjson::dom::parser parser;
  Result<element> root = parse_json(parser, json);
  if (!root.ok()) return root.status();
  Result<Fields> fields = Fields::of(*root, "");
  if (!fields.ok()) return fields.status();
  return add_eos_ids(*fields, model);
}

}  // namespace

Result<ModelConfig> parse_model_config(std::string_view json) {
  simdjson::dom::parser parser;
  Result<element> root = parse_json(parser, json);
  if (!root.ok()) return root.status();
  Result<Fields> fields = Fields::of(*root, "");
  if (!fields.ok()) return fields.status();

  ModelConfig model;
  FATHOM_RETURN_IF_ERROR(parse_architecture(*fields, model));
  FATHOM_RETURN_IF_ERROR(parse_sizes(*fields, model));
  FATHOM_RETURN_IF_ERROR(check_sizes(*fields, model));
  FATHOM_RETURN_IF_ERROR(parse_rope(*fields, model));
  FATHOM_RETURN_IF_ERROR(parse_quantization(*fields, model));
  FATHOM_RETURN_IF_ERROR(
      fields->integer("bos_token_id", 0, model.vocab_size - 1, model.bos_token_id));
  FATHOM_RETURN_IF_ERROR(add_eos_ids(*fields, model));
  return model;
}

Result<ModelConfig> load_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path config = folder / "config.json";
  const Result<std::string> text = read_small_file(config, kMaxConfigBytes);
  if (!text.ok()) return text.status().in(config.string());
  Result<ModelConfig> model = parse_model_config(*text);
  if (!model.ok()) return model.status().in(config.string());

  const std::filesystem::path generation = folder / "generation_config.json";
  std::error_code unused;
  if (!std::filesystem::exists(generation, unused)) return model;
  const Result<std::string> more = read_small_file(generation, kMaxConfigBytes);
  if (!more.ok()) return more.status().in(generation.string());
  FATHOM_RETURN_IF_ERROR(add_generation_config(*more, *model).in(generation.string()));
  return model;
}

}  // namespace fathom::config
