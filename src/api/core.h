#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/batches.h"
#include "api/call.h"
#include "api/file_store.h"
#include "api/health.h"
#include "api/registry.h"
#include "api/sampling_fields.h"
#include "api/service.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/work_queue.h"

namespace fathom::api {

// Seeds for requests that bring none: a fixed sequence for each --random-seed, so that a run with
// the same requests in the same order repeats.
//
// Threads: any.
class SeedStream {
 public:
  explicit SeedStream(std::uint64_t random_seed) : key_(random_seed) {}
  std::uint64_t next();

 private:
  const std::uint64_t key_;
  std::atomic<std::uint64_t> drawn_ = 0;
};

// Generated tokens per second between two looks at the engine's count.
//
// Threads: any.
class Throughput {
 public:
  explicit Throughput(std::int64_t now_ns) : seen_ns_(now_ns) {}
  // Looks closer together than a tenth of a second repeat the last rate.
  double look(std::int64_t generated_tokens, std::int64_t now_ns);

 private:
  std::mutex mutex_;
  std::int64_t seen_ns_;
  std::int64_t seen_tokens_ = 0;
  double rate_ = 0;
};

struct Core;

// How the batches of this server send their requests, and how many at once.
Batches::Send batch_sender(Core& core);
BatchOptions batch_options(const ServiceOptions& options);

// What the endpoints share.
struct Core {
  Core(ServiceOptions options_in,
       const text::Tokenizer* tokenizer_in,
       wire::EngineClient& engine_in)
      : options(std::move(options_in)),
        tokenizer(tokenizer_in),
        engine(engine_in),
        seeds(options.random_seed),
        throughput(now_ns()),
        registry(engine_in, options.monitor, tokenizer_in),
        health(registry, options.health_timeout),
        work(options.work_threads, options.max_waiting_work, options.max_waiting_bytes),
        files(options.file_storage, {}),
        batches(files, batch_sender(*this), batch_options(options)) {
    // Checked by whoever made the options (check_preferred_sampling).
    if (Result<Json> json = parse_json(options.preferred_sampling); json.ok()) {
      preferred_sampling = std::move(*json);
    }
  }

  ~Core() {
    batches.stop();  // first: what the queue drops is no answer to a line
    work.stop();     // before what its threads use goes
  }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  const ServiceOptions options;
  Json preferred_sampling;           // an object, or null
  const text::Tokenizer* tokenizer;  // null: token ids alone
  wire::EngineClient& engine;
  Service::Timer timer;
  std::atomic<ServiceState> state = ServiceState::kStarting;
  SeedStream seeds;
  Throughput throughput;
  std::atomic<std::size_t> open_calls = 0;
  Registry registry;
  HealthProbes health;
  WorkQueue work;  // its threads use what is above
  FileStore files;
  Batches batches;  // the last member: its thread sends requests
};

// A request and the way back.
struct Arrival {
  http::Request request;
  Channel channel;
};

// Makes a call of a request's body. What is refused leaves `out` without meaning.
using Prepare = std::optional<Refusal> (*)(Core& core, const Json& body, Prepared& out);

// Reads, prepares and sends a generating request, the work on a thread of core.work.
void start_call(Core& core, Arrival arrival, Prepare prepare, ErrorForm form);

// Runs an endpoint that needs no engine on a thread of core.work.
using Answer = http::Response (*)(const Core& core, const Json& body);
void start_work(Core& core, Arrival arrival, Answer answer, ErrorForm form = ErrorForm::kOpenAi);

// Appends the requests of one prompt to `out`, one for each sample, with a seed drawn for them when
// there is none. What context and pool cannot hold is refused, or, where the service is set to,
// shortened: the prompt loses its end. `rid` is for the message. `watched`: the node process may
// end the answer (AnswerOptions::ends_by_text), so its tokens are wanted as they come.
std::optional<Refusal> add_prompt(Core& core,
                                  Prepared& out,
                                  const std::string& rid,
                                  std::vector<wire::TokenId> prompt,
                                  const SamplingFields& sampling,
                                  const wire::LogprobParams& logprobs,
                                  bool watched);

// The 32 hexadecimal digits that name a request without a rid.
std::string random_id();

// Why an endpoint that reads or writes text refuses, when there is no tokenizer.
Refusal no_tokenizer();

std::optional<Refusal> prepare_chat(Core& core, const Json& body, Prepared& out);
std::optional<Refusal> prepare_completion(Core& core, const Json& body, Prepared& out);
std::optional<Refusal> prepare_response(Core& core, const Json& body, Prepared& out);
std::optional<Refusal> prepare_generate(Core& core, const Json& body, Prepared& out);
// Anthropic's Messages (messages.cc).
std::optional<Refusal> prepare_messages(Core& core, const Json& body, Prepared& out);
http::Response count_message_tokens(const Core& core, const Json& body);
// Ollama's endpoints (ollama.cc).
std::optional<Refusal> prepare_ollama_chat(Core& core, const Json& body, Prepared& out);
std::optional<Refusal> prepare_ollama_generate(Core& core, const Json& body, Prepared& out);
http::Response ollama_show(const Core& core, const Json& body);
http::Response ollama_tags(Core& core, const http::Request& request);
http::Response ollama_version(Core& core, const http::Request& request);
http::Response ollama_root(Core& core, const http::Request& request);
http::Response tokenize(const Core& core, const Json& body);
http::Response detokenize(const Core& core, const Json& body);
http::Response parse_function_call(const Core& core, const Json& body);
http::Response separate_reasoning(const Core& core, const Json& body);

// Endpoints that tell what there is (info.cc). None waits.
http::Response list_models(Core& core, const http::Request& request);
http::Response get_model(Core& core, const http::Request& request);
http::Response stored_response(Core& core, const http::Request& request);
http::Response model_info(Core& core, const http::Request& request);
http::Response server_info(Core& core, const http::Request& request);
http::Response flush_cache(Core& core, const http::Request& request);
// Tokens that a request got of a step that decoded it, on average; 0 when there was none.
double accept_length(const wire::DraftCounts& drafts);
http::Response abort_request(Core& core, const http::Request& request);

// What an operator asks for (monitoring.cc).
http::Response metrics(Core& core, const http::Request& request);
observe::EngineValues engine_values(const wire::EngineLoad& load, const ServiceOptions& options);
http::Response configure_logging(Core& core, const http::Request& request);

// The path of the route table that `path` is answered by; empty for none.
std::string_view route_of(std::string_view path);
// How much there is to do (load_info.cc). Neither waits.
http::Response get_load(Core& core, const http::Request& request);
http::Response get_loads(Core& core, const http::Request& request);

// Answers a request by its path and method (routes.cc).
void route(Core& core, Arrival arrival);
// The same without asking for a key: for requests of our own.
void dispatch(Core& core, Arrival arrival);

}  // namespace fathom::api
