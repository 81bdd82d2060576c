#include "app/batch_sender.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/json.h"

namespace fathom::app {

namespace {

constexpr std::int64_t kDefaultConcurrency = 64;
constexpr std::int64_t kMaxConcurrency = 1024;
constexpr std::int64_t kFirstWaitMs = 250;
constexpr std::int64_t kLongestWaitMs = 10000;
constexpr std::int64_t kNsPerSecond = 1000000000;

http::Request request_to(const BatchServer& server, std::string method, std::string target) {
  http::Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  if (!server.api_key.empty()) request.headers.add("Authorization", "Bearer " + server.api_key);
  return request;
}

// What the server asks for, or a little more than the last time.
std::int64_t wait_before_retry(const http::Response* response, std::int64_t last_ms) {
  const std::string* const asked =
      response == nullptr ? nullptr : response->headers.find("Retry-After");
  std::int64_t seconds = 0;
  if (asked != nullptr &&
      std::from_chars(asked->data(), asked->data() + asked->size(), seconds).ec == std::errc() &&
      seconds > 0) {
    return std::min(seconds * 1000, kLongestWaitMs);
  }
  return std::clamp(last_ms * 2, kFirstWaitMs, kLongestWaitMs);
}

// Of all ranks together; 0 when it is not said.
std::int64_t running_at_once(const Json& server_info) {
  const Json* const states = server_info.find_set("internal_states");
  if (states == nullptr || !states->is_array()) return 0;
  std::int64_t sum = 0;
  for (const Json& state : *states->as_array()) {
    const Json* const most = state.find_set("effective_max_running_requests_per_dp");
    const std::int64_t value = most == nullptr ? 0 : most->as_int64().value_or(0);
    sum += std::clamp<std::int64_t>(value, 0, kMaxConcurrency);
  }
  return sum;
}

}  // namespace

Result<std::int64_t> batch_concurrency(const BatchServer& server) {
  http::Client client(server.url);
  const Result<http::Response> response = client.send(request_to(server, "GET", "/server_info"));
  FATHOM_RETURN_IF_ERROR(response.status());
  if (response->status == 401 || response->status == 403) {
    return invalid_argument("the server at " + server.url.authority() + " answers " +
                            std::to_string(response->status) + ": --api-key names its key");
  }
  const Result<Json> info = parse_json(response->body);
  const std::int64_t most = info.ok() ? running_at_once(*info) : 0;
  if (response->status != 200 || most < 1) return kDefaultConcurrency;
  return std::min(most + most / 4 + 1, kMaxConcurrency);
}

BatchSender::BatchSender(const BatchServer& server, BatchSignals& signals)
    : server_(server),
      signals_(signals),
      client_(server.url,
              {.read_timeout = std::chrono::seconds(server.timeout_s), .cancel = &signals.cancel}) {
}

bool BatchSender::wait(std::int64_t milliseconds) const {
  constexpr std::int64_t kStepMs = 50;  // how soon a cancelled run is noticed
  for (std::int64_t waited = 0; waited < milliseconds; waited += kStepMs) {
    if (signals_.cancel) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(kStepMs, milliseconds)));
  }
  return !signals_.cancel;
}

Result<http::Response> BatchSender::send(const api::BatchLine& line) {
  http::Request request = request_to(server_, "POST", line.url);
  request.headers.add("Content-Type", "application/json");
  request.body = line.body;
  std::int64_t failures = 0;
  std::int64_t wait_ms = 0;
  std::int64_t failing_since_ns = 0;  // 0: not yet
  while (true) {
    Result<http::Response> response = client_.send(request);
    const Code code = response.status().code();
    if (code == Code::kCancelled || code == Code::kDeadlineExceeded) return response.status();
    const http::Response* const answer = response.ok() ? &*response : nullptr;
    if (answer != nullptr) {
      const int status = answer->status;
      const bool full = status == 429 || status == 503;
      const bool failed = status == 500 || status == 502 || status == 504;
      if (!full && (!failed || failures++ >= server_.retries)) {
        signals_.last_answer_ns = now_ns();
        return response;
      }
    }
    // An answer may take longer than give_up_s: the time of the first try does not count.
    if (failing_since_ns == 0) failing_since_ns = now_ns();
    const std::int64_t silent_since = std::max(failing_since_ns, signals_.last_answer_ns.load());
    if (now_ns() - silent_since > server_.give_up_s * kNsPerSecond) {
      const std::string why = answer == nullptr ? response.status().message()
                                                : "it answers " + std::to_string(answer->status);
      return Status(Code::kUnavailable, "the server at " + server_.url.authority() +
                                            " has answered nothing for " +
                                            std::to_string(server_.give_up_s) + " seconds: " + why);
    }
    wait_ms = wait_before_retry(answer, wait_ms);
    if (!wait(wait_ms)) return Status(Code::kCancelled, "the run was interrupted");
  }
}

}  // namespace fathom::app
