#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "api/core.h"
#include "api/offline.h"

namespace fathom::api {

namespace {

enum Method : std::uint8_t { kGet = 1, kPost = 2, kPut = 4, kDelete = 8, kHead = 16, kOther = 0 };

Method method_of(std::string_view name) {
  if (name == "GET") return kGet;
  if (name == "POST") return kPost;
  if (name == "PUT") return kPut;
  if (name == "DELETE") return kDelete;
  if (name == "HEAD") return kHead;
  return kOther;
}

std::string allowed(unsigned methods) {
  std::string names;
  for (const auto& [method, name] : {std::pair{kGet, "GET"},
                                     {kPost, "POST"},
                                     {kPut, "PUT"},
                                     {kDelete, "DELETE"},
                                     {kHead, "HEAD"}}) {
    if ((methods & method) == 0) continue;
    names += (names.empty() ? "" : ", ");
    names += name;
  }
  return names;
}

// An endpoint answers in one of three ways: at once, by work on a thread, or by the engine.
using Endpoint = void (*)(Core& core, Arrival arrival);

template <http::Response (*kAnswer)(Core&, const http::Request&)>
void at_once(Core& core, Arrival arrival) {
  arrival.channel.respond(kAnswer(core, arrival.request));
}

template <Answer kAnswer, ErrorForm kForm = ErrorForm::kOpenAi>
void by_work(Core& core, Arrival arrival) {
  start_work(core, std::move(arrival), kAnswer, kForm);
}

template <Prepare kPrepare, ErrorForm kForm>
void by_engine(Core& core, Arrival arrival) {
  start_call(core, std::move(arrival), kPrepare, kForm);
}

void health(Core& core, Arrival arrival) {
  if (core.state != ServiceState::kUp) {
    arrival.channel.respond(text_response(503, ""));
  } else if (!core.options.health_generates && arrival.request.path == "/health") {
    arrival.channel.respond(text_response(200, ""));
  } else {
    core.health.ask(std::move(arrival.channel), core.timer);
  }
}

http::Response ping(Core& /*core*/, const http::Request& /*request*/) {
  return text_response(200, "");
}

// Whether requests are served, without asking the engine.
http::Response ready(Core& core, const http::Request& /*request*/) {
  return text_response(core.state == ServiceState::kUp ? 200 : 503, "");
}

http::Response no_embeddings(Core& /*core*/, const http::Request& request) {
  return error_response(
      Refusal::semantic("This model does not appear to be an embedding model by default: it "
                        "generates text, so " +
                        request.path + " has nothing to answer with."));
}

struct Route {
  std::string_view path;
  unsigned methods;
  Endpoint endpoint;  // nullptr: not built yet
};

constexpr Endpoint kChat = by_engine<prepare_chat, ErrorForm::kOpenAi>;
constexpr Endpoint kNotBuilt = nullptr;

constexpr auto kRoutes = std::to_array<Route>({
    {"/v1/chat/completions", kPost, kChat},
    {"/invocations", kPost, kChat},
    {"/v1/completions", kPost, by_engine<prepare_completion, ErrorForm::kOpenAi>},
    {"/generate", kPost | kPut, by_engine<prepare_generate, ErrorForm::kNative>},
    {"/v1/models", kGet, at_once<list_models>},
    {"/health", kGet, health},
    {"/health_generate", kGet, health},
    {"/ping", kGet, at_once<ping>},
    {"/model_info", kGet, at_once<model_info>},
    {"/get_model_info", kGet, at_once<model_info>},
    {"/server_info", kGet, at_once<server_info>},
    {"/get_server_info", kGet, at_once<server_info>},
    {"/ready", kGet, at_once<ready>},
    {"/get_load", kGet, at_once<get_load>},
    {"/v1/loads", kGet, at_once<get_loads>},
    {"/parse_function_call", kPost, by_work<parse_function_call>},
    {"/separate_reasoning", kPost, by_work<separate_reasoning>},
    {"/v1/tokenize", kPost, by_work<tokenize>},
    {"/tokenize", kPost, by_work<tokenize>},
    {"/v1/detokenize", kPost, by_work<detokenize>},
    {"/detokenize", kPost, by_work<detokenize>},
    {"/flush_cache", kGet | kPost, at_once<flush_cache>},
    {"/abort_request", kPost, at_once<abort_request>},
    {"/v1/embeddings", kPost, at_once<no_embeddings>},
    {"/v1/classify", kPost, at_once<no_embeddings>},
    {"/v1/rerank", kPost, at_once<no_embeddings>},
    {"/v1/score", kPost, at_once<no_embeddings>},
    {"/encode", kPost, at_once<no_embeddings>},
    {"/classify", kPost, at_once<no_embeddings>},
    {"/", kGet | kHead, at_once<ollama_root>},
    {"/v1/responses", kPost, by_engine<prepare_response, ErrorForm::kResponses>},
    {"/v1/messages", kPost, by_engine<prepare_messages, ErrorForm::kAnthropic>},
    {"/v1/messages/count_tokens", kPost, by_work<count_message_tokens, ErrorForm::kAnthropic>},
    {"/v1/realtime", kGet, kNotBuilt},
    {"/v1/files", kGet | kPost, files},
    {"/v1/batches", kGet | kPost, batches},
    {"/pd_role_switch", kPost, kNotBuilt},
    {"/hicache/storage-backend", kGet | kPut | kDelete, kNotBuilt},
    {"/set_trace_level", kGet | kPost, kNotBuilt},
    {"/start_profile", kGet | kPost, kNotBuilt},
    {"/stop_profile", kGet | kPost, kNotBuilt},
    {"/start_expert_distribution_record", kGet | kPost, kNotBuilt},
    {"/stop_expert_distribution_record", kGet | kPost, kNotBuilt},
    {"/dump_expert_distribution_record", kGet | kPost, kNotBuilt},
    {"/configure_logging", kGet | kPost, at_once<configure_logging>},
    {"/set_internal_state", kPost | kPut, kNotBuilt},
    {"/freeze_gc", kGet | kPost, kNotBuilt},
    {"/slow_down", kGet | kPost, kNotBuilt},
    {"/pause_generation", kGet | kPost, kNotBuilt},
    {"/continue_generation", kGet | kPost, kNotBuilt},
    {"/weight_version", kGet, kNotBuilt},
    {"/get_weight_version", kGet, kNotBuilt},
    {"/update_weight_version", kPost, kNotBuilt},
    {"/release_memory_occupation", kGet | kPost, kNotBuilt},
    {"/resume_memory_occupation", kGet | kPost, kNotBuilt},
    {"/load_lora_adapter", kPost, kNotBuilt},
    {"/unload_lora_adapter", kPost, kNotBuilt},
    {"/open_session", kGet | kPost, kNotBuilt},
    {"/close_session", kGet | kPost, kNotBuilt},
    {"/api/chat", kPost, by_engine<prepare_ollama_chat, ErrorForm::kOllama>},
    {"/api/generate", kPost, by_engine<prepare_ollama_generate, ErrorForm::kOllama>},
    {"/api/tags", kGet, at_once<ollama_tags>},
    {"/api/show", kPost, by_work<ollama_show, ErrorForm::kOllama>},
    {"/api/version", kGet, at_once<ollama_version>},
});

// Paths that go on behind these.
constexpr auto kPrefixes = std::to_array<Route>({
    {"/v1/files/", kGet | kDelete, file},
    {"/v1/batches/", kGet | kPost, batch},
    {"/v1/models/", kGet, at_once<get_model>},
    {"/metrics", kGet, at_once<metrics>},
    {"/v1/responses/", kGet | kPost | kDelete, at_once<stored_response>},
    {"/update_weights_from_", kPost, kNotBuilt},
});

const Route* find_route(std::string_view path) {
  const auto* exact = std::find_if(kRoutes.begin(), kRoutes.end(),
                                   [path](const Route& route) { return route.path == path; });
  if (exact != kRoutes.end()) return exact;
  const auto* prefix = std::find_if(kPrefixes.begin(), kPrefixes.end(), [path](const Route& route) {
    return path.starts_with(route.path);
  });
  return prefix == kPrefixes.end() ? nullptr : prefix;
}

}  // namespace

std::string_view route_of(std::string_view path) {
  const Route* const found = find_route(path);
  return found == nullptr ? std::string_view() : found->path;
}

void route(Core& core, Arrival arrival) {
  if (auto refusal = refuse_access(core.options.keys, arrival.request)) {
    arrival.channel.respond(*std::move(refusal));
    return;
  }
  dispatch(core, std::move(arrival));
}

void dispatch(Core& core, Arrival arrival) {
  const Route* found = find_route(arrival.request.path);
  if (arrival.request.method == "OPTIONS") {
    arrival.channel.respond(preflight_response(arrival.request));
    return;
  }
  if (found == nullptr) {
    arrival.channel.respond(
        error_response(Refusal::of(404, "Not Found"), error_form(arrival.request.path)));
    return;
  }
  if ((found->methods & method_of(arrival.request.method)) == 0) {
    http::Response response =
        error_response(Refusal::of(405, "Method Not Allowed"), error_form(arrival.request.path));
    response.headers.add("Allow", allowed(found->methods));
    arrival.channel.respond(std::move(response));
    return;
  }
  if (found->endpoint == nullptr) {
    arrival.channel.respond(
        error_response(Refusal::of(501, "not built yet: " + arrival.request.path)));
    return;
  }
  found->endpoint(core, std::move(arrival));
}

}  // namespace fathom::api
