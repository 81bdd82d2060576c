#include "bench/serve_rig.h"

#include <utility>
#include <variant>

#include "base/check.h"
#include "base/clock.h"

namespace fathom::bench {

namespace {

constexpr std::size_t kMostRequests = 65536;
constexpr std::int64_t kPatienceNs = 30'000'000'000;  // with requests of clients that have failed

}  // namespace

ScriptedEngine::ScriptedEngine(const Script& script, std::function<void()> on_output)
    : script_(&script), link_(kMostRequests, std::move(on_output)) {}

void ScriptedEngine::receive(int count) {
  requests_.clear();
  while (requests_.size() < static_cast<std::size_t>(count)) {
    std::vector<wire::ToEngine> messages = link_.port().receive(true, now_ns() + kPatienceNs);
    FATHOM_CHECK_MSG(!messages.empty(), "the clients' requests do not come");
    for (wire::ToEngine& message : messages) {
      auto* request = std::get_if<wire::GenerateRequest>(&message);
      FATHOM_CHECK_MSG(request != nullptr, "a client has left");
      requests_.push_back(std::move(*request));
    }
  }
}

void ScriptedEngine::publish(std::size_t index) {
  const bool last = index + 1 == script_->tokens.size();
  std::vector<wire::TokenOutput> outputs;
  outputs.reserve(requests_.size());
  for (const wire::GenerateRequest& request : requests_) {
    wire::TokenOutput& output = outputs.emplace_back();
    output.id = request.id;
    output.tokens = {script_->tokens[index]};
    output.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
    output.generated_tokens = static_cast<std::int32_t>(index + 1);
    if (last) output.finish = wire::Finish::kLength;
  }
  link_.port().publish(std::move(outputs));
}

api::ServiceOptions service_options(const StreamForm& form, const text::Tokenizer& tokenizer) {
  api::ServiceOptions options;
  options.served_model_name = "fathom-tiny";
  options.context_tokens = 8192;
  options.max_request_tokens = options.context_tokens;
  options.max_prompt_tokens = options.context_tokens;
  options.vocab_size = tokenizer.vocab_size();
  options.incremental_streaming = form.incremental_streaming;
  return options;
}

ServeRig::ServeRig(const StreamForm& form, const text::Tokenizer& tokenizer, const Script& script)
    : engine_(script, [this] { server_->post([this] { service_.on_outputs(); }); }),
      service_(service_options(form, tokenizer), &tokenizer, engine_.client()) {
  auto server = http::Server::create(
      {}, [this](http::Request request, std::shared_ptr<http::Exchange> exchange) {
        service_.handle(std::move(request), std::move(exchange));
      });
  FATHOM_CHECK_MSG(server.ok(), server.status().message());
  server_ = std::move(*server);
  service_.set_state(api::ServiceState::kUp);
  server_->start();
}

ServeRig::~ServeRig() { server_->stop(); }

}  // namespace fathom::bench
