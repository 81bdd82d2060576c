#include "app/instance.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <set>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

#include "api/channel.h"
#include "api/service.h"
#include "app/answer_formats.h"
#include "app/answer_grammar.h"
#include "app/device_memory.h"
#include "app/host_threads.h"
#include "app/loaded_model.h"
#include "app/loading.h"
#include "app/monitoring.h"
#include "app/sampling_defaults.h"
#include "app/tls_files.h"
#include "app/warm_up.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "http/open_files.h"
#include "http/server.h"
#include "text/tokenizer.h"
#include "wire/engine_link.h"

namespace fathom::app {

namespace {

constexpr std::chrono::milliseconds kLastWords{5000};  // for answers to reach their peers
constexpr std::size_t kMaxUnfinished = 65536;          // requests, when no flag bounds the queue
constexpr std::size_t kOpenFiles = 65536;

// The server asks itself as whoever has its key. Its name is not checked: it was asked by address.
WarmUpTarget warm_up_target(const config::HttpPlan& http, const std::string& address) {
  return {.address = address,
          .secure = !http.certificate.empty(),
          .trust = {.authorities = http.authorities,
                    .verify = !http.authorities.empty(),
                    .verify_name = false},
          .api_key = http.api_key};
}

std::vector<wire::TokenId> end_tokens(const config::ModelConfig& model,
                                      const text::Tokenizer* tokenizer) {
  std::set<wire::TokenId> ends(model.eos_token_ids.begin(), model.eos_token_ids.end());
  if (tokenizer != nullptr) ends.insert(tokenizer->eos_ids().begin(), tokenizer->eos_ids().end());
  return {ends.begin(), ends.end()};
}

}  // namespace

struct Instance::State {
  config::InstancePlan plan;
  std::string server_arguments;
  int failure_fd = -1;  // an eventfd
  mutable std::mutex mutex;
  Status failure;  // guarded by mutex

  std::unique_ptr<observe::Monitor> monitor;
  observe::SchedulerLog scheduler_log;
  std::int64_t began_ns = now_ns();

  // In the order of dependence: the server calls the service, which calls the link.
  std::unique_ptr<LoadedModel> model;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<grammar::Compiler> grammar_compiler;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<wire::InprocLink> link;
  std::unique_ptr<api::Service> service;
  std::atomic<api::Service*> ready = nullptr;  // `service`, once requests may reach it
  std::unique_ptr<http::Server> server;
  std::unique_ptr<TlsRefresh> tls_refresh;  // after the server, on whose threads it works

  std::atomic<bool> loading = false;
  std::atomic<bool> ending = false;  // ends the wait of the warm-up
  std::thread engine_thread;
  std::thread warm_up_thread;  // started by engine_thread

  void handle(http::Request request, std::shared_ptr<http::Exchange> exchange);
  void fail(const Status& why);
  // Writes what --crash-dump-folder asks for.
  void dump_requests();
  // Ends the process: its engine is stuck, so nothing can be ended in order.
  void give_up(const std::string& what);
  void run_engine();
  Status load();
  Result<api::ServiceOptions> service_options(const engine::EngineOptions& engine_options) const;
  void run_warm_up();
  void stop();
};

void Instance::State::handle(http::Request request, std::shared_ptr<http::Exchange> exchange) {
  if (api::Service* const service_now = ready.load()) {
    service_now->handle(std::move(request), std::move(exchange));
    return;
  }
  http::Response response;
  response.status = 503;
  if (!request.path.starts_with("/health")) {
    response.headers.add("Content-Type", "application/json");
    response.body = api::Service::error_body(503, "the model is being loaded; try again later");
  }
  api::Channel(std::move(exchange), request).respond(std::move(response));
}

void Instance::State::fail(const Status& why) {
  {
    const std::lock_guard lock(mutex);
    if (!failure.ok()) return;  // the first one is the cause
    failure = why;
  }
  if (api::Service* const service_now = ready.load()) {
    service_now->set_state(api::ServiceState::kUnhealthy);
  }
  const std::uint64_t one = 1;
  FATHOM_CHECK(write(failure_fd, &one, sizeof one) == sizeof one);
}

void Instance::State::dump_requests() {
  const api::Service* const service_now = ready.load();
  const Result<std::string> written = monitor->crash_dump.write(
      service_now == nullptr ? std::vector<std::string>() : service_now->unfinished_requests());
  if (!written.ok()) {
    log_error(written.status().message());
  } else if (!written->empty()) {
    log_error("The last requests are in " + *written);
  }
}

void Instance::State::give_up(const std::string& what) {
  dump_requests();
  log_error("fathom launch_server: " + what);
  std::_Exit(1);
}

Result<api::ServiceOptions> Instance::State::service_options(
    const engine::EngineOptions& engine_options) const {
  const config::ModelConfig& config = model->config();
  api::ServiceOptions options;
  options.keys = {plan.http.api_key, plan.http.admin_api_key};
  // A few of the largest bodies may wait at a time.
  options.max_waiting_bytes =
      std::max(options.max_waiting_bytes, 4 * static_cast<std::size_t>(plan.http.max_body_bytes));
  options.moved_paths = plan.http.moved_paths;
  options.served_model_name = plan.served_model_name;
  options.model_path = plan.model_path;
  options.tokenizer_path = plan.tokenizer_path;
  options.model_type = config.model_type;
  options.architectures = {config.architecture};
  options.weight_version = plan.weight_version;
  options.version = FATHOM_VERSION;
  options.server_arguments = server_arguments;
  options.context_tokens = plan.limits.context_tokens;
  options.max_request_tokens = engine::max_request_tokens(engine_options, plan.cache.pages);
  options.max_prompt_tokens = engine::max_prompt_tokens(engine_options, plan.cache.pages);
  options.max_running = plan.limits.max_running;
  options.pool_tokens = static_cast<std::int32_t>(plan.cache.pool_tokens());
  options.page_tokens = config::kPageTokens;
  options.draft_tokens = plan.speculation.verified();
  options.vocab_size = config.vocab_size;
  if (plan.use_sampling_defaults) {
    auto defaults = read_sampling_defaults(plan.model_path);
    FATHOM_RETURN_IF_ERROR(defaults.status());
    options.sampling_defaults = std::move(defaults).value();
  }
  if (tokenizer != nullptr) {
    auto chosen =
        text::ChatTemplate::choose(plan.chat_template, plan.tokenizer_path, plan.own_chat_encoding);
    FATHOM_RETURN_IF_ERROR(chosen.status());
    options.chat_template = std::move(chosen).value();
    if (options.chat_template != nullptr) {
      log_info(plan.chat_template.empty() ? "Chat prompts follow the checkpoint's chat template"
                                          : "Chat prompts follow " + plan.chat_template);
    }
  }
  options.stream_interval = plan.stream_interval;
  options.incremental_streaming = plan.incremental_streaming;
  options.file_storage = plan.file_storage;
  options.cache_report = plan.cache_report;
  FATHOM_RETURN_IF_ERROR(set_answer_formats(plan, config, options));
  options.forward_unknown_tools = plan.forward_unknown_tools;
  options.default_thinking = plan.default_thinking;
  options.auto_truncate = plan.auto_truncate;
  options.preferred_sampling = plan.preferred_sampling;
  FATHOM_RETURN_IF_ERROR(api::check_preferred_sampling(options));
  options.random_seed = plan.random_seed;
  options.monitor = monitor.get();
  options.health_generates = plan.health_generates;
  options.health_timeout = std::chrono::seconds(plan.health_timeout_s);
  if (!model->device().uses_host_memory()) options.accelerator = model->device().name();
  options.weight_gigabytes = gigabytes(model->weight_bytes());
  options.cache_gigabytes = gigabytes(plan.cache.pool_bytes());
  return options;
}

Status Instance::State::load() {
  if (!plan.skip_tokenizer) {
    auto loaded = text::Tokenizer::load(plan.tokenizer_path);
    if (!loaded.ok()) {
      return {
          loaded.status().code(),
          loaded.status().message() +
              " (--tokenizer-path names another place; --skip-tokenizer-init serves token ids)"};
    }
    tokenizer = std::move(loaded).value();
  }
  Loading loading_model(plan);
  const std::int64_t weights_ns = now_ns();
  FATHOM_RETURN_IF_ERROR(loading_model.load_weights());
  monitor->load_weights_s = static_cast<double>(now_ns() - weights_ns) * 1e-9;
  FATHOM_RETURN_IF_ERROR(loading_model.take_memory());
  engine::EngineOptions options = engine_options(plan);
  options.end_tokens = end_tokens(loading_model.model().config(), tokenizer.get());
  if (tokenizer != nullptr) {
    const std::int32_t vocab_size = loading_model.model().config().vocab_size;
    if (tokenizer->vocab_size() < vocab_size) options.first_unused_token = tokenizer->vocab_size();
    if (plan.grammars) {
      auto grammars = make_grammar_compiler(
          *tokenizer, vocab_size, options.end_tokens, compile_threads(plan),
          [this](std::chrono::nanoseconds took) {
            if (monitor->times == nullptr) return;
            monitor->times->on_grammar(static_cast<double>(took.count()) * 1e-9);
          });
      FATHOM_RETURN_IF_ERROR(grammars.status());
      grammar_compiler = std::move(grammars).value();
      options.compiler = grammar_compiler.get();
    }
  }
  options.weights_health = [this] { return model->health(); };
  options.account.report_interval = plan.monitoring.decode_log_interval;
  options.account.on_report = [this](const engine::StepReport& report) {
    scheduler_log.push(note_of(report, plan.speculation.verified()));
  };
  options.on_draft_switch = [this](bool on, double gain) {
    scheduler_log.tell(observe::draft_switch_line(on, gain));
  };
  options.on_phase = [this](const char* phase) { monitor->stalls.engine_phase(phase); };
  auto created = loading_model.create_engine(options);
  FATHOM_RETURN_IF_ERROR(created.status());
  engine = std::move(created).value();
  model = loading_model.take();

  auto described = service_options(options);
  FATHOM_RETURN_IF_ERROR(described.status());
  const std::size_t most = plan.limits.max_queued > 0
                               ? static_cast<std::size_t>(plan.limits.max_queued) +
                                     static_cast<std::size_t>(plan.limits.max_running)
                               : kMaxUnfinished;
  link = std::make_unique<wire::InprocLink>(
      most, [this] { server->post([this] { service->on_outputs(); }); });
  service =
      std::make_unique<api::Service>(std::move(described).value(), tokenizer.get(), link->client());
  service->set_timer([this](std::chrono::milliseconds delay, std::function<void()> work) {
    server->post_after(delay, std::move(work));
  });
  return {};
}

void Instance::State::run_engine() {
  const Status loaded = load();
  if (!loaded.ok()) {
    loading = false;  // before anyone learns of the failure and stops
    fail(loaded);
    return;
  }
  ready = service.get();
  warm_up_thread = std::thread([this] { run_warm_up(); });
  loading = false;
  const Status ended = engine->run(link->port());
  if (ended.ok()) return;
  dump_requests();
  fail(ended.in("the engine"));
}

void Instance::State::run_warm_up() {
  if (!plan.skip_warmup) {
    const Status warmed = warm_up(warm_up_target(plan.http, own_address(server->address())),
                                  std::chrono::seconds(plan.warmup_timeout_s), ending);
    if (ending) return;
    if (!warmed.ok()) {
      fail(warmed.in("the warm-up request"));
      return;
    }
  }
  service->set_state(api::ServiceState::kUp);
  monitor->startup_s = static_cast<double>(now_ns() - began_ns) * 1e-9;
  log_info("The server is fired up and ready to roll!");
}

void Instance::State::stop() {
  if (server == nullptr) return;
  FATHOM_CHECK(!loading);
  ending = true;
  static_cast<void>(server->drain(kLastWords));  // who has not read by now will not
  if (link != nullptr) link->close();
  if (engine_thread.joinable()) engine_thread.join();
  if (warm_up_thread.joinable()) warm_up_thread.join();
  server->stop();
  server.reset();
}

Result<std::unique_ptr<Instance>> Instance::create(const config::InstancePlan& plan,
                                                   const std::string& server_arguments) {
  Result<observe::MonitorOptions> watched = monitor_options(plan);
  FATHOM_RETURN_IF_ERROR(watched.status());
  auto state = std::make_unique<State>();
  watched->give_up = [raw = state.get()](const std::string& what) { raw->give_up(what); };
  state->monitor = std::make_unique<observe::Monitor>(std::move(watched).value());
  state->plan = plan;
  state->server_arguments = server_arguments;
  http::raise_open_files(kOpenFiles);
  http::ServerOptions options;
  options.host = plan.host;
  options.port = static_cast<std::uint16_t>(plan.port);
  options.max_body_bytes = static_cast<std::size_t>(plan.http.max_body_bytes);
  options.access_log = plan.http.access_log;
  options.access_log_leaves_out = plan.http.access_log_leaves_out;
  const http::TlsFiles files = tls_files(plan.http);
  if (!files.certificate.empty()) {
    auto tls = http::TlsContext::for_server(files);
    FATHOM_RETURN_IF_ERROR(tls.status());
    options.tls = std::move(tls).value();
  }
  State* const raw = state.get();
  auto server = http::Server::create(
      options, [raw](http::Request request, std::shared_ptr<http::Exchange> exchange) {
        raw->handle(std::move(request), std::move(exchange));
      });
  FATHOM_RETURN_IF_ERROR(server.status());
  state->failure_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (state->failure_fd < 0) {
    return Status(Code::kUnavailable, "eventfd: " + std::generic_category().message(errno));
  }
  state->server = std::move(server).value();
  state->monitor->connections = [raw] { return raw->server->stats().connections; };
  state->server->set_error_body(api::Service::error_body);
  if (plan.http.refresh_tls)
    state->tls_refresh = std::make_unique<TlsRefresh>(*state->server, files);
  return std::unique_ptr<Instance>(new Instance(std::move(state)));
}

Instance::Instance(std::unique_ptr<State> state) : state_(std::move(state)) {}

Instance::~Instance() {
  stop();
  close(state_->failure_fd);
}

void Instance::start() {
  state_->loading = true;
  state_->server->start();
  if (state_->tls_refresh != nullptr) state_->tls_refresh->start();
  log_info(std::string("Listening on ") +
           (state_->plan.http.certificate.empty() ? "http" : "https") + "://" +
           state_->server->address());
  state_->engine_thread = std::thread([this] { state_->run_engine(); });
}

int Instance::failure_fd() const { return state_->failure_fd; }

Status Instance::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

bool Instance::loading() const { return state_->loading; }

void Instance::refuse_requests() {
  state_->ending = true;
  if (api::Service* const service = state_->ready.load()) {
    service->set_state(api::ServiceState::kDraining);
  }
}

std::size_t Instance::unfinished() const {
  const api::Service* const service = state_->ready.load();
  return service == nullptr ? 0 : service->unfinished();
}

void Instance::abort_requests() {
  if (api::Service* const service = state_->ready.load()) service->abort_all();
}

void Instance::stop() { state_->stop(); }

}  // namespace fathom::app
