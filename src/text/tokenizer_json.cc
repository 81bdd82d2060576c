#include "text/tokenizer_json.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include <simdjson.h>

#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

constexpr std::size_t kMaxJsonBytes = 128 << 20;
constexpr std::size_t kMaxTokenBytes = 64 << 10;
constexpr std::size_t kMaxMerges = std::size_t{1} << 22;
constexpr std::size_t kMaxSteps = 32;
constexpr int kMaxNesting = 4;
constexpr std::size_t kShownBytes = 60;  // of untrusted text in a message

constexpr std::pair<std::string_view, SplitBehavior> kBehaviorNames[] = {
    {"Isolated", SplitBehavior::kIsolated},
    {"Removed", SplitBehavior::kRemoved},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous}};

// Untrusted text for a message: quoted, and cut when it is long.
std::string in_quotes(std::string_view text) {
  if (text.size() <= kShownBytes) return '"' + std::string(text) + '"';
  text = text.substr(0, valid_utf8_prefix(text.substr(0, kShownBytes)));
  return '"' + std::string(text) + "\" …";
}

std::string_view kind_of(const element& value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "an array";
    case element_type::OBJECT:
      return "an object";
    case element_type::STRING:
      return "a string";
    case element_type::BOOL:
      return "a boolean";
    case element_type::NULL_VALUE:
      return "null";
    case element_type::INT64:
    case element_type::UINT64:
    case element_type::DOUBLE:
      break;
  }
  return "a number";
}

std::string indexed(std::string_view field, std::size_t index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

std::string dotted(std::string_view field, std::string_view key) {
  return std::string(field) + "." + std::string(key);
}

// A member that is there and not null.
std::optional<element> member(const object& parent, std::string_view key) {
  element value;
  if (parent.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

Status wrong_kind(std::string_view field, std::string_view wanted, const element& value) {
  return invalid_argument(std::string(field) + ": wanted " + std::string(wanted) + ", found " +
                          std::string(kind_of(value)));
}

Status read(const element& value, std::string_view field, object& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "an object", value);
}
Status read(const element& value, std::string_view field, array& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "an array", value);
}
Status read(const element& value, std::string_view field, std::string_view& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "a string", value);
}
Status read(const element& value, std::string_view field, bool& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "a boolean", value);
}
Status read_id(const element& value, std::string_view field, TokenId& out) {
  std::int64_t number = 0;
  if (value.get(number) != simdjson::SUCCESS) return wrong_kind(field, "a token id", value);
  if (number < 0 || number >= kMaxTokens) {
    return invalid_argument(std::string(field) + ": wanted an id in [0, " +
                            std::to_string(kMaxTokens) + "), found " + std::to_string(number));
  }
  out = static_cast<TokenId>(number);
  return {};
}

// Reads a member into `out`, which keeps its value when the member is missing or null.
template <class T>
Status read_optional(const object& parent, std::string_view field, std::string_view key, T& out) {
  const std::optional<element> value = member(parent, key);
  return value.has_value() ? read(*value, dotted(field, key), out) : Status();
}

template <class T>
Status read_required(const object& parent, std::string_view field, std::string_view key, T& out) {
  const std::optional<element> value = member(parent, key);
  if (!value.has_value()) return invalid_argument(dotted(field, key) + ": missing");
  return read(*value, dotted(field, key), out);
}

Status unsupported(std::string_view field, std::string_view found, std::string_view supported) {
  return invalid_argument(std::string(field) + ": " + in_quotes(found) +
                          " is not supported, only byte-level BPE is (" + std::string(supported) +
                          ")");
}

// Parses a whole file into `parser` and gives its top object.
Status parse_object(simdjson::dom::parser& parser, std::string_view json, object& out) {
  if (json.size() > kMaxJsonBytes) {
    return invalid_argument("the file has " + std::to_string(json.size()) + " bytes, at most " +
                            std::to_string(kMaxJsonBytes) + " are read");
  }
  element root;
  const simdjson::error_code error = parser.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    return invalid_argument(std::string("not valid JSON: ") + simdjson::error_message(error));
  }
  return read(root, "the file", out);
}

Status read_normalizer(const element& value, std::string_view field, int nesting) {
  object normalizer;
  std::string_view type;
  FATHOM_RETURN_IF_ERROR(read(value, field, normalizer));
  FATHOM_RETURN_IF_ERROR(read_required(normalizer, field, "type", type));
  if (type != "Sequence" || nesting == kMaxNesting) {
    return unsupported(dotted(field, "type"), type, "no normalizer, or an empty Sequence");
  }
  array parts;
  FATHOM_RETURN_IF_ERROR(read_required(normalizer, field, "normalizers", parts));
  std::size_t index = 0;
  for (const element part : parts) {
    const std::string name = indexed(dotted(field, "normalizers"), index++);
    FATHOM_RETURN_IF_ERROR(read_normalizer(part, name, nesting + 1));
  }
  return {};
}

Status read_behavior(const object& split, std::string_view field, SplitBehavior& behavior) {
  std::string_view name = "Isolated";
  FATHOM_RETURN_IF_ERROR(read_optional(split, field, "behavior", name));
  for (const auto& [known, value] : kBehaviorNames) {
    if (name != known) continue;
    behavior = value;
    return {};
  }
  return invalid_argument(dotted(field, "behavior") + ": " + in_quotes(name) +
                          " is not a behaviour");
}

Status read_split(const object& split, std::string_view field, PreTokenizerSpec& spec) {
  SplitStep step;
  object pattern;
  FATHOM_RETURN_IF_ERROR(read_required(split, field, "pattern", pattern));
  const std::string pattern_field = dotted(field, "pattern");
  std::string_view text;
  step.literal = !member(pattern, "Regex").has_value();
  FATHOM_RETURN_IF_ERROR(
      read_required(pattern, pattern_field, step.literal ? "String" : "Regex", text));
  step.pattern = text;
  FATHOM_RETURN_IF_ERROR(read_behavior(split, field, step.behavior));
  FATHOM_RETURN_IF_ERROR(read_optional(split, field, "invert", step.invert));
  spec.steps.push_back(std::move(step));
  return {};
}

// One pre-tokenizer or a tree of them, in order. `has_byte_level` is set once ByteLevel is there:
// it works on spelled bytes from then on, so nothing can follow.
Status read_pre_tokenizer(const element& value,
                          std::string_view field,
                          int nesting,
                          PreTokenizerSpec& spec,
                          bool& has_byte_level) {
  object step;
  std::string_view type;
  FATHOM_RETURN_IF_ERROR(read(value, field, step));
  FATHOM_RETURN_IF_ERROR(read_required(step, field, "type", type));
  if (type == "Sequence" && nesting < kMaxNesting) {
    array parts;
    FATHOM_RETURN_IF_ERROR(read_required(step, field, "pretokenizers", parts));
    std::size_t index = 0;
    for (const element part : parts) {
      const std::string name = indexed(dotted(field, "pretokenizers"), index++);
      FATHOM_RETURN_IF_ERROR(read_pre_tokenizer(part, name, nesting + 1, spec, has_byte_level));
    }
    return {};
  }
  if (has_byte_level) {
    return invalid_argument(std::string(field) + ": " + in_quotes(type) +
                            " comes after ByteLevel, which has to be the last step");
  }
  if (spec.steps.size() >= kMaxSteps) {
    return invalid_argument(std::string(field) + ": more than " + std::to_string(kMaxSteps) +
                            " steps");
  }
  if (type == "Split") return read_split(step, field, spec);
  if (type == "ByteLevel") {
    has_byte_level = true;
    spec.gpt2_split = true;
    FATHOM_RETURN_IF_ERROR(read_optional(step, field, "add_prefix_space", spec.add_prefix_space));
    return read_optional(step, field, "use_regex", spec.gpt2_split);
  }
  if (type == "Digits") {
    bool individual = false;
    FATHOM_RETURN_IF_ERROR(read_optional(step, field, "individual_digits", individual));
    spec.steps.push_back(
        {.pattern = "\\p{N}",
         .behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
    return {};
  }
  if (type == "Punctuation") {
    SplitStep split{.pattern = "[\\p{P}$+<=>^`|~]"};
    FATHOM_RETURN_IF_ERROR(read_behavior(step, field, split.behavior));
    spec.steps.push_back(std::move(split));
    return {};
  }
  return unsupported(dotted(field, "type"), type,
                     "Sequence, Split, Digits, Punctuation, ByteLevel");
}

Status read_decoder(const element& value, std::string_view field, int nesting) {
  object decoder;
  std::string_view type;
  FATHOM_RETURN_IF_ERROR(read(value, field, decoder));
  FATHOM_RETURN_IF_ERROR(read_required(decoder, field, "type", type));
  if (type == "ByteLevel") return {};
  array parts;
  if (type != "Sequence" || nesting == kMaxNesting) {
    return unsupported(dotted(field, "type"), type, "ByteLevel");
  }
  FATHOM_RETURN_IF_ERROR(read_required(decoder, field, "decoders", parts));
  if (parts.size() != 1) {
    return invalid_argument(dotted(field, "decoders") + ": wanted ByteLevel alone, found " +
                            std::to_string(parts.size()) + " decoders");
  }
  return read_decoder(parts.at(0).value_unsafe(), dotted(field, "decoders[0]"), nesting + 1);
}

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

// The ids of one special token of a template, as its own table of them says.
Status read_template_token(const object& processor,
                           std::string_view field,
                           const object& piece,
                           std::vector<TokenId>& ids) {
  std::string_view name;
  FATHOM_RETURN_IF_ERROR(read_required(piece, dotted(field, "single.SpecialToken"), "id", name));
  const std::string table_field = dotted(field, "special_tokens");
  object table;
  object token;
  array numbers;
  FATHOM_RETURN_IF_ERROR(read_required(processor, field, "special_tokens", table));
  FATHOM_RETURN_IF_ERROR(read_required(table, table_field, name, token));
  FATHOM_RETURN_IF_ERROR(read_required(token, dotted(table_field, name), "ids", numbers));
  for (const element number : numbers) {
    TokenId id = 0;
    FATHOM_RETURN_IF_ERROR(read_id(number, dotted(table_field, name) + ".ids", id));
    ids.push_back(id);
  }
  return {};
}

// `single` has one Sequence (the text) and special tokens on either side of it.
Status read_template(const object& processor, std::string_view field, TokenizerSpec& spec) {
  array pieces;
  FATHOM_RETURN_IF_ERROR(read_required(processor, field, "single", pieces));
  bool after_text = false;
  for (const element value : pieces) {
    object piece;
    FATHOM_RETURN_IF_ERROR(read(value, dotted(field, "single"), piece));
    const std::optional<element> special = member(piece, "SpecialToken");
    if (!special.has_value()) {
      if (after_text || !member(piece, "Sequence").has_value()) {
        return invalid_argument(dotted(field, "single") +
                                ": wanted special tokens around one Sequence");
      }
      after_text = true;
      continue;
    }
    object token;
    FATHOM_RETURN_IF_ERROR(read(*special, dotted(field, "single.SpecialToken"), token));
    FATHOM_RETURN_IF_ERROR(
        read_template_token(processor, field, token, after_text ? spec.suffix : spec.prefix));
  }
  return {};
}

Status read_post_processor(const element& value,
                           std::string_view field,
                           int nesting,
                           TokenizerSpec& spec) {
  object processor;
  std::string_view type;
  FATHOM_RETURN_IF_ERROR(read(value, field, processor));
  FATHOM_RETURN_IF_ERROR(read_required(processor, field, "type", type));
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return read_template(processor, field, spec);
  if (type != "Sequence" || nesting == kMaxNesting) {
    return unsupported(dotted(field, "type"), type, "ByteLevel, TemplateProcessing, Sequence");
  }
  array parts;
  FATHOM_RETURN_IF_ERROR(read_required(processor, field, "processors", parts));
  std::size_t index = 0;
  for (const element part : parts) {
    const std::string name = indexed(dotted(field, "processors"), index++);
    FATHOM_RETURN_IF_ERROR(read_post_processor(part, name, nesting + 1, spec));
  }
  return {};
}

// The parts of the file around its vocabulary.
Status read_pipeline(const object& root, TokenizerSpec& spec) {
  if (const auto normalizer = member(root, "normalizer"); normalizer.has_value()) {
    FATHOM_RETURN_IF_ERROR(read_normalizer(*normalizer, "normalizer", 0));
  }
  bool has_byte_level = false;
  if (const auto pre_tokenizer = member(root, "pre_tokenizer"); pre_tokenizer.has_value()) {
    FATHOM_RETURN_IF_ERROR(
        read_pre_tokenizer(*pre_tokenizer, "pre_tokenizer", 0, spec.pre_tokenizer, has_byte_level));
  }
  if (!has_byte_level) {
    return invalid_argument(
        "pre_tokenizer: no ByteLevel step, and only byte-level BPE is supported");
  }
  if (const auto processor = member(root, "post_processor"); processor.has_value()) {
    FATHOM_RETURN_IF_ERROR(read_post_processor(*processor, "post_processor", 0, spec));
  }
  const std::optional<element> decoder = member(root, "decoder");
  if (!decoder.has_value()) return invalid_argument("decoder: missing, wanted ByteLevel");
  return read_decoder(*decoder, "decoder", 0);
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

Result<TokenizerSpec> parse_tokenizer(std::string_view json) {
  simdjson::dom::parser parser;
  object root;
  object model;
  FATHOM_RETURN_IF_ERROR(parse_object(parser, json, root));
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

Result<TokenizerConfig> parse_tokenizer_config(std::string_view json) {
  simdjson::dom::parser parser;
  object root;
  FATHOM_RETURN_IF_ERROR(parse_object(parser, json, root));
  TokenizerConfig config;
  FATHOM_RETURN_IF_ERROR(read_named_token(root, "bos_token", config.bos_token));
  FATHOM_RETURN_IF_ERROR(read_named_token(root, "eos_token", config.eos_token));
  FATHOM_RETURN_IF_ERROR(read_named_token(root, "pad_token", config.pad_token));
  FATHOM_RETURN_IF_ERROR(read_flag(root, "add_bos_token", config.add_bos_token));
  FATHOM_RETURN_IF_ERROR(read_flag(root, "add_eos_token", config.add_eos_token));
  return config;
}

Result<GenerationIds> parse_generation_ids(std::string_view json) {
  simdjson::dom::parser parser;
  object root;
  FATHOM_RETURN_IF_ERROR(parse_object(parser, json, root));
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
