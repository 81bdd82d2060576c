#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/access.h"
#include "http/message.h"
#include "http/server.h"
#include "observe/monitor.h"
#include "text/answer_parser.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "wire/engine_link.h"

namespace fathom::api {

// What a chat request gets for a sampling field that it leaves out.
struct SamplingDefaults {
  double temperature = 1;
  double top_p = 1;
  std::int32_t top_k = -1;  // -1: the whole vocabulary
  double min_p = 0;
  double repetition_penalty = 1;
  std::string source;  // for messages: "generation_config.json"; empty when nothing was read
};

// Everything that the endpoints tell or decide by, resolved by app.
struct ServiceOptions {
  AccessKeys keys;
  std::string served_model_name;
  // Other places of paths: from where they are to where requests for them come.
  std::vector<std::pair<std::string, std::string>> moved_paths;
  std::string model_path;
  std::string tokenizer_path;
  std::string model_type;
  std::vector<std::string> architectures;
  std::string weight_version = "default";
  std::string version;                  // of this program
  std::string server_arguments = "{}";  // JSON object: every resolved launch argument
  std::int32_t context_tokens = 4096;   // prompt and answer of a request are below this
  std::int32_t max_request_tokens = 0;  // prompt and answer that context and pool hold together
  std::int32_t max_prompt_tokens = 0;   // of them for the prompt
  std::int32_t pool_tokens = 0;         // what the engine's pages hold together
  std::int32_t max_running = 0;         // requests that the engine runs at once
  std::int32_t page_tokens = 64;
  std::int32_t draft_tokens = 0;  // verified for a request and step; 0: no speculation
  std::int32_t vocab_size = 0;    // of the model: ids in requests are below this
  // Of chat prompts; null: DeepSeek-V3.2's own encoding.
  std::shared_ptr<const text::ChatTemplate> chat_template;
  SamplingDefaults sampling_defaults;  // for chat alone, as SGLang does
  bool default_thinking = false;       // for a chat request that does not say
  text::ReasoningFormat reasoning = text::ReasoningFormat::kNone;  // of the model's answers in chat
  text::ToolCallFormat tool_calls = text::ToolCallFormat::kNone;   // likewise
  bool forward_unknown_tools = false;  // calls of tools that the request does not have are told
  bool auto_truncate = false;          // requests that are too long are shortened, not refused
  std::string preferred_sampling;      // JSON object that sampling_params of /generate start from
  std::int32_t stream_interval = 1;    // tokens between two events of a stream
  bool incremental_streaming = false;  // /generate streams pieces, not all that is there so far
  bool cache_report = false;           // usage tells how much of the prompt was cached
  std::string file_storage = "sglang_storage";  // folder of uploads; made when there is one
  std::uint64_t random_seed = 0;                // of the seeds drawn for requests that bring none
  std::size_t max_samples = 1024;               // prompts × n of one HTTP request
  std::size_t max_call_tokens = std::size_t{1} << 24;  // in the prompts of all of them
  bool health_generates = true;  // /health asks the engine; false: only the state
  std::chrono::milliseconds health_timeout{20000};
  int work_threads = 2;                 // that parse, render and tokenize
  std::size_t max_waiting_work = 4096;  // requests that wait for such a thread: more get 503
  std::size_t max_waiting_bytes = std::size_t{256} << 20;  // of their bodies together
  observe::Monitor* monitor = nullptr;  // must outlive the service; null: nothing is watched
  std::string accelerator;              // the device's name, for /v1/loads; empty: it is a CPU
  std::int32_t accelerators = 1;        // how many the model is on
  // For /server_info, in GB.
  double weight_gigabytes = 0;
  double cache_gigabytes = 0;
};

// Whether `preferred_sampling` is something that every request can start from. kInvalidArgument
// names the member.
Status check_preferred_sampling(const ServiceOptions& options);

enum class ServiceState : std::uint8_t {
  kStarting,  // generates (for the warm-up), /health says 503
  kUp,
  kUnhealthy,  // as kStarting: the warm-up failed or the engine ended
  kDraining,   // refuses new work with 503, finishes what it has
};

struct Core;

// The HTTP endpoints of a worker, between http::Server and one engine (docs/api.md).
//
// Requests are parsed, rendered and tokenized on threads of the service's own; answers are written
// by on_outputs(). An answer begins when the engine has said something about it, so whatever is
// refused before that has an HTTP status of its own.
//
// Threads: all members are safe from any thread.
class Service {
 public:
  // Runs a function after a time: Server::post_after().
  using Timer = std::function<void(std::chrono::milliseconds, std::function<void()>)>;

  // `tokenizer` may be null: then there are only token ids, at /generate. It and `engine` must
  // outlive the service. The Service must outlive the server that calls it and every timer.
  Service(ServiceOptions options, const text::Tokenizer* tokenizer, wire::EngineClient& engine);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Before requests come. Without a timer /health never gives up.
  void set_timer(Timer timer);

  // The http::Handler. Never waits.
  void handle(http::Request request, std::shared_ptr<http::Exchange> exchange);

  // The http::Server::ErrorBody: the form that a worker's errors have.
  static std::string error_body(int status, std::string_view message);

  // Takes what the engine has published and writes it, one write for each connection it concerns.
  // To be called, on a server thread, after every InprocLink on_output.
  void on_outputs();

  // kDraining is final: a warm-up that succeeds only then does not open the service again.
  void set_state(ServiceState state);
  ServiceState state() const;

  // Requests that were accepted and whose answer is not complete, or that the engine still has.
  std::size_t unfinished() const;

  // A line of JSON for each of them that the engine has, when the monitor keeps requests.
  std::vector<std::string> unfinished_requests() const;

  // Asks the engine to end all of them: streams end with finish_reason "abort". For the end of the
  // server: batches stop, and go on at the next start.
  void abort_all();

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace fathom::api
