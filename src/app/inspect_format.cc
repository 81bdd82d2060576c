#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "app/inspect_report.h"

namespace fathom::app {
namespace {

using model::Amount;
using model::Part;
using model::PartSums;

// "60,843,241,152"
std::string grouped(std::int64_t number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string fixed(double value, const char* unit) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.2f %s", value, unit);
  return text.data();
}

// "56.66 GiB"
std::string human_bytes(std::int64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? grouped(bytes) + " B" : fixed(value, kUnits[unit]);
}

// "36.55 G"
std::string human_count(std::int64_t count) {
  constexpr std::array kUnits = {"", "k", "M", "G", "T"};
  auto value = static_cast<double>(count);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? grouped(count) : fixed(value, kUnits[unit]);
}

std::string padded(std::string_view text, std::size_t width, bool right) {
  const std::string space(width > text.size() ? width - text.size() : 0, ' ');
  return right ? space + std::string(text) : std::string(text) + space;
}

// Rows of cells; the first column is to the left, numbers are to the right.
class Table {
 public:
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  std::string text() const {
    std::vector<std::size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string lines;
    for (const auto& row : rows_) {
      lines += "  ";
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (i > 0) lines += "  ";
        lines += padded(row[i], widths[i], i > 0);
      }
      lines.erase(lines.find_last_not_of(' ') + 1);
      lines += '\n';
    }
    return lines;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::vector<Part> parts_of(const PartSums& sums) {
  std::vector<Part> parts;
  for (int i = 0; i < model::kParts; ++i) {
    const auto part = static_cast<Part>(i);
    if (sums[part].tensors > 0) parts.push_back(part);
  }
  return parts;
}

std::string architecture_text(const InspectReport& report) {
  const config::ModelConfig& c = report.config;
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  std::string text = "  " + number(c.num_hidden_layers) + " layers (" +
                     number(c.num_hidden_layers - report.moe_layers) + " dense, " +
                     number(report.moe_layers) + " with experts)";
  text += c.num_nextn_predict_layers > 0 ? " and a draft layer" : ", no draft layer";
  text += ", hidden size " + number(c.hidden_size) + ", vocabulary " + number(c.vocab_size) + "\n";
  text += "  attention: " + number(c.num_attention_heads) + " heads of " +
          number(c.qk_nope_head_dim) + " + " + number(c.qk_rope_head_dim) + ", values of " +
          number(c.v_head_dim) + "; latent " + number(c.kv_lora_rank) + ", query rank " +
          number(c.q_lora_rank) + "\n";
  text += "  indexer: " + number(c.index_n_heads) + " heads of " + number(c.index_head_dim) +
          ", picks " + number(c.index_topk) + " tokens\n";
  text += "  experts: " + number(c.num_experts_per_tok) + " of " + number(c.n_routed_experts) +
          " a token, in " + number(c.topk_group) + " of " + number(c.n_group) + " groups, and " +
          number(c.n_shared_experts) + " shared; width " + number(c.moe_intermediate_size) +
          " (dense layers " + number(c.intermediate_size) + ")\n";
  text += "  positions: " + number(c.max_position_embeddings);
  if (c.yarn) {
    text += ", YaRN from " + number(c.yarn->original_max_position_embeddings);
  }
  text += c.quantization ? "; weights in FP8 blocks of 128 x 128\n" : "; weights not quantised\n";
  return text;
}

std::string sums_text(const InspectReport& report) {
  Table table;
  table.add({"part", "tensors", "parameters", "bytes"});
  for (const Part part : parts_of(report.sums)) {
    const Amount& amount = report.sums[part];
    table.add({std::string(model::part_name(part)), grouped(amount.tensors),
               grouped(amount.parameters), grouped(amount.bytes)});
  }
  const auto sum = [&](const char* name, const Amount& amount) {
    table.add({name, grouped(amount.tensors), grouped(amount.parameters), grouped(amount.bytes),
               human_bytes(amount.bytes)});
  };
  sum("main model", report.sums.main_model());
  sum("all", report.sums.total());
  return table.text();
}

std::string caches_text(const InspectReport& report) {
  const std::string main = grouped(report.config.num_hidden_layers) + " layers";
  const std::string all = grouped(report.config.layers_with_cache()) + " layers";
  const bool draft = report.config.num_nextn_predict_layers > 0;
  Table table;
  table.add({"", "latent", "index keys", "a layer", main, draft ? all + " (with draft)" : ""});
  for (const InspectReport::CacheBytes& cache : report.caches) {
    table.add({cache.layout, grouped(cache.latent), grouped(cache.index_keys),
               grouped(cache.per_layer()),
               grouped(cache.per_layer() * report.config.num_hidden_layers),
               draft ? grouped(cache.per_layer() * report.config.layers_with_cache()) : ""});
  }
  return table.text();
}

std::string rank_name(const InspectReport::RankGroup& group) {
  if (group.first == group.last) return "rank " + std::to_string(group.first);
  return "ranks " + std::to_string(group.first) + "-" + std::to_string(group.last);
}

std::string ranks_text(const InspectReport& report) {
  Table table;
  std::vector<std::string> head = {"bytes"};
  for (const auto& group : report.ranks) head.push_back(rank_name(group));
  table.add(head);
  for (const Part part : parts_of(report.ranks.front().sums)) {
    std::vector<std::string> row = {std::string(model::part_name(part))};
    for (const auto& group : report.ranks) row.push_back(grouped(group.sums[part].bytes));
    table.add(row);
  }
  std::vector<std::string> main = {"main model"};
  std::vector<std::string> loaded = {"all"};
  std::vector<std::string> human = {""};
  std::vector<std::string> experts = {"routed experts of a layer"};
  for (const auto& group : report.ranks) {
    main.push_back(grouped(group.sums.main_model().bytes));
    loaded.push_back(grouped(group.sums.loaded().bytes));
    human.push_back(human_bytes(group.sums.loaded().bytes));
    experts.push_back(grouped(group.experts));
  }
  for (auto& row : {main, loaded, human, experts}) table.add(row);
  return table.text();
}

// One JSON object, written member by member.
class Json {
 public:
  void raw(const char* name, const std::string& value) {
    text_ += text_.empty() ? "{\"" : ",\"";
    text_ += name;
    text_ += "\":";
    text_ += value;
  }
  void add(const char* name, std::int64_t value) { raw(name, std::to_string(value)); }
  void add(const char* name, std::string_view value) { raw(name, quoted(value)); }
  std::string close() const { return text_.empty() ? "{}" : text_ + "}"; }

  static std::string quoted(std::string_view text) {
    std::string json = "\"";
    for (const char character : text) {
      const auto byte = static_cast<unsigned char>(character);
      if (byte < 0x20) {
        std::array<char, 8> escape{};
        std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(byte));
        json += escape.data();
        continue;
      }
      if (character == '"' || character == '\\') json += '\\';
      json += character;
    }
    return json + "\"";
  }

 private:
  std::string text_;
};

std::string list(const std::vector<std::string>& items) {
  std::string json = "[";
  for (const std::string& item : items) {
    if (json.size() > 1) json += ',';
    json += item;
  }
  return json + "]";
}

std::string amount_json(const Amount& amount) {
  Json json;
  json.add("tensors", amount.tensors);
  json.add("parameters", amount.parameters);
  json.add("scales", amount.scales);
  json.add("bytes", amount.bytes);
  return json.close();
}

std::string parts_json(const PartSums& sums) {
  Json json;
  for (const Part part : parts_of(sums)) {
    std::string key(model::part_name(part));
    std::replace(key.begin(), key.end(), ' ', '_');
    json.raw(key.c_str(), amount_json(sums[part]));
  }
  return json.close();
}

std::string config_json(const InspectReport& report) {
  const config::ModelConfig& config = report.config;
  Json json;
  json.add("architecture", config.architecture);
  json.add("layers", config.num_hidden_layers);
  json.add("moe_layers", report.moe_layers);
  json.add("draft_layers", config.num_nextn_predict_layers);
  json.add("hidden_size", config.hidden_size);
  json.add("vocab_size", config.vocab_size);
  json.add("attention_heads", config.num_attention_heads);
  json.add("routed_experts", config.n_routed_experts);
  json.add("experts_per_token", config.num_experts_per_tok);
  json.add("index_topk", config.index_topk);
  json.add("max_position_embeddings", config.max_position_embeddings);
  json.raw("fp8_weights", config.quantization ? "true" : "false");
  return json.close();
}

std::string caches_json(const InspectReport& report) {
  std::vector<std::string> caches;
  for (const InspectReport::CacheBytes& cache : report.caches) {
    Json json;
    json.add("layout", cache.layout);
    json.add("latent_bytes", cache.latent);
    json.add("index_key_bytes", cache.index_keys);
    json.add("layer_bytes", cache.per_layer());
    json.add("main_bytes", cache.per_layer() * report.config.num_hidden_layers);
    json.add("all_bytes", cache.per_layer() * report.config.layers_with_cache());
    caches.push_back(json.close());
  }
  return list(caches);
}

std::string ranks_json(const InspectReport& report) {
  std::vector<std::string> ranks;
  for (const InspectReport::RankGroup& group : report.ranks) {
    Json json;
    json.add("first_rank", group.first);
    json.add("last_rank", group.last);
    json.add("routed_experts_per_layer", group.experts);
    json.raw("parts", parts_json(group.sums));
    json.raw("main_model", amount_json(group.sums.main_model()));
    json.raw("all", amount_json(group.sums.loaded()));
    ranks.push_back(json.close());
  }
  return list(ranks);
}

}  // namespace

std::string report_text(const InspectReport& report) {
  std::string text = report.source + "\n  " + report.config.architecture;
  if (report.files) {
    text += ", " + grouped(report.files->files) +
            (report.files->files == 1 ? " file, " : " files, ") + grouped(report.files->tensors) +
            " tensors, " + human_bytes(report.files->bytes);
  } else {
    text += ", sizes as the published format stores it";
  }
  text += "\n" + architecture_text(report) + "\n" + sums_text(report);
  text += "\nactivated parameters a token: " + human_count(report.activated.layers) + ", " +
          human_count(report.activated.with_head) + " with the output head, " +
          human_count(report.activated.with_head_and_embedding) + " with head and embedding\n";
  text += "\ncache bytes a token\n" + caches_text(report);
  const model::Layout& layout = report.layout;
  text += "\nweights on each rank: tensor parallel " + std::to_string(layout.tensor_parallel_size) +
          ", data-parallel attention " + std::to_string(layout.data_parallel_size) +
          ", expert parallel " + std::to_string(layout.ep_size) + "\n" + ranks_text(report);
  return text;
}

std::string report_json(const InspectReport& report) {
  Json json;
  json.add("source", report.source);
  json.raw("model", config_json(report));
  if (report.files) {
    Json files;
    files.add("count", report.files->files);
    files.add("tensors", report.files->tensors);
    files.add("bytes", report.files->bytes);
    json.raw("files", files.close());
  }
  json.raw("parts", parts_json(report.sums));
  json.raw("main_model", amount_json(report.sums.main_model()));
  json.raw("all", amount_json(report.sums.total()));
  Json activated;
  activated.add("layers", report.activated.layers);
  activated.add("with_head", report.activated.with_head);
  activated.add("with_head_and_embedding", report.activated.with_head_and_embedding);
  json.raw("activated_parameters", activated.close());
  json.raw("cache_bytes_per_token", caches_json(report));
  Json layout;
  layout.add("tensor_parallel_size", report.layout.tensor_parallel_size);
  layout.add("data_parallel_size", report.layout.data_parallel_size);
  layout.add("ep_size", report.layout.ep_size);
  json.raw("layout", layout.close());
  json.raw("ranks", ranks_json(report));
  return json.close() + "\n";
}

}  // namespace fathom::app
