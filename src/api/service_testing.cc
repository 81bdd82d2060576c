#include "api/service_testing.h"

#include <cstdlib>
#include <thread>
#include <utility>

#include "base/check.h"

namespace fathom::api {

// FakeExchange

void FakeExchange::respond(http::Response response) {
  const std::lock_guard lock(mutex_);
  FATHOM_CHECK(!started_ && !complete_);
  response_ = std::move(response);
  complete_ = true;
  changed_.notify_all();
}

void FakeExchange::start(http::Response response) {
  const std::lock_guard lock(mutex_);
  FATHOM_CHECK(!started_ && !complete_);
  response_ = std::move(response);
  started_ = true;
  ++writes_;
  changed_.notify_all();
}

bool FakeExchange::write(std::string piece) {
  const std::lock_guard lock(mutex_);
  FATHOM_CHECK(started_ && !complete_);
  response_.body += piece;
  ++writes_;
  return !gone_;
}

void FakeExchange::on_sent(std::function<void()> sent) {
  {
    const std::lock_guard lock(mutex_);
    FATHOM_CHECK(started_ && !complete_ && !on_sent_);
    if (slow_) {
      on_sent_ = std::move(sent);
      changed_.notify_all();
      return;
    }
  }
  sent();
}

void FakeExchange::be_slow() {
  const std::lock_guard lock(mutex_);
  slow_ = true;
}

void FakeExchange::take() {
  std::function<void()> sent;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return on_sent_ != nullptr; });
    sent.swap(on_sent_);
  }
  sent();
}

void FakeExchange::finish() {
  const std::lock_guard lock(mutex_);
  FATHOM_CHECK(started_ && !complete_);
  complete_ = true;
  changed_.notify_all();
}

void FakeExchange::on_gone(std::function<void()> gone) {
  const std::lock_guard lock(mutex_);
  on_gone_ = std::move(gone);
}

const http::Response& FakeExchange::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return complete_; });
  return response_;
}

void FakeExchange::wait_started() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return started_ || complete_; });
}

bool FakeExchange::complete() const {
  const std::lock_guard lock(mutex_);
  return complete_;
}

http::Response FakeExchange::response() const {
  const std::lock_guard lock(mutex_);
  return response_;
}

int FakeExchange::writes() const {
  const std::lock_guard lock(mutex_);
  return writes_;
}

void FakeExchange::leave() {
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    gone = std::move(on_gone_);
  }
  if (gone) gone();
}

// FakeEngine

Status FakeEngine::submit(wire::GenerateRequest request) {
  const std::lock_guard lock(mutex_);
  if (!refusal_.ok() && refuse_after_-- <= 0) return refusal_;
  requests_.push_back(std::move(request));
  changed_.notify_all();
  return {};
}

void FakeEngine::abort(const wire::AbortRequest& request) {
  const std::lock_guard lock(mutex_);
  aborts_.push_back(request);
  changed_.notify_all();
}

void FakeEngine::flush_cache() {
  const std::lock_guard lock(mutex_);
  ++flushes_;
}

std::vector<wire::TokenOutput> FakeEngine::take_outputs() {
  const std::lock_guard lock(mutex_);
  return std::exchange(outputs_, {});
}

wire::EngineLoad FakeEngine::load() const {
  const std::lock_guard lock(mutex_);
  return load_;
}

void FakeEngine::refuse(Status status, int after) {
  const std::lock_guard lock(mutex_);
  refusal_ = std::move(status);
  refuse_after_ = after;
}

void FakeEngine::set_load(const wire::EngineLoad& load) {
  const std::lock_guard lock(mutex_);
  load_ = load;
}

void FakeEngine::publish(wire::TokenOutput output) {
  const std::lock_guard lock(mutex_);
  outputs_.push_back(std::move(output));
}

std::vector<wire::GenerateRequest> FakeEngine::wait_requests(std::size_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return requests_.size() >= count; });
  return requests_;
}

std::vector<wire::GenerateRequest> FakeEngine::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<wire::GenerateRequest> FakeEngine::take_requests() {
  const std::lock_guard lock(mutex_);
  return std::exchange(requests_, {});
}

std::vector<wire::RequestId> FakeEngine::aborts() const {
  const std::lock_guard lock(mutex_);
  return abort_ids();
}

std::vector<wire::RequestId> FakeEngine::wait_aborts(std::size_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return aborts_.size() >= count; });
  return abort_ids();
}

// ServiceRig

ServiceOptions ServiceRig::default_options() {
  ServiceOptions options;
  options.served_model_name = "tiny";
  options.model_path = "/models/tiny";
  options.tokenizer_path = "/models/tiny";
  options.model_type = "deepseek_v32";
  options.architectures = {"DeepseekV32ForCausalLM"};
  options.version = "0.1";
  options.server_arguments = R"({"tp_size":1})";
  options.context_tokens = 1000;
  options.max_request_tokens = 999;
  options.max_prompt_tokens = 994;
  options.pool_tokens = 4096;
  options.vocab_size = 320;
  options.random_seed = 7;
  options.work_threads = 1;
  return options;
}

ServiceRig::ServiceRig(ServiceOptions options, bool with_tokenizer) {
  if (with_tokenizer) {
    text::TestTokenizer parts;
    parts.added_tokens = R"([{"id":256,"content":"<eos>","special":true},)"
                         R"({"id":257,"content":"<think>","special":false},)"
                         R"({"id":258,"content":"</think>","special":false}])";
    tokenizer = text::make_tokenizer(parts);
  }
  service = std::make_unique<Service>(std::move(options), tokenizer.get(), engine);
  service->set_state(ServiceState::kUp);
}

std::shared_ptr<FakeExchange> ServiceRig::send(http::Request request) {
  auto exchange = std::make_shared<FakeExchange>();
  service->handle(std::move(request), exchange);
  return exchange;
}

std::shared_ptr<FakeExchange> ServiceRig::send(std::string_view method,
                                               std::string_view path,
                                               std::string_view body) {
  http::Request request;
  request.method = method;
  request.target = path;
  request.path = path;
  request.body = body;
  request.headers.add("Content-Type", "application/json; charset=utf-8");
  return send(std::move(request));
}

void ServiceRig::publish(wire::TokenOutput output) {
  engine.publish(std::move(output));
  service->on_outputs();
}

void ServiceRig::wait_idle() const {
  while (service->unfinished() > 0) std::this_thread::yield();
}

wire::TokenOutput ServiceRig::piece(const wire::GenerateRequest& request,
                                    std::string_view text,
                                    std::size_t sent) {
  wire::TokenOutput output;
  output.id = request.id;
  for (const char byte : text) output.tokens.push_back(static_cast<unsigned char>(byte));
  output.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
  output.generated_tokens = static_cast<std::int32_t>(sent + text.size());
  return output;
}

wire::TokenOutput ServiceRig::last(wire::TokenOutput output, wire::Finish finish) {
  output.finish = finish;
  if (finish == wire::Finish::kStop) {
    output.tokens.push_back(kEos);
    output.stop_token = kEos;
    ++output.generated_tokens;
  }
  return output;
}

std::string without_times(std::string text) {
  for (const std::string_view name : {"\"created\":", "\"e2e_latency\":"}) {
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at)) {
      at += name.size();
      text.replace(at, text.find_first_not_of("0123456789.+-e", at) - at, "0");
    }
  }
  return text;
}

std::vector<std::string> events_of(const std::string& body) {
  constexpr std::string_view kStart = "data: ";
  constexpr std::string_view kEnd = "\n\n";
  std::vector<std::string> events;
  std::size_t at = 0;
  while (at < body.size()) {
    const std::size_t end = body.find(kEnd, at);
    FATHOM_CHECK(body.compare(at, kStart.size(), kStart) == 0 && end != std::string::npos);
    events.push_back(body.substr(at + kStart.size(), end - at - kStart.size()));
    at = end + kEnd.size();
  }
  return events;
}

}  // namespace fathom::api
