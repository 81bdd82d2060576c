#include <cmath>
#include <utility>

#include "api/core.h"
#include "api/request_fields.h"

namespace fathom::api {

namespace {

http::Response logging_state(const observe::Monitor& monitor) {
  const observe::RequestLogSettings settings = monitor.log.settings();
  Json out = Json::object();
  out.set("log_requests", Json::boolean(settings.enabled));
  out.set("log_requests_level", Json::integer(settings.level));
  out.set("log_requests_format", Json::string(settings.json ? "json" : "text"));
  out.set("crash_dump_folder", Json::string(monitor.crash_dump.folder()));
  return json_response(to_json(out));
}

// Reads what a request changes; true when it names a folder for crash dumps.
std::optional<Refusal> read_logging(const Json& body,
                                    observe::RequestLogSettings& settings,
                                    std::optional<std::string>& folder) {
  FieldReader fields(body);
  settings.enabled = fields.boolean("log_requests", settings.enabled);
  settings.level =
      static_cast<int>(fields.integer("log_requests_level", 0, 3).value_or(settings.level));
  const std::string format = fields.text("log_requests_format", settings.json ? "json" : "text");
  if (format != "text" && format != "json") {
    fields.refuse_value("log_requests_format", Json::string(format), "text or json");
  }
  settings.json = format == "json";
  if (fields.find("crash_dump_folder") != nullptr) folder = fields.text("crash_dump_folder", "");
  fields.not_built("dump_requests_folder");
  fields.not_built("dump_requests_threshold");
  return fields.refusal();
}

}  // namespace

observe::EngineValues engine_values(const wire::EngineLoad& load, const ServiceOptions& options) {
  observe::EngineValues values;
  values.running = load.running;
  values.waiting = load.waiting;
  values.waiting_for_grammar = load.waiting_for_grammar;
  values.slots = load.slots;
  values.pages = load.pages;
  values.pages_used = load.pages_used;
  values.pages_leaked = load.pages_leaked;
  values.evicted_tokens = load.totals.evicted_tokens;
  values.draft_tokens = options.draft_tokens;
  values.verify_steps = load.totals.drafts.steps;
  values.accepted_drafts = load.totals.drafts.accepted;
  values.page_tokens = options.page_tokens;
  values.decode_context_tokens = load.decode_context_tokens;
  values.decode_in_graph = load.decode_in_graph;
  values.new_token_ratio = std::round(static_cast<double>(load.reserve_ratio) * 1e6) / 1e6;
  values.prefill_tokens = load.totals.prefill_tokens;
  values.cached_tokens = load.totals.cached_tokens;
  values.generated_tokens = load.generated_tokens;
  values.graph_passes = load.totals.graph_passes;
  values.plain_passes = load.totals.plain_passes;
  values.retracted_requests = load.totals.retracted_requests;
  values.retracted_prompt_tokens = load.totals.retracted_prompt_tokens;
  values.retracted_answer_tokens = load.totals.retracted_answer_tokens;
  values.grammar_requests = load.totals.grammar_requests;
  values.grammar_cache_hits = load.totals.grammar_cache_hits;
  values.grammar_failures = load.totals.grammar_failures;
  values.grammar_timeouts = load.totals.grammar_timeouts;
  return values;
}

http::Response metrics(Core& core, const http::Request& /*request*/) {
  observe::Monitor* const monitor = core.options.monitor;
  if (monitor == nullptr || !monitor->options.metrics) {
    return error_response(Refusal::of(404, "Not Found"));
  }
  http::Response response;
  response.headers.add("Content-Type", std::string(observe::kExpositionType));
  response.body = monitor->expose(engine_values(core.engine.load(), core.options));
  return response;
}

http::Response configure_logging(Core& core, const http::Request& request) {
  observe::Monitor* const monitor = core.options.monitor;
  if (monitor == nullptr) {
    return error_response(Refusal::of(501, "this instance watches nothing"));
  }
  if (request.body.empty()) return logging_state(*monitor);
  const Result<Json> body = parse_json(request.body);
  if (!body.ok()) return error_response(Refusal::shape(body.status().message()));
  if (!body->is_object()) {
    return error_response(Refusal::shape(wrong_json_kind("an object", *body)));
  }
  observe::RequestLogSettings settings = monitor->log.settings();
  std::optional<std::string> folder;
  if (auto refusal = read_logging(*body, settings, folder)) return error_response(*refusal);
  monitor->log.configure(settings);
  if (folder) monitor->crash_dump.set_folder(std::move(*folder));
  return logging_state(*monitor);
}

}  // namespace fathom::api
