#include "text/tokenizer_json.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/pipeline_json.h"

namespace fathom::text {
namespace {

using json::array;
using json::dotted;
using json::element;
using json::in_quotes;
using json::indexed;
using json::member;
using json::object;
using json::parse_object;
using json::read;
using json::read_id;
using json::read_optional;
using json::read_required;
using json::unsupported;
using json::wrong_kind;

constexpr std::size_t kMaxTokenBytes = 64 << 10;

// Settings of the model that would change the ids in ways that are not implemented.
Status check_model(const object& model) {
  std::string_view type = "BPE";
  FATHOM_RETURN_IF_ERROR(read_optional(model, "model", "type", type));
  if (type != "BPE") return unsupported("model.type", type, "BPE");
  bool byte_fallback = false;
  FATHOM_RETURN_IF_ERROR(read_optional(model, "model", "byte_fallback", byte_fallback));
  if (byte_fallback) return unsupported("model.byte_fallback", "true", "false");
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    std::string_view affix;
    FATHOM_RETURN_IF_ERROR(read_optional(model, "model", key, affix));
    if (!affix.empty()) return unsupported(dotted("model", key), affix, "none");
  }
  const std::optional<element> dropout = member(model, "dropout");
  if (dropout.has_value()) {
    double rate = 0;
    if (dropout->get(rate) != simdjson::SUCCESS) {
      return wrong_kind("model.dropout", "a number", *dropout);
    }
    if (rate != 0) return unsupported("model.dropout", std::to_string(rate), "0");
  }
  return {};
}

Status read_vocab(const object& model, TokenTable& tokens) {
  object vocab;
  FATHOM_RETURN_IF_ERROR(read_required(model, "model", "vocab", vocab));
  std::string bytes;
  for (const auto [spelled, value] : vocab) {
    const auto field = [token = spelled] { return "model.vocab[" + in_quotes(token) + "]"; };
    TokenId id = 0;
    if (Status status = read_id(value, "id", id); !status.ok()) return status.in(field());
    if (spelled.size() > kMaxTokenBytes) {
      return invalid_argument(field() + ": the token has " + std::to_string(spelled.size()) +
                              " bytes, at most " + std::to_string(kMaxTokenBytes) + " are allowed");
    }
    // What is not spelled in the byte alphabet (a special token, say) stands for itself, and no
    // merge can lead to it.
    bytes.clear();
    const bool is_spelled = append_spelled_bytes(spelled, bytes) && !bytes.empty();
    if (!tokens.add(id, is_spelled ? std::string_view(bytes) : spelled)) {
      return invalid_argument(field() + ": id " + std::to_string(id) +
                              " belongs to another token already");
    }
    if (is_spelled && !tokens.make_findable(id)) {
      return invalid_argument(field() + ": the token is listed twice");
    }
  }
  return {};
}

// The two halves of a merge, "a b" or ["a", "b"].
Status read_halves(const element& value, std::string_view& left, std::string_view& right) {
  std::string_view line;
  if (value.get(line) == simdjson::SUCCESS) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) {
      return invalid_argument("wanted two tokens and a space between, found " + in_quotes(line));
    }
    left = line.substr(0, space);
    right = line.substr(space + 1);
    return {};
  }
  array pair;
  if (value.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
      pair.at(0).get(left) != simdjson::SUCCESS || pair.at(1).get(right) != simdjson::SUCCESS) {
    return invalid_argument("wanted a string or two strings in an array");
  }
  return {};
}

Status find_spelled(const TokenTable& tokens,
                    std::string_view spelled,
                    std::string& bytes,
                    TokenId& id) {
  const std::size_t before = bytes.size();
  if (!append_spelled_bytes(spelled, bytes)) {
    return invalid_argument(in_quotes(spelled) + " is not spelled in the byte-level alphabet");
  }
  id = tokens.find(std::string_view(bytes).substr(before));
  return id >= 0 ? Status() : invalid_argument(in_quotes(spelled) + " is not in model.vocab");
}

Status read_merge(const element& value,
                  const TokenTable& tokens,
                  std::string& scratch,
                  Merge& merge) {
  std::string_view left;
  std::string_view right;
  FATHOM_RETURN_IF_ERROR(read_halves(value, left, right));
  scratch.clear();
  FATHOM_RETURN_IF_ERROR(find_spelled(tokens, left, scratch, merge.left));
  FATHOM_RETURN_IF_ERROR(find_spelled(tokens, right, scratch, merge.right));
  merge.result = tokens.find(scratch);
  if (merge.result >= 0) return {};
  return invalid_argument(in_quotes(std::string(left) + std::string(right)) +
                          ", the result, is not in model.vocab");
}

Status read_merges(const object& model, TokenizerSpec& spec) {
  array merges;
  FATHOM_RETURN_IF_ERROR(read_required(model, "model", "merges", merges));
  std::string scratch;
  for (const element value : merges) {
    if (spec.merges.size() == kMaxMerges) {
      return invalid_argument("model.merges: more than " + std::to_string(kMaxMerges));
    }
    Merge merge;
    if (Status status = read_merge(value, spec.tokens, scratch, merge); !status.ok()) {
      return status.in(indexed("model.merges", spec.merges.size()));
    }
    spec.merges.push_back(merge);
  }
  return {};
}

Status read_added_token(const object& entry, std::string_view field, AddedToken& token) {
  std::string_view content;
  FATHOM_RETURN_IF_ERROR(read_required(entry, field, "content", content));
  if (content.size() > kMaxTokenBytes) {
    return invalid_argument(dotted(field, "content") + ": " + std::to_string(content.size()) +
                            " bytes, at most " + std::to_string(kMaxTokenBytes) + " are allowed");
  }
  token.content = content;
  const std::optional<element> id = member(entry, "id");
  if (!id.has_value()) return invalid_argument(dotted(field, "id") + ": missing");
  FATHOM_RETURN_IF_ERROR(read_id(*id, dotted(field, "id"), token.id));
  FATHOM_RETURN_IF_ERROR(read_optional(entry, field, "special", token.special));
  token.normalized = !token.special;
  FATHOM_RETURN_IF_ERROR(read_optional(entry, field, "normalized", token.normalized));
  FATHOM_RETURN_IF_ERROR(read_optional(entry, field, "single_word", token.single_word));
  FATHOM_RETURN_IF_ERROR(read_optional(entry, field, "lstrip", token.lstrip));
  return read_optional(entry, field, "rstrip", token.rstrip);
}

// Puts the token into the table, unless the vocabulary holds the same token under the same id.
Status place_added_token(const AddedToken& token, std::string_view field, TokenTable& tokens) {
  std::string spelled;
  append_spelled_bytes(token.content, spelled);
  const TokenId known = spelled.empty() ? -1 : tokens.find(spelled);
  if (known >= 0 && known != token.id) {
    return invalid_argument(std::string(field) + ": " + in_quotes(token.content) + " has id " +
                            std::to_string(token.id) + ", but " + std::to_string(known) +
                            " in model.vocab");
  }
  if (known == token.id || tokens.add(token.id, token.content)) return {};
  if (tokens.bytes(token.id) == token.content) return {};
  return invalid_argument(std::string(field) + ": id " + std::to_string(token.id) + " of " +
                          in_quotes(token.content) + " belongs to " +
                          in_quotes(tokens.bytes(token.id)) + " already");
}

Status read_added_tokens(const object& root, TokenizerSpec& spec) {
  array entries;
  FATHOM_RETURN_IF_ERROR(read_optional(root, "the file", "added_tokens", entries));
  if (!member(root, "added_tokens").has_value()) return {};
  for (const element value : entries) {
    const std::string field = indexed("added_tokens", spec.added_tokens.size());
    object entry;
    AddedToken token;
    FATHOM_RETURN_IF_ERROR(read(value, field, entry));
    FATHOM_RETURN_IF_ERROR(read_added_token(entry, field, token));
    FATHOM_RETURN_IF_ERROR(place_added_token(token, field, spec.tokens));
    spec.added_tokens.push_back(std::move(token));
  }
  return {};
}

// A token as a string or as an object with the string in "content".
Status read_named_token(const object& root, std::string_view key, std::optional<std::string>& out) {
  const std::optional<element> value = member(root, key);
  if (!value.has_value()) return {};
  std::string_view content;
  object token;
  if (value->get(token) == simdjson::SUCCESS) {
    FATHOM_RETURN_IF_ERROR(read_required(token, key, "content", content));
  } else {
    FATHOM_RETURN_IF_ERROR(read(*value, key, content));
  }
  out = std::string(content);
  return {};
}

Status read_flag(const object& root, std::string_view key, std::optional<bool>& out) {
  const std::optional<element> value = member(root, key);
  if (!value.has_value()) return {};
  bool flag = false;
  FATHOM_RETURN_IF_ERROR(read(*value, key, flag));
  out = flag;
  return {};
}

}  // namespace

Result<TokenizerSpec> parse_tokenizer(std::string_view file) {
  simdjson::dom::parser parser;
  object root;
  object model;
  FATHOM_RETURN_IF_ERROR(parse_object(parser, file, root));
  const std::optional<element> found = member(root, "model");
  if (!found.has_value()) return invalid_argument("model: missing");
  FATHOM_RETURN_IF_ERROR(read(*found, "model", model));
  TokenizerSpec spec;
  FATHOM_RETURN_IF_ERROR(check_model(model));
  FATHOM_RETURN_IF_ERROR(read_pipeline(root, spec));
  FATHOM_RETURN_IF_ERROR(read_optional(model, "model", "ignore_merges", spec.ignore_merges));
  FATHOM_RETURN_IF_ERROR(read_vocab(model, spec.tokens));
  FATHOM_RETURN_IF_ERROR(read_merges(model, spec));
  FATHOM_RETURN_IF_ERROR(read_added_tokens(root, spec));
  return spec;
}

Result<TokenizerConfig> parse_tokenizer_config(std::string_view file) {
  simdjson::dom::parser parser;
  object root;
  FATHOM_RETURN_IF_ERROR(parse_object(parser, file, root));
  TokenizerConfig config;
  FATHOM_RETURN_IF_ERROR(read_named_token(root, "bos_token", config.bos_token));
  FATHOM_RETURN_IF_ERROR(read_named_token(root, "eos_token", config.eos_token));
  FATHOM_RETURN_IF_ERROR(read_named_token(root, "pad_token", config.pad_token));
  FATHOM_RETURN_IF_ERROR(read_flag(root, "add_bos_token", config.add_bos_token));
  FATHOM_RETURN_IF_ERROR(read_flag(root, "add_eos_token", config.add_eos_token));
  return config;
}

Result<GenerationIds> parse_generation_ids(std::string_view file) {
  simdjson::dom::parser parser;
  object root;
  FATHOM_RETURN_IF_ERROR(parse_object(parser, file, root));
  GenerationIds ids;
  if (const auto bos = member(root, "bos_token_id"); bos.has_value()) {
    TokenId id = 0;
    FATHOM_RETURN_IF_ERROR(read_id(*bos, "bos_token_id", id));
    ids.bos = id;
  }
  const std::optional<element> eos = member(root, "eos_token_id");
  if (!eos.has_value()) return ids;
  array list;
  if (eos->get(list) != simdjson::SUCCESS) {
    ids.eos.resize(1);
    FATHOM_RETURN_IF_ERROR(read_id(*eos, "eos_token_id", ids.eos[0]));
    return ids;
  }
  for (const element value : list) {
    TokenId id = 0;
    FATHOM_RETURN_IF_ERROR(read_id(value, indexed("eos_token_id", ids.eos.size()), id));
    ids.eos.push_back(id);
  }
  return ids;
}

}  // namespace fathom::text
