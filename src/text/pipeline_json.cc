#include "text/pipeline_json.h"

#include <cstddef>
#include <optional>
#include <utility>

namespace fathom::text {
namespace {

using json::array;
using json::dotted;
using json::element;
using json::in_quotes;
using json::indexed;
using json::kMaxNesting;
using json::member;
using json::object;
using json::read;
using json::read_id;
using json::read_optional;
using json::read_required;
using json::unsupported;

constexpr std::size_t kMaxSteps = 32;

// Of the step Whitespace, whose regex engine counts the two joiners among word characters.
constexpr const char* kWhitespacePattern = "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+";

constexpr std::pair<std::string_view, SplitBehavior> kBehaviorNames[] = {
    {"Isolated", SplitBehavior::kIsolated},
    {"Removed", SplitBehavior::kRemoved},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous}};

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
  if (type == "Whitespace" || type == "WhitespaceSplit") {
    spec.steps.push_back({.pattern = type == "Whitespace" ? kWhitespacePattern : "\\S+",
                          .behavior = SplitBehavior::kRemoved,
                          .invert = true});
    return {};
  }
  return unsupported(
      dotted(field, "type"), type,
      "Sequence, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, ByteLevel");
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

}  // namespace

Status read_pipeline(const json::object& root, TokenizerSpec& spec) {
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

}  // namespace fathom::text
