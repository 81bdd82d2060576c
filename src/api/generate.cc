#include <algorithm>
#include <memory>
#include <utility>

#include "api/core.h"
#include "api/custom_labels.h"
#include "api/native_reply.h"
#include "base/clock.h"

namespace fathom::api {

namespace {

using Prompt = std::vector<wire::TokenId>;

// One prompt of a call with what it asks for.
struct Item {
  Prompt prompt;
  SamplingFields sampling;
  wire::LogprobParams logprobs;
  NativePrompt told;
};

const Json& null_value() {
  static const Json value;
  return value;
}

// The value of a member for the prompt `index`: its element when the member is a list with one for
// each prompt, else the member itself.
const Json& value_for(const Json& body, std::string_view name, std::size_t index, bool batch) {
  const Json* value = body.find(name);
  if (value == nullptr) return null_value();
  const Json::Array* elements = value->as_array();
  if (!batch || elements == nullptr) return *value;
  return index < elements->size() ? (*elements)[index] : null_value();
}

// Lists beside a batch have one element for each prompt.
std::optional<Refusal> check_list_lengths(const Json& body, std::size_t prompts) {
  for (const std::string_view name :
       {"sampling_params", "rid", "return_logprob", "logprob_start_len", "top_logprobs_num",
        "cache_salt", "extra_key"}) {
    const Json* value = body.find(name);
    const Json::Array* elements = value == nullptr ? nullptr : value->as_array();
    if (elements == nullptr || elements->size() == prompts) continue;
    return Refusal::semantic(std::string(name) + ": has " + std::to_string(elements->size()) +
                             " elements, expected one for each of the " + std::to_string(prompts) +
                             " prompts");
  }
  return std::nullopt;
}

// token_ids_logprob of a batch is a list of lists, or one list for all.
const Json& asked_ids_for(const Json& body, std::size_t index, bool batch) {
  const Json* value = body.find_set("token_ids_logprob");
  if (value == nullptr) return null_value();
  const Json::Array* elements = value->as_array();
  const bool nested = elements != nullptr && !elements->empty() && !elements->front().is_number();
  if (!batch || !nested) return *value;
  return index < elements->size() ? (*elements)[index] : null_value();
}

std::optional<Refusal> read_logprobs(const Core& core,
                                     const Json& body,
                                     std::size_t index,
                                     bool batch,
                                     Item& item) {
  Json own = Json::object();
  for (const std::string_view name : {"return_logprob", "logprob_start_len", "top_logprobs_num"}) {
    own.set(name, value_for(body, name, index, batch));
  }
  own.set("token_ids_logprob", asked_ids_for(body, index, batch));
  FieldReader fields(own);
  const auto prompt_tokens = static_cast<std::int32_t>(item.prompt.size());
  wire::LogprobParams& params = item.logprobs;
  params.wanted = fields.boolean("return_logprob", false);
  const auto start = fields.integer("logprob_start_len", -1, prompt_tokens).value_or(-1);
  params.prompt_start = start < 0 ? prompt_tokens : static_cast<std::int32_t>(start);
  const auto top = fields.integer("top_logprobs_num", 0, wire::kMaxTopLogprobs).value_or(0);
  std::vector<wire::TokenId> asked = fields.token_ids("token_ids_logprob", core.options.vocab_size);
  if (asked.size() > static_cast<std::size_t>(wire::kMaxAskedLogprobs)) {
    fields.refuse(Refusal::semantic("token_ids_logprob: has " + std::to_string(asked.size()) +
                                    " ids, expected at most " +
                                    std::to_string(wire::kMaxAskedLogprobs)));
  }
  if (params.wanted) {
    params.top = static_cast<std::int32_t>(top);
    params.token_ids = std::move(asked);
  }
  item.told.logprobs = params.wanted;
  item.told.top_logprobs = params.top > 0;
  item.told.asked_logprobs = !params.token_ids.empty();
  return fields.refusal();
}

std::optional<Refusal> read_item_sampling(const Core& core, const Json& value, Item& item) {
  static const Json nothing = Json::object();
  if (!value.is_null() && !value.is_object()) {
    return Refusal::shape("sampling_params: " + wrong_json_kind("an object", value));
  }
  Json merged;
  if (core.preferred_sampling.is_object()) {
    merged = core.preferred_sampling;
    if (value.is_object()) {
      for (const JsonMember& member : *value.as_object()) merged.set(member.key, member.value);
    }
  }
  const Json& own = value.is_null() ? nothing : value;
  FieldReader fields(merged.is_null() ? own : merged, "sampling_params.");
  item.sampling = read_sampling(fields, SamplingDialect::kNative, SamplingDefaults{}, core.options);
  if (core.tokenizer == nullptr && item.sampling.stops != nullptr) return no_tokenizer();
  return fields.refusal();
}

std::optional<Refusal> read_item_namespace(const Json& body,
                                           std::size_t index,
                                           bool batch,
                                           Item& item) {
  Json own = Json::object();
  for (const std::string_view name : {"cache_salt", "extra_key"}) {
    own.set(name, value_for(body, name, index, batch));
  }
  FieldReader fields(own);
  item.sampling.request.cache_namespace = read_cache_namespace(fields);
  return fields.refusal();
}

// A rid for all of a batch is continued with each prompt's index.
std::optional<Refusal> read_item_rid(const Json& body, std::size_t index, bool batch, Item& item) {
  const Json& value = value_for(body, "rid", index, batch);
  const std::string* rid = value.as_string();
  if (rid == nullptr && !value.is_null()) {
    return Refusal::shape("rid: " + wrong_json_kind("a string", value));
  }
  if (rid == nullptr || rid->empty()) {
    item.told.rid = random_id();
    return std::nullopt;
  }
  if (auto refusal = check_name("rid", *rid)) return refusal;
  item.told.rid = *rid;
  if (batch && body.find("rid")->is_string()) item.told.rid += "_" + std::to_string(index);
  return std::nullopt;
}

std::optional<Refusal> read_text_prompts(const Core& core,
                                         const Json& text,
                                         bool& batch,
                                         std::vector<Item>& items) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  const auto encode = [&](const std::string& one) {
    items.emplace_back().prompt = core.tokenizer->encode(one, {.add_special_tokens = true});
  };
  if (const std::string* one = text.as_string()) {
    encode(*one);
    return std::nullopt;
  }
  batch = true;
  const Json::Array* elements = text.as_array();
  if (elements == nullptr) {
    return Refusal::shape("text: " + wrong_json_kind("a string or an array of strings", text));
  }
  for (const Json& element : *elements) {
    const std::string* one = element.as_string();
    if (one == nullptr) {
      return Refusal::shape("text: " + wrong_json_kind("an array of strings", element));
    }
    encode(*one);
  }
  return std::nullopt;
}

std::optional<Refusal> read_id_prompts(const Core& core,
                                       const Json& ids,
                                       bool& batch,
                                       std::vector<Item>& items) {
  const Json::Array* elements = ids.as_array();
  batch = elements != nullptr && !elements->empty() && elements->front().is_array();
  if (!batch) {
    return read_token_ids(ids, "input_ids", core.options.vocab_size, items.emplace_back().prompt);
  }
  for (std::size_t i = 0; i < elements->size(); ++i) {
    const std::string name = "input_ids[" + std::to_string(i) + "]";
    if (auto refusal = read_token_ids((*elements)[i], name, core.options.vocab_size,
                                      items.emplace_back().prompt)) {
      return refusal;
    }
  }
  return std::nullopt;
}

std::optional<Refusal> read_prompts(const Core& core,
                                    const Json& body,
                                    bool& batch,
                                    std::vector<Item>& items) {
  const Json* text = body.find_set("text");
  const Json* ids = body.find_set("input_ids");
  if ((text == nullptr) == (ids == nullptr)) {
    return Refusal::semantic(text == nullptr ? "the prompt is missing: give text or input_ids"
                                             : "text and input_ids are both given: give one");
  }
  const Json& given = text != nullptr ? *text : *ids;
  const std::size_t most = core.options.max_samples;
  const Json::Array* elements = given.as_array();
  const bool list = elements != nullptr && !elements->empty() && !elements->front().is_number();
  if (list && elements->size() > most) {
    return Refusal::semantic("the batch has " + std::to_string(elements->size()) +
                             " prompts, expected at most " + std::to_string(most));
  }
  auto refusal = text != nullptr ? read_text_prompts(core, given, batch, items)
                                 : read_id_prompts(core, given, batch, items);
  if (refusal) return refusal;
  if (items.empty()) return Refusal::semantic("the batch has no prompts, expected at least 1");
  return batch ? check_list_lengths(body, items.size()) : std::nullopt;
}

std::optional<Refusal> read_item(const Core& core,
                                 const Json& body,
                                 std::size_t index,
                                 bool batch,
                                 Item& item) {
  if (auto refusal =
          read_item_sampling(core, value_for(body, "sampling_params", index, batch), item)) {
    return refusal;
  }
  if (auto refusal = read_item_rid(body, index, batch, item)) return refusal;
  item.told.options =
      std::make_shared<const AnswerOptions>(item.sampling.answer_options(item.told.rid));
  return read_logprobs(core, body, index, batch, item);
}

std::int32_t read_generate_fields(FieldReader& fields) {
  for (const std::string_view name : {"input_embeds", "image_data", "video_data", "audio_data"}) {
    fields.not_built_unless_empty(name);
  }
  return read_priority(fields);
}

}  // namespace

std::optional<Refusal> prepare_generate(Core& core, const Json& body, Prepared& out) {
  NativeFacts facts;
  facts.received_ns = now_ns();
  FieldReader fields(body);
  const std::int32_t priority = read_generate_fields(fields);
  facts.stream = fields.boolean("stream", false);
  const bool text_in_logprobs = fields.boolean("return_text_in_logprobs", false);
  if (fields.refusal()) return fields.refusal();

  std::vector<Item> items;
  if (auto refusal = read_prompts(core, body, facts.batch, items)) return refusal;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Item& item = items[i];
    item.told.text_in_logprobs = text_in_logprobs;
    if (auto refusal = read_item(core, body, i, facts.batch, item)) return refusal;
    item.sampling.request.priority = priority;
    if (auto refusal = read_item_namespace(body, i, facts.batch, item)) return refusal;
    if (item.sampling.samples != items.front().sampling.samples) {
      return Refusal::semantic("sampling_params.n: was " + std::to_string(item.sampling.samples) +
                               " for a prompt, expected the same for all of a batch: " +
                               std::to_string(items.front().sampling.samples));
    }
    if (auto refusal = add_prompt(core, out, item.told.rid, std::move(item.prompt), item.sampling,
                                  item.logprobs, item.told.options->ends_by_text())) {
      return refusal;
    }
    out.rids.push_back(item.told.rid);
    facts.prompts.push_back(std::move(item.told));
  }
  facts.samples = items.front().sampling.samples;
  facts.batch = facts.batch || facts.samples > 1;
  facts.incremental = core.options.incremental_streaming;
  facts.weight_version = core.options.weight_version;
  facts.draft_tokens = core.options.draft_tokens;
  out.custom_labels = custom_label_values(core.options.monitor, body.find_set("custom_labels"));
  out.stream = facts.stream;
  out.reply = std::make_unique<NativeReply>(std::move(facts), core.tokenizer);
  return std::nullopt;
}

}  // namespace fathom::api
