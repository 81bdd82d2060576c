#include "api/service.h"

#include <utility>

#include "api/core.h"
#include "base/check.h"
#include "base/log.h"

namespace fathom::api {

namespace {

// What the end of an earlier server interrupted.
void go_on_with_batches(Core& core) {
  const bool taken = core.work.post([&core] {
    const Status status = core.batches.start();
    if (!status.ok()) log_warning("batches: " + status.message());
  });
  if (!taken) log_warning("batches of earlier wait until somebody asks for one");
}

// The path that a request means. One that has moved is nowhere that anything else could be.
std::string place_of(const std::vector<std::pair<std::string, std::string>>& moved,
                     std::string path) {
  for (const auto& [from, to] : moved) {
    if (path == to) return from;
  }
  for (const auto& [from, to] : moved) {
    if (path == from) return path + "/moved";
  }
  return path;
}

}  // namespace

Status check_preferred_sampling(const ServiceOptions& options) {
  if (options.preferred_sampling.empty()) return {};
  const Result<Json> preferred = parse_json(options.preferred_sampling);
  if (!preferred.ok()) return preferred.status().in("preferred sampling");
  if (!preferred->is_object()) {
    return invalid_argument("preferred sampling: " + wrong_json_kind("an object", *preferred));
  }
  FieldReader fields(*preferred, "preferred sampling: ");
  read_sampling(fields, SamplingDialect::kNative, SamplingDefaults{}, options);
  return fields.ok() ? Status() : invalid_argument(fields.refusal()->message);
}

Service::Service(ServiceOptions options,
                 const text::Tokenizer* tokenizer,
                 wire::EngineClient& engine)
    : core_(std::make_unique<Core>(std::move(options), tokenizer, engine)) {
  const ServiceOptions& resolved = core_->options;
  FATHOM_CHECK(resolved.vocab_size > 0 && resolved.context_tokens > 0);
  FATHOM_CHECK(resolved.max_prompt_tokens > 0);
}

Service::~Service() = default;

void Service::set_timer(Timer timer) { core_->timer = std::move(timer); }

void Service::handle(http::Request request, std::shared_ptr<http::Exchange> exchange) {
  request.path = place_of(core_->options.moved_paths, std::move(request.path));
  observe::Monitor* const monitor = core_->options.monitor;
  const std::string_view endpoint = route_of(request.path);
  const observe::Stalls::Phase phase(monitor == nullptr ? nullptr : &monitor->stalls, "http",
                                     endpoint.empty() ? "answer" : endpoint);
  observe::HttpMetrics* const counts = monitor == nullptr ? nullptr : monitor->http.get();
  if (counts != nullptr) counts->count_request(endpoint, request.method);
  Channel channel(std::move(exchange), request, {counts, endpoint});
  route(*core_, {std::move(request), std::move(channel)});
}

std::string Service::error_body(int status, std::string_view message) {
  return api::error_body(Refusal::of(status, std::string(message)));
}

void Service::on_outputs() {
  observe::Monitor* const monitor = core_->options.monitor;
  const observe::Stalls::Phase phase(monitor == nullptr ? nullptr : &monitor->stalls, "http",
                                     "write what the engine told");
  if (core_->registry.deliver()) core_->health.sign_of_life();
}

void Service::set_state(ServiceState state) {
  if (state == ServiceState::kUp) go_on_with_batches(*core_);
  ServiceState now = core_->state;
  while (now != ServiceState::kDraining && !core_->state.compare_exchange_weak(now, state)) {
  }
}

ServiceState Service::state() const { return core_->state; }

std::size_t Service::unfinished() const { return core_->open_calls; }

std::vector<std::string> Service::unfinished_requests() const {
  return core_->registry.events().unfinished();
}

void Service::abort_all() {
  core_->batches.stop();  // an aborted answer is none
  core_->registry.abort_all();
}

}  // namespace fathom::api
