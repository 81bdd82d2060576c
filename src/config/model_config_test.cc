#include "config/model_config.h"

#include <cmath>
#include <fstream>
#include <map>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"

namespace fathom::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// config.json by fields, each with its JSON text; a test changes one and parses the whole.
using Members = std::map<std::string, std::string>;

std::string object(const Members& members) {
  std::string text = "{";
  for (const auto& [name, value] : members) {
    if (text.size() > 1) text += ", ";
    text.append("\"").append(name).append("\": ").append(value);
  }
  return text + "}";
}

Members yarn() {
  return {{"type", "\"yarn\""},     {"factor", "40"},   {"original_max_position_embeddings", "128"},
          {"beta_fast", "32"},      {"beta_slow", "1"}, {"mscale", "1.0"},
          {"mscale_all_dim", "1.0"}};
}

Members fp8() {
  return {{"quant_method", "\"fp8\""},
          {"fmt", "\"e4m3\""},
          {"weight_block_size", "[128, 128]"},
          {"activation_scheme", "\"dynamic\""},
          {"scale_fmt", "\"ue8m0\""}};
}

Members small() {
  return {{"architectures", "[\"DeepseekV32ForCausalLM\"]"},
          {"model_type", "\"deepseek_v32\""},
          {"vocab_size", "512"},
          {"hidden_size", "128"},
          {"num_hidden_layers", "3"},
          {"first_k_dense_replace", "1"},
          {"intermediate_size", "256"},
          {"moe_intermediate_size", "64"},
          {"n_routed_experts", "16"},
          {"n_shared_experts", "1"},
          {"num_experts_per_tok", "4"},
          {"n_group", "4"},
          {"topk_group", "2"},
          {"routed_scaling_factor", "2.5"},
          {"num_attention_heads", "4"},
          {"q_lora_rank", "96"},
          {"kv_lora_rank", "64"},
          {"qk_nope_head_dim", "32"},
          {"qk_rope_head_dim", "16"},
          {"v_head_dim", "32"},
          {"index_n_heads", "16"},
          {"index_head_dim", "32"},
          {"index_topk", "32"},
          {"rms_norm_eps", "1e-06"},
          {"max_position_embeddings", "4096"},
          {"rope_theta", "10000"}};
}

Result<ModelConfig> parse_with(const std::string& name, const std::string& value) {
  Members members = small();
  members[name] = value;
  return parse_model_config(object(members));
}

std::string refusal(const std::string& name, const std::string& value) {
  return parse_with(name, value).status().message();
}

ModelConfig real() {
  const std::string path = FATHOM_SOURCE_DIR "/tests/data/real-config.json";
  return parse_model_config(read_small_file(path, 1 << 20).value()).value();
}

TEST(ModelConfig, ReadsEveryFieldOfThePublishedFile) {
  const ModelConfig model = real();

  EXPECT_EQ(model.model_type, "deepseek_v32");
  EXPECT_EQ(model.architecture, "DeepseekV32ForCausalLM");
  EXPECT_EQ(model.torch_dtype, "bfloat16");
  EXPECT_EQ(model.vocab_size, 129280);
  EXPECT_EQ(model.hidden_size, 7168);
  EXPECT_EQ(model.num_hidden_layers, 61);
  EXPECT_EQ(model.num_nextn_predict_layers, 1);
  EXPECT_EQ(model.layers_with_cache(), 62);
  EXPECT_EQ(model.first_k_dense_replace, 3);
  EXPECT_EQ(model.moe_layer_freq, 1);
  EXPECT_EQ(model.intermediate_size, 18432);
  EXPECT_EQ(model.moe_intermediate_size, 2048);
  EXPECT_EQ(model.n_routed_experts, 256);
  EXPECT_EQ(model.n_shared_experts, 1);
  EXPECT_EQ(model.num_experts_per_tok, 8);
  EXPECT_EQ(model.n_group, 8);
  EXPECT_EQ(model.topk_group, 4);
  EXPECT_TRUE(model.norm_topk_prob);
  EXPECT_EQ(model.routed_scaling_factor, 2.5F);
  EXPECT_EQ(model.num_attention_heads, 128);
  EXPECT_EQ(model.q_lora_rank, 1536);
  EXPECT_EQ(model.kv_lora_rank, 512);
  EXPECT_EQ(model.qk_nope_head_dim, 128);
  EXPECT_EQ(model.qk_rope_head_dim, 64);
  EXPECT_EQ(model.qk_head_dim(), 192);
  EXPECT_EQ(model.v_head_dim, 128);
  EXPECT_EQ(model.index_n_heads, 64);
  EXPECT_EQ(model.index_head_dim, 128);
  EXPECT_EQ(model.index_topk, 2048);
  EXPECT_EQ(model.rms_norm_eps, 1e-6F);
  EXPECT_EQ(model.max_position_embeddings, 163840);
  EXPECT_EQ(model.rope_theta, 10000);
  ASSERT_TRUE(model.yarn.has_value());
  EXPECT_EQ(model.yarn->factor, 40);
  EXPECT_EQ(model.yarn->original_max_position_embeddings, 4096);
  EXPECT_EQ(model.yarn->beta_fast, 32);
  EXPECT_EQ(model.yarn->beta_slow, 1);
  EXPECT_EQ(model.yarn->mscale, 1);
  EXPECT_EQ(model.yarn->mscale_all_dim, 1);
  ASSERT_TRUE(model.quantization.has_value());
  EXPECT_TRUE(model.quantization->ue8m0_scales);
  EXPECT_FALSE(model.tie_word_embeddings);
  EXPECT_EQ(model.bos_token_id, 0);
  EXPECT_THAT(model.eos_token_ids, ElementsAre(1));
}

TEST(ModelConfig, PutsYarnsTemperatureIntoTheSoftmaxScale) {
  EXPECT_EQ(real().softmax_scale(), 0.1352337789F);
  EXPECT_EQ(real().rope_amplitude(), 1.0F);

  ModelConfig plain = real();
  plain.yarn.reset();
  EXPECT_EQ(plain.softmax_scale(), static_cast<float>(1 / std::sqrt(192.0)));
  EXPECT_EQ(plain.rope_amplitude(), 1.0F);

  // Without mscale_all_dim the temperature is in the tables instead.
  ModelConfig in_tables = real();
  in_tables.yarn->mscale_all_dim = 0;
  EXPECT_EQ(in_tables.softmax_scale(), plain.softmax_scale());
  EXPECT_FLOAT_EQ(in_tables.rope_amplitude(), 1.3688879454F);

  ModelConfig unscaled = real();
  unscaled.yarn->factor = 1;
  EXPECT_EQ(unscaled.softmax_scale(), plain.softmax_scale());
}

TEST(ModelConfig, KnowsTheKindOfEachLayer) {
  ModelConfig model = real();
  EXPECT_FALSE(model.is_moe_layer(0));
  EXPECT_FALSE(model.is_moe_layer(2));
  EXPECT_TRUE(model.is_moe_layer(3));
  EXPECT_TRUE(model.is_moe_layer(61));

  model.moe_layer_freq = 2;
  EXPECT_FALSE(model.is_moe_layer(3));
  EXPECT_TRUE(model.is_moe_layer(4));
  EXPECT_TRUE(model.is_moe_layer(61));  // the draft layer, whatever the frequency
}

TEST(ModelConfig, HasDefaultsForWhatMayBeLeftOut) {
  const ModelConfig model = parse_model_config(object(small())).value();

  EXPECT_EQ(model.num_nextn_predict_layers, 0);
  EXPECT_EQ(model.moe_layer_freq, 1);
  EXPECT_TRUE(model.norm_topk_prob);
  EXPECT_FALSE(model.yarn.has_value());
  EXPECT_FALSE(model.quantization.has_value());
  EXPECT_EQ(model.bos_token_id, 0);
  EXPECT_THAT(model.eos_token_ids, IsEmpty());
  EXPECT_EQ(model.torch_dtype, "bfloat16");
  EXPECT_EQ(parse_with("dtype", "\"float32\"")->torch_dtype, "float32");
  EXPECT_EQ(parse_with("norm_topk_prob", "false")->norm_topk_prob, false);
  EXPECT_TRUE(parse_with("first_k_dense_replace", "0").ok());
}

TEST(ModelConfig, TakesBothSpellingsOfTheRotaryScaling) {
  Members scaling = yarn();
  const ModelConfig by_type = parse_with("rope_scaling", object(scaling)).value();
  scaling.erase("type");
  scaling["rope_type"] = "\"yarn\"";
  const ModelConfig by_rope_type = parse_with("rope_scaling", object(scaling)).value();
  Members newer = small();
  newer.erase("rope_theta");
  scaling["rope_theta"] = "50000.0";
  newer["rope_parameters"] = object(scaling);
  const ModelConfig by_parameters = parse_model_config(object(newer)).value();

  EXPECT_EQ(by_type.yarn->factor, 40);
  EXPECT_EQ(by_rope_type.yarn->factor, 40);
  EXPECT_EQ(by_parameters.yarn->original_max_position_embeddings, 128);
  EXPECT_EQ(by_parameters.rope_theta, 50000);
  EXPECT_FALSE(parse_with("rope_scaling", "null")->yarn.has_value());
  newer["rope_parameters"] = R"({"rope_type": "default", "rope_theta": 10000})";
  EXPECT_FALSE(parse_model_config(object(newer))->yarn.has_value());
}

TEST(ModelConfig, TakesOneEndIdOrSeveral) {
  EXPECT_THAT(parse_with("eos_token_id", "7")->eos_token_ids, ElementsAre(7));
  EXPECT_THAT(parse_with("eos_token_id", "[7, 9, 7]")->eos_token_ids, ElementsAre(7, 9));
  EXPECT_EQ(refusal("eos_token_id", "512"), "eos_token_id is 512, expected ids from 0 to 511");
  EXPECT_EQ(refusal("eos_token_id", "[1, \"a\"]"),
            "eos_token_id is [1,\"a\"], expected ids from 0 to 511");
}

TEST(ModelConfig, RefusesAMissingFieldByItsName) {
  for (const char* name : {"model_type",
                           "vocab_size",
                           "hidden_size",
                           "num_hidden_layers",
                           "first_k_dense_replace",
                           "intermediate_size",
                           "moe_intermediate_size",
                           "n_routed_experts",
                           "n_shared_experts",
                           "num_experts_per_tok",
                           "n_group",
                           "topk_group",
                           "routed_scaling_factor",
                           "num_attention_heads",
                           "q_lora_rank",
                           "kv_lora_rank",
                           "qk_nope_head_dim",
                           "qk_rope_head_dim",
                           "v_head_dim",
                           "index_n_heads",
                           "index_head_dim",
                           "index_topk",
                           "rms_norm_eps",
                           "max_position_embeddings",
                           "rope_theta"}) {
    Members members = small();
    members.erase(name);

    const Status refused = parse_model_config(object(members)).status();

    EXPECT_EQ(refused.code(), Code::kInvalidArgument);
    EXPECT_EQ(refused.message(), std::string(name) + " is missing");
  }
  EXPECT_EQ(refusal("q_lora_rank", "null"), "q_lora_rank is missing");
}

TEST(ModelConfig, RefusesSizesOutOfBounds) {
  EXPECT_EQ(refusal("hidden_size", "0"), "hidden_size is 0, expected an integer from 1 to 65536");
  EXPECT_EQ(refusal("hidden_size", "-4"), "hidden_size is -4, expected an integer from 1 to 65536");
  EXPECT_EQ(refusal("vocab_size", "9223372036854775808"),
            "vocab_size is 9223372036854775808, expected an integer from 2 to 2097152");
  EXPECT_EQ(refusal("vocab_size", "1.5"),
            "vocab_size is 1.5, expected an integer from 2 to 2097152");
  EXPECT_EQ(refusal("index_topk", "\"32\""),
            "index_topk is \"32\", expected an integer from 1 to 1048576");
  EXPECT_EQ(refusal("n_shared_experts", "0"),
            "n_shared_experts is 0, expected an integer from 1 to 64");
  EXPECT_EQ(refusal("num_nextn_predict_layers", "2"),
            "num_nextn_predict_layers is 2, expected an integer from 0 to 1");
  EXPECT_EQ(refusal("rms_norm_eps", "0"), "rms_norm_eps is 0, expected a number from 1e-12 to 1");
  EXPECT_EQ(refusal("rope_theta", "1"), "rope_theta is 1, expected a number from 2 to 1e+12");
  EXPECT_EQ(refusal("bos_token_id", "512"),
            "bos_token_id is 512, expected an integer from 0 to 511");
  EXPECT_EQ(refusal("norm_topk_prob", "1"), "norm_topk_prob is 1, expected true or false");
  EXPECT_EQ(refusal("torch_dtype", "16"), "torch_dtype is 16, expected a string");
}

TEST(ModelConfig, RefusesSizesThatDoNotFitTogether) {
  EXPECT_EQ(refusal("n_routed_experts", "18"),
            "n_routed_experts is 18, expected a multiple of n_group 4");
  EXPECT_EQ(refusal("n_group", "16"),
            "n_group is 16, expected 2 or more experts in each group: a group's score is the sum "
            "of its best two");
  EXPECT_EQ(refusal("topk_group", "5"), "topk_group is 5, expected at most n_group 4");
  EXPECT_EQ(refusal("num_experts_per_tok", "9"),
            "num_experts_per_tok is 9, expected at most the 8 experts of the topk_group chosen "
            "groups");
  EXPECT_EQ(refusal("first_k_dense_replace", "4"),
            "first_k_dense_replace is 4, expected at most num_hidden_layers 3");
  EXPECT_EQ(refusal("qk_rope_head_dim", "15"), "qk_rope_head_dim is 15, expected an even number");
  EXPECT_EQ(refusal("qk_rope_head_dim", "34"),
            "qk_rope_head_dim is 34, expected at most index_head_dim 32");
  EXPECT_EQ(refusal("num_key_value_heads", "2"),
            "num_key_value_heads is 2, expected an integer from 4 to 4");
  EXPECT_EQ(refusal("qk_head_dim", "64"), "qk_head_dim is 64, expected an integer from 48 to 48");
  Members many = small();
  many["num_hidden_layers"] = "512";
  many["n_routed_experts"] = "4096";
  EXPECT_EQ(parse_model_config(object(many)).status().message(),
            "n_routed_experts is 4096, expected at most 262144 in all 512 layers");
}

TEST(ModelConfig, RefusesWhatItWouldComputeDifferently) {
  EXPECT_EQ(refusal("model_type", "\"deepseek_v3\""),
            "model_type is \"deepseek_v3\", expected \"deepseek_v32\"");
  EXPECT_EQ(refusal("architectures", "[\"LlamaForCausalLM\"]"),
            "architectures is [\"LlamaForCausalLM\"], expected [\"DeepseekV32ForCausalLM\"]");
  EXPECT_EQ(refusal("hidden_act", "\"gelu\""), "hidden_act is \"gelu\", expected \"silu\"");
  EXPECT_EQ(refusal("scoring_func", "\"softmax\""),
            "scoring_func is \"softmax\", expected \"sigmoid\"");
  EXPECT_EQ(refusal("topk_method", "\"greedy\""),
            "topk_method is \"greedy\", expected \"noaux_tc\"");
  EXPECT_EQ(refusal("attention_bias", "true"), "attention_bias is true, expected false");
  EXPECT_EQ(refusal("tie_word_embeddings", "true"), "tie_word_embeddings is true, expected false");
  EXPECT_EQ(refusal("rope_interleave", "false"), "rope_interleave is false, expected true");
  EXPECT_EQ(refusal("indexer_rope_interleave", "true"),
            "indexer_rope_interleave is true, expected false");
}

TEST(ModelConfig, RefusesOtherRotaryScalings) {
  const auto with = [](const std::string& name, const std::string& value) {
    Members scaling = yarn();
    scaling[name] = value;
    return refusal("rope_scaling", object(scaling));
  };
  EXPECT_EQ(with("type", "\"linear\""), "rope_scaling.type is \"linear\", expected \"yarn\"");
  EXPECT_EQ(with("rope_type", "\"llama3\""),
            "rope_scaling.rope_type is \"llama3\", expected \"yarn\"");
  EXPECT_EQ(with("factor", "0.5"), "rope_scaling.factor is 0.5, expected a number from 1 to 1e+06");
  EXPECT_EQ(with("factor", "null"), "rope_scaling.factor is missing");
  EXPECT_EQ(with("beta_fast", "0.5"),
            "rope_scaling.beta_fast is 0.5, expected at least beta_slow 1");
  EXPECT_EQ(with("beta_slow", "64"),
            "rope_scaling.beta_fast is 32, expected at least beta_slow 64");
  EXPECT_EQ(with("truncate", "false"), "rope_scaling.truncate is false, expected true");
  EXPECT_EQ(with("attention_factor", "1.2"),
            "rope_scaling.attention_factor is 1.2, expected 1, which follows from mscale and "
            "mscale_all_dim");
  EXPECT_EQ(with("rope_theta", "20000"),
            "rope_scaling.rope_theta is 20000, expected rope_theta 10000");
  EXPECT_EQ(refusal("rope_scaling", "{}"), "rope_scaling.type is missing");
  EXPECT_EQ(refusal("rope_scaling", "4"), "rope_scaling is 4, expected an object");
  Members both = small();
  both["rope_scaling"] = both["rope_parameters"] = object(yarn());
  EXPECT_EQ(parse_model_config(object(both)).status().message(),
            "rope_scaling and rope_parameters are both given, expected one");
}

TEST(ModelConfig, NamesTheLaterBoundWhenADefaultIsBroken) {
  Members scaling = yarn();
  scaling.erase("beta_fast");
  scaling["beta_slow"] = "64";

  EXPECT_EQ(refusal("rope_scaling", object(scaling)),
            "rope_scaling.beta_slow is 64, expected at most beta_fast 32");
}

TEST(ModelConfig, RefusesOtherQuantisations) {
  const auto with = [](const std::string& name, const std::string& value) {
    Members format = fp8();
    format[name] = value;
    return refusal("quantization_config", object(format));
  };
  EXPECT_EQ(with("quant_method", "\"awq\""),
            "quantization_config.quant_method is \"awq\", expected \"fp8\"");
  EXPECT_EQ(with("fmt", "\"e5m2\""), "quantization_config.fmt is \"e5m2\", expected \"e4m3\"");
  EXPECT_EQ(with("weight_block_size", "[64, 128]"),
            "quantization_config.weight_block_size is [64,128], expected [128,128]");
  EXPECT_EQ(with("weight_block_size", "null"), "quantization_config.weight_block_size is missing");
  EXPECT_EQ(with("activation_scheme", "\"static\""),
            "quantization_config.activation_scheme is \"static\", expected \"dynamic\"");
  EXPECT_EQ(with("scale_fmt", "\"float\""),
            "quantization_config.scale_fmt is \"float\", expected \"ue8m0\"");
  Members plain = fp8();
  plain.erase("scale_fmt");
  EXPECT_FALSE(parse_with("quantization_config", object(plain))->quantization->ue8m0_scales);
  EXPECT_TRUE(parse_with("quantization_config", object(fp8()))->quantization->ue8m0_scales);
}

TEST(ModelConfig, RefusesWhatIsNoConfiguration) {
  EXPECT_THAT(parse_model_config("").status().message(), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_model_config("{\"a\": ").status().message(), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_model_config(std::string(100'000, '[')).status().message(),
              HasSubstr("not valid JSON"));
  EXPECT_EQ(parse_model_config("[1]").status().message(),
            "the document is [1], expected an object");
  EXPECT_EQ(parse_model_config(R"({"hidden_size": 1, "hidden_size": 2})").status().message(),
            "hidden_size is given twice");
  EXPECT_THAT(refusal("hidden_act", '"' + std::string(300, 'x') + '"'),
              HasSubstr("xxx…, expected"));
}

class ModelFolder : public testing::Test {
 protected:
  ModelFolder() : folder_(testing::TempDir() + "fathom_config." + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~ModelFolder() override { std::filesystem::remove_all(folder_); }

  void write(const char* name, const std::string& text) { std::ofstream(folder_ / name) << text; }

  std::filesystem::path folder_;
};

TEST_F(ModelFolder, AddsTheEndIdsOfTheGenerationConfiguration) {
  Members members = small();
  members["eos_token_id"] = "1";
  write("config.json", object(members));
  EXPECT_THAT(load_model_config(folder_)->eos_token_ids, ElementsAre(1));

  write("generation_config.json", R"({"eos_token_id": [3, 1], "temperature": 0.6})");
  EXPECT_THAT(load_model_config(folder_)->eos_token_ids, ElementsAre(1, 3));
}

TEST_F(ModelFolder, NamesTheFileThatFails) {
  const std::string config = (folder_ / "config.json").string();
  const std::string generation = (folder_ / "generation_config.json").string();
  EXPECT_EQ(load_model_config(folder_).status().message(), config + ": there is no such file");

  write("config.json", "{}");
  EXPECT_EQ(load_model_config(folder_).status().message(), config + ": model_type is missing");

  write("config.json", object(small()));
  write("generation_config.json", R"({"eos_token_id": -1})");
  EXPECT_EQ(load_model_config(folder_).status().message(),
            generation + ": eos_token_id is -1, expected ids from 0 to 511");
  write("generation_config.json", "{");
  EXPECT_THAT(load_model_config(folder_).status().message(),
              HasSubstr(generation + ": not valid JSON"));
}

}  // namespace
}  // namespace fathom::config
