#include <utility>

#include "api/core.h"
#include "api/json_writer.h"
#include "api/request_fields.h"
#include "base/clock.h"

namespace fathom::api {

namespace {

constexpr std::string_view kModelsPath = "/v1/models/";
constexpr std::int64_t kLookNs = 100'000'000;

void write_model_card(JsonWriter& writer, const ServiceOptions& options) {
  writer.begin_object()
      .string("id", options.served_model_name)
      .string("object", "model")
      .integer("created", static_cast<std::int64_t>(unix_time_s()))
      .string("owned_by", "sglang")
      .string("root", options.served_model_name)
      .null("parent")
      .integer("max_model_len", options.context_tokens)
      .end_object();
}

// The members of the launch arguments, with a comma behind them when there are any.
std::string flat_arguments(const ServiceOptions& options) {
  const std::string_view text = options.server_arguments;
  const std::size_t begin = text.find('{');
  const std::size_t end = text.rfind('}');
  if (begin == std::string_view::npos || end == std::string_view::npos) return {};
  std::string members(text.substr(begin + 1, end - begin - 1));
  if (members.find_first_not_of(" \t\r\n") == std::string::npos) return {};
  return members + ',';
}

// SGLang has "ready" alone: it tells nothing before.
std::string_view state_name(ServiceState state) {
  switch (state) {
    case ServiceState::kStarting:
      return "Starting";
    case ServiceState::kUp:
      return "ready";
    case ServiceState::kUnhealthy:
      return "UnHealthy";
    case ServiceState::kDraining:
      return "Draining";
  }
  return "ready";
}

}  // namespace

double Throughput::look(std::int64_t generated_tokens, std::int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  const std::int64_t elapsed_ns = now_ns - seen_ns_;
  if (elapsed_ns < kLookNs) return rate_;
  rate_ =
      static_cast<double>(generated_tokens - seen_tokens_) * 1e9 / static_cast<double>(elapsed_ns);
  seen_ns_ = now_ns;
  seen_tokens_ = generated_tokens;
  return rate_;
}

http::Response list_models(Core& core, const http::Request& /*request*/) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().string("object", "list").begin_array("data");
  write_model_card(writer, core.options);
  writer.end_array().end_object();
  return json_response(std::move(out));
}

http::Response get_model(Core& core, const http::Request& request) {
  const std::string name = request.path.substr(kModelsPath.size());
  std::string out;
  JsonWriter writer(out);
  if (name == core.options.served_model_name) {
    write_model_card(writer, core.options);
    return json_response(std::move(out));
  }
  writer.begin_object()
      .begin_object("error")
      .string("message", "The model '" + name + "' does not exist")
      .string("type", "invalid_request_error")
      .string("param", "model")
      .string("code", "model_not_found")
      .end_object()
      .end_object();
  http::Response response = json_response(std::move(out));
  response.status = 404;
  return response;
}

http::Response model_info(Core& core, const http::Request& /*request*/) {
  const ServiceOptions& options = core.options;
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .string("model_path", options.model_path)
      .string("tokenizer_path", options.tokenizer_path)
      .boolean("is_generation", true)
      .raw("preferred_sampling_params",
           options.preferred_sampling.empty() ? "null" : options.preferred_sampling)
      .string("weight_version", options.weight_version)
      .boolean("has_image_understanding", false)
      .boolean("has_audio_understanding", false)
      .string("model_type", options.model_type)
      .begin_array("architectures");
  for (const std::string& architecture : options.architectures) writer.string(architecture);
  writer.end_array().end_object();
  return json_response(std::move(out));
}

http::Response server_info(Core& core, const http::Request& /*request*/) {
  const ServiceOptions& options = core.options;
  const std::string arguments = flat_arguments(options);
  const wire::EngineLoad load = core.engine.load();
  std::string out = "{" + arguments;
  JsonWriter(out)
      .string("status", state_name(core.state))
      .integer("max_total_num_tokens", options.pool_tokens)
      .integer("max_req_input_len", options.max_prompt_tokens)
      .begin_array("internal_states");
  out += "{" + arguments;
  if (options.draft_tokens > 0) {
    JsonWriter(out).real("avg_spec_accept_length", accept_length(load.totals.drafts));
    out += ',';
  }
  JsonWriter(out)
      .real("last_gen_throughput", core.throughput.look(load.generated_tokens, now_ns()))
      .begin_object("memory_usage")
      .real("weight", options.weight_gigabytes)
      .real("kvcache", options.cache_gigabytes)
      .integer("token_capacity", options.pool_tokens)
      .real("graph", 0)
      .end_object()
      .integer("effective_max_running_requests_per_dp", options.max_running)
      .end_object()
      .end_array()
      .string("version", options.version)
      .null("kv_events")  // to whom changes of the cache are told: nobody yet
      .end_object();
  return json_response(std::move(out));
}

double accept_length(const wire::DraftCounts& drafts) {
  return drafts.steps > 0 ? static_cast<double>(drafts.steps + drafts.accepted) /
                                static_cast<double>(drafts.steps)
                          : 0;
}

http::Response flush_cache(Core& core, const http::Request& /*request*/) {
  if (core.open_calls > 0) {
    return text_response(400, "Not flushed: " + std::to_string(core.open_calls) +
                                  " requests are running or queued.\n");
  }
  core.engine.flush_cache();
  return text_response(200, "Cache flushed.\n");
}

http::Response abort_request(Core& core, const http::Request& request) {
  Json body = Json::object();
  if (!request.body.empty()) {
    Result<Json> parsed = parse_json(request.body);
    if (!parsed.ok()) return error_response(Refusal::shape(parsed.status().message()));
    if (!parsed->is_object()) {
      return error_response(Refusal::shape(wrong_json_kind("an object", *parsed)));
    }
    body = std::move(*parsed);
  }
  FieldReader fields(body);
  const std::string rid = fields.text("rid", "");
  const bool all = fields.boolean("abort_all", false);
  if (fields.refusal()) return error_response(*fields.refusal());
  if (all) {
    core.registry.abort_all();
  } else {
    core.registry.abort(rid);
  }
  return {};
}

}  // namespace fathom::api
