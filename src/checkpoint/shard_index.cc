#include "checkpoint/shard_index.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include <simdjson.h>

#include "checkpoint/message_text.h"

namespace fathom::checkpoint {
namespace {

bool is_shard_name(std::string_view file) {
  constexpr std::string_view kEnding = ".safetensors";
  constexpr std::size_t kLongestFileName = 255;
  if (file.size() <= kEnding.size() || file.size() > kLongestFileName) return false;
  if (file.substr(file.size() - kEnding.size()) != kEnding) return false;
  return std::all_of(file.begin(), file.end(), [](char character) {
    return character != '/' && character != '\\' && static_cast<unsigned char>(character) >= 0x20;
  });
}

}  // namespace

Result<ShardIndex> parse_shard_index(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root)) {
    return invalid_argument(std::string("not a JSON object: ") + simdjson::error_message(error));
  }
  simdjson::dom::object weight_map;
  if (root["weight_map"].get(weight_map)) {
    return invalid_argument("weight_map is missing, or is not an object");
  }
  std::map<std::string_view, std::vector<std::string>> by_file;
  std::unordered_set<std::string_view> names;
  for (const auto& [name, value] : weight_map) {
    if (!names.insert(name).second) {
      return invalid_argument("weight_map has tensor " + in_quotes(name) + " twice");
    }
    std::string_view file;
    if (value.get(file) || !is_shard_name(file)) {
      return invalid_argument("weight_map: tensor " + in_quotes(name) + ": the file is " +
                              in_quotes(simdjson::minify(value)) +
                              ", expected a name without folders that ends in .safetensors");
    }
    by_file[file].emplace_back(name);
  }
  if (by_file.empty()) return invalid_argument("weight_map is empty");

  ShardIndex index;
  for (auto& [file, tensors] : by_file) {
    std::sort(tensors.begin(), tensors.end());
    index.shards.push_back({std::string(file), std::move(tensors)});
  }
  return index;
}

}  // namespace fathom::checkpoint
