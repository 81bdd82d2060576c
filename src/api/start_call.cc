#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <memory>
#include <sys/random.h>
#include <utility>

#include "api/core.h"
#include "api/custom_labels.h"
#include "base/check.h"
#include "base/log.h"
#include "base/log_bounds.h"
#include "base/random.h"

namespace fathom::api {

namespace {

// What `/v1/` endpoints want to hear about their body, as SGLang's do.
std::optional<Refusal> check_content_type(const http::Request& request) {
  if (!request.path.starts_with("/v1/")) return std::nullopt;
  const std::string* header = request.headers.find("Content-Type");
  std::string type = header == nullptr ? "" : header->substr(0, header->find(';'));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (type == "application/json") return std::nullopt;
  return Refusal::shape("Unsupported Media Type: Content-Type was \"" + type +
                        "\", expected application/json");
}

// The body as a JSON object, or what is wrong with it.
std::optional<Refusal> read_body(const http::Request& request, Json& out) {
  if (auto refusal = check_content_type(request)) return refusal;
  Result<Json> body = parse_json(request.body);
  if (!body.ok()) return Refusal::shape(body.status().message());
  if (!body->is_object()) return Refusal::shape(wrong_json_kind("an object", *body));
  out = std::move(*body);
  return std::nullopt;
}

// What a work thread does, for those who look for stalls and for who measures.
class WorkPhase {
 public:
  WorkPhase(const Core& core, const http::Request& request)
      : functions_(core.options.monitor == nullptr ? nullptr
                                                   : core.options.monitor->functions.get()),
        endpoint_(route_of(request.path)),
        phase_(core.options.monitor == nullptr ? nullptr : &core.options.monitor->stalls,
               "work",
               request.path) {}
  ~WorkPhase() {
    if (functions_ == nullptr || endpoint_.empty()) return;
    functions_->observe(endpoint_, static_cast<double>(now_ns() - began_ns_) * 1e-9);
  }
  WorkPhase(const WorkPhase&) = delete;
  WorkPhase& operator=(const WorkPhase&) = delete;

 private:
  observe::FunctionTimes* const functions_;
  const std::string_view endpoint_;  // of the route table; empty: none
  const std::int64_t began_ns_ = now_ns();
  const observe::Stalls::Phase phase_;
};

Refusal too_much_work() { return Refusal::of(503, "too many requests wait to be read; try again"); }

std::optional<Refusal> prepare_and_submit(Core& core,
                                          const std::shared_ptr<Call>& call,
                                          const http::Request& request,
                                          Prepare prepare,
                                          std::int64_t received_ns) {
  Prepared prepared;
  {
    Json body;
    if (auto refusal = read_body(request, body)) return refusal;
    if (auto refusal = prepare(core, body, prepared)) return refusal;
  }
  prepared.received_ns = received_ns;
  if (prepared.custom_labels.empty()) {
    prepared.custom_labels = custom_label_values(core.options.monitor, request);
  }
  if (prepared.stream) {
    for (wire::GenerateRequest& generate : prepared.requests) generate.stream = true;
  }
  return core.registry.submit(call, std::move(prepared));
}

}  // namespace

std::uint64_t SeedStream::next() {
  const std::uint64_t n = drawn_.fetch_add(1);
  const auto word = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  // The last word sets these numbers apart from those that draw tokens.
  const std::array<std::uint32_t, 4> bits =
      philox4x32({word(n), word(n >> 32), 0, 0x5EED0000}, {word(key_), word(key_ >> 32)});
  return std::uint64_t{bits[1]} << 32 | bits[0];
}

void start_call(Core& core, Arrival arrival, Prepare prepare, ErrorForm form) {
  auto call = std::make_shared<Call>(arrival.channel, form, core.open_calls);
  if (core.state == ServiceState::kDraining) {
    call->refuse(Refusal::of(503, "the server is shutting down"));
    return;
  }
  arrival.channel.on_gone([&core, kept = std::weak_ptr<Call>(call)] {
    const std::shared_ptr<Call> gone = kept.lock();
    if (gone == nullptr) return;
    gone->set_gone();
    core.registry.abort(*gone);
  });
  const std::size_t weight = arrival.request.body.size();
  auto request = std::make_shared<http::Request>(std::move(arrival.request));
  const std::int64_t received_ns = now_ns();
  const bool taken = core.work.post(
      [&core, call, request, prepare, received_ns] {
        if (call->gone()) return;
        const WorkPhase phase(core, *request);
        if (auto refusal = prepare_and_submit(core, call, *request, prepare, received_ns)) {
          call->refuse(*refusal);
        }
      },
      weight);
  if (!taken) call->refuse(too_much_work());
}

void start_work(Core& core, Arrival arrival, Answer answer, ErrorForm form) {
  const std::size_t weight = arrival.request.body.size();
  auto kept = std::make_shared<Arrival>(std::move(arrival));
  const bool taken = core.work.post(
      [&core, kept, answer, form] {
        const WorkPhase phase(core, kept->request);
        Json body;
        if (auto refusal = read_body(kept->request, body)) {
          kept->channel.respond(error_response(*refusal, form));
          return;
        }
        kept->channel.respond(answer(core, body));
      },
      weight);
  if (!taken) kept->channel.respond(error_response(too_much_work(), form));
}

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  FATHOM_CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id;
  for (const unsigned char byte : bytes) {
    id += kDigits[byte >> 4U];
    id += kDigits[byte & 15U];
  }
  return id;
}

Refusal no_tokenizer() {
  return Refusal::semantic(
      "this instance has no tokenizer (--skip-tokenizer-init): send input_ids to /generate");
}

namespace {

// Tokens of an answer without a limit of its own.
constexpr std::int32_t kAsManyAsFit = std::numeric_limits<std::int32_t>::max();

std::optional<Refusal> check_lengths(const ServiceOptions& options,
                                     const std::string& rid,
                                     std::size_t prompt_tokens,
                                     const SamplingFields& sampling) {
  const std::string prompt = std::to_string(prompt_tokens);
  const std::string context = std::to_string(options.context_tokens);
  if (prompt_tokens >= static_cast<std::size_t>(options.context_tokens)) {
    return Refusal::semantic("the prompt has " + prompt + " tokens; the context holds fewer than " +
                             context);
  }
  if (sampling.max_new_tokens) {
    const std::int64_t total = static_cast<std::int64_t>(prompt_tokens) + *sampling.max_new_tokens;
    if (total >= options.context_tokens) {
      return Refusal::semantic("the request asks for " + std::to_string(total) + " tokens, " +
                               prompt + " of the prompt and " +
                               std::to_string(*sampling.max_new_tokens) +
                               " of the answer; the context holds fewer than " + context);
    }
  }
  if (prompt_tokens > static_cast<std::size_t>(options.max_prompt_tokens)) {
    return Refusal::semantic("Request " + rid + " exceeds the maximum number of tokens: " + prompt +
                             " > " + std::to_string(options.max_prompt_tokens));
  }
  return std::nullopt;
}

// A client may send a thousand prompts that are too long at once.
constexpr std::int64_t kTruncationLines = 10;
constexpr std::int64_t kTruncationIntervalNs = 10'000'000'000;

// Cuts prompt and answer to what context and pool hold, as SGLang does: the prompt loses its end,
// the answer gets what is left, and each is told to the log. At least one token is left for the
// answer; SGLang leaves none where a prompt that is cut comes with an explicit limit.
void truncate(const ServiceOptions& options,
              const std::string& rid,
              std::vector<wire::TokenId>& prompt,
              wire::GenerateRequest& request) {
  const std::int32_t most =
      std::max(std::min(options.max_prompt_tokens, options.context_tokens - 2), 1);
  if (prompt.size() > static_cast<std::size_t>(most)) {
    static LogRate rate(kTruncationLines, kTruncationIntervalNs);
    log_warning(rate, "The input of " + quoted_for_log(rid) + " (" + std::to_string(prompt.size()) +
                          " tokens) is longer than the " + std::to_string(most) +
                          " that fit. Truncating the input.");
    prompt.resize(static_cast<std::size_t>(most));
  }
  const auto tokens = static_cast<std::int32_t>(prompt.size());
  wire::SamplingParams& sampling = request.sampling;
  const std::int32_t left = options.context_tokens - 1 - tokens;
  if (sampling.max_new_tokens > left) {
    if (sampling.max_new_tokens != kAsManyAsFit) {
      static LogRate rate(kTruncationLines, kTruncationIntervalNs);
      log_warning(rate, "The tokens of " + quoted_for_log(rid) + " (" + std::to_string(tokens) +
                            " input + " + std::to_string(sampling.max_new_tokens) +
                            " new) exceed the context (" + std::to_string(options.context_tokens) +
                            "). Truncating max_new_tokens.");
    }
    sampling.max_new_tokens = left;
  }
  sampling.min_new_tokens = std::min(sampling.min_new_tokens, sampling.max_new_tokens);
  request.logprobs.prompt_start = std::min(request.logprobs.prompt_start, tokens);
}

}  // namespace

std::optional<Refusal> add_prompt(Core& core,
                                  Prepared& out,
                                  const std::string& rid,
                                  std::vector<wire::TokenId> prompt,
                                  const SamplingFields& sampling,
                                  const wire::LogprobParams& logprobs,
                                  bool watched) {
  const ServiceOptions& options = core.options;
  if (prompt.empty()) return Refusal::semantic("the prompt has no tokens, expected at least 1");
  if (sampling.max_new_tokens && sampling.params.min_new_tokens > *sampling.max_new_tokens) {
    return Refusal::semantic(
        "the request asks for at least " + std::to_string(sampling.params.min_new_tokens) +
        " tokens of the answer and for at most " + std::to_string(*sampling.max_new_tokens));
  }
  wire::GenerateRequest request;
  request.sampling = sampling.params;
  request.sampling.max_new_tokens = sampling.max_new_tokens.value_or(kAsManyAsFit);
  request.logprobs = logprobs;
  if (options.auto_truncate) {
    truncate(options, rid, prompt, request);
  } else if (auto refusal = check_lengths(options, rid, prompt.size(), sampling)) {
    return refusal;
  }
  const std::size_t requests = out.requests.size() + sampling.samples;
  if (requests > options.max_samples) {
    return Refusal::semantic("prompts times n is at least " + std::to_string(requests) +
                             ", expected at most " + std::to_string(options.max_samples));
  }
  out.prompt_tokens += prompt.size() * sampling.samples;
  if (out.prompt_tokens > options.max_call_tokens) {
    return Refusal::semantic("the prompts have at least " + std::to_string(out.prompt_tokens) +
                             " tokens, counted for each of n, expected at most " +
                             std::to_string(options.max_call_tokens));
  }
  request.sampling.seed = sampling.seed ? *sampling.seed : core.seeds.next();
  request.constraint = sampling.constraint;
  request.priority = sampling.request.priority;
  request.cache_namespace = sampling.request.cache_namespace;
  request.stream = watched;
  request.stream_interval = sampling.stream_interval;
  request.prompt = std::move(prompt);
  for (std::uint32_t sample = 0; sample + 1 < sampling.samples; ++sample) {
    request.sampling.sample = sample;
    out.requests.push_back(request);
  }
  request.sampling.sample = sampling.samples - 1;
  out.requests.push_back(std::move(request));
  return std::nullopt;
}

}  // namespace fathom::api
