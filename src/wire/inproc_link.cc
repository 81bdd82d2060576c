#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iterator>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "wire/engine_link.h"

namespace fathom::wire {

namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T> from) {
  if (to.empty()) {
    to = std::move(from);
  } else {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  }
}

// Puts `later` behind what `output` says already; counts are the latest.
void merge(TokenOutput& output, TokenOutput later) {
  append(output.tokens, std::move(later.tokens));
  append(output.prompt_logprobs, std::move(later.prompt_logprobs));
  append(output.logprobs, std::move(later.logprobs));
  output.finish = later.finish;
  output.stop_token = later.stop_token;
  output.error = std::move(later.error);
  output.prompt_tokens = later.prompt_tokens;
  output.generated_tokens = later.generated_tokens;
  output.cached_tokens = later.cached_tokens;
  output.retractions = later.retractions;
  output.times = later.times;
  output.drafts = later.drafts;
}

}  // namespace

struct InprocLink::State final : EngineClient, EnginePort, std::enable_shared_from_this<State> {
  // A request that submit() took and whose last output has not been taken.
  struct Request {
    bool aborted = false;
    bool finished = false;           // its last output is on the way back
    std::size_t output = kNoOutput;  // index in way_back
  };
  static constexpr std::size_t kNoOutput = static_cast<std::size_t>(-1);

  State(std::size_t most, std::function<void()> wake)
      : max_unfinished(most), on_output(std::move(wake)) {
    FATHOM_CHECK(max_unfinished > 0);
  }

  Status submit(GenerateRequest request) override;
  void abort(const AbortRequest& request) override;
  void flush_cache() override;
  std::vector<TokenOutput> take_outputs() override;
  EngineLoad load() const override;

  std::vector<ToEngine> receive(bool wait, std::int64_t deadline_ns) override;
  bool closed() const override;
  void publish(std::vector<TokenOutput> outputs) override;
  void publish_load(const EngineLoad& load) override;
  std::function<void()> waker() override;
  void end(const Status& why) override;

  void close();
  // Requires the mutex.
  void put(Request& request, TokenOutput output);

  const std::size_t max_unfinished;
  const std::function<void()> on_output;

  mutable std::mutex mutex;  // guards everything below
  std::condition_variable to_engine_or_closed;
  std::vector<ToEngine> to_engine;
  std::vector<TokenOutput> way_back;
  std::unordered_map<RequestId, Request> requests;
  EngineLoad latest_load;
  bool is_closed = false;
  bool woken = false;  // since the last receive()
  Status ended;        // not ok: the engine is gone
};

Status InprocLink::State::submit(GenerateRequest request) {
  {
    const std::lock_guard lock(mutex);
    if (!ended.ok()) return {Code::kUnavailable, "the engine has ended: " + ended.message()};
    if (is_closed) return {Code::kUnavailable, "the engine is shutting down"};
    if (requests.size() >= max_unfinished) {
      return {Code::kResourceExhausted, "the engine has " + std::to_string(requests.size()) +
                                            " requests, all that it may have at once; try again "
                                            "when some have finished"};
    }
    const bool added = requests.try_emplace(request.id).second;
    FATHOM_CHECK_MSG(added, "request id " + std::to_string(request.id) + " is in use");
    to_engine.emplace_back(std::move(request));
  }
  to_engine_or_closed.notify_one();
  return {};
}

void InprocLink::State::abort(const AbortRequest& request) {
  {
    const std::lock_guard lock(mutex);
    const auto found = requests.find(request.id);
    if (found == requests.end() || found->second.finished || found->second.aborted) return;
    found->second.aborted = true;
    to_engine.emplace_back(request);
  }
  to_engine_or_closed.notify_one();
}

void InprocLink::State::flush_cache() {
  {
    const std::lock_guard lock(mutex);
    if (!ended.ok()) return;
    if (!to_engine.empty() && std::holds_alternative<FlushCache>(to_engine.back())) return;
    to_engine.emplace_back(FlushCache{});
  }
  to_engine_or_closed.notify_one();
}

std::vector<TokenOutput> InprocLink::State::take_outputs() {
  const std::lock_guard lock(mutex);
  for (const TokenOutput& output : way_back) {
    const auto request = requests.find(output.id);
    if (request->second.finished) {
      requests.erase(request);
    } else {
      request->second.output = kNoOutput;
    }
  }
  return std::exchange(way_back, {});
}

EngineLoad InprocLink::State::load() const {
  const std::lock_guard lock(mutex);
  return latest_load;
}

std::vector<ToEngine> InprocLink::State::receive(bool wait, std::int64_t deadline_ns) {
  std::unique_lock lock(mutex);
  const auto something = [this] { return is_closed || woken || !to_engine.empty(); };
  if (wait && deadline_ns == 0) {
    to_engine_or_closed.wait(lock, something);
  } else if (wait) {
    const std::chrono::steady_clock::time_point deadline{std::chrono::nanoseconds(deadline_ns)};
    to_engine_or_closed.wait_until(lock, deadline, something);
  }
  woken = false;
  return std::exchange(to_engine, {});
}

std::function<void()> InprocLink::State::waker() {
  return [state = shared_from_this()] {
    {
      const std::lock_guard lock(state->mutex);
      state->woken = true;
    }
    state->to_engine_or_closed.notify_one();
  };
}

bool InprocLink::State::closed() const {
  const std::lock_guard lock(mutex);
  return is_closed;
}

void InprocLink::State::put(Request& request, TokenOutput output) {
  request.finished = output.finish != Finish::kNone;
  if (request.output != kNoOutput) {
    merge(way_back[request.output], std::move(output));
  } else {
    request.output = way_back.size();
    way_back.push_back(std::move(output));
  }
}

void InprocLink::State::publish(std::vector<TokenOutput> outputs) {
  if (outputs.empty()) return;
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex);
    FATHOM_CHECK(ended.ok());
    was_empty = way_back.empty();
    for (TokenOutput& output : outputs) {
      const auto request = requests.find(output.id);
      FATHOM_CHECK_MSG(request != requests.end() && !request->second.finished,
                       "an output of request " + std::to_string(output.id) +
                           ", which is unknown or has had its last output");
      put(request->second, std::move(output));
    }
  }
  if (was_empty) on_output();
}

void InprocLink::State::publish_load(const EngineLoad& load) {
  const std::lock_guard lock(mutex);
  latest_load = load;
}

void InprocLink::State::end(const Status& why) {
  FATHOM_CHECK(!why.ok());
  bool came_to_empty = false;
  {
    const std::lock_guard lock(mutex);
    FATHOM_CHECK(ended.ok());
    ended = why;
    to_engine.clear();
    std::vector<RequestId> unfinished;
    for (const auto& [id, request] : requests) {
      if (!request.finished) unfinished.push_back(id);
    }
    std::sort(unfinished.begin(), unfinished.end());
    came_to_empty = way_back.empty() && !unfinished.empty();
    for (const RequestId id : unfinished) {
      Request& request = requests.at(id);
      if (request.output != kNoOutput) {
        way_back[request.output].finish = Finish::kAbort;
        way_back[request.output].error = why;
        request.finished = true;
        continue;
      }
      TokenOutput last;
      last.id = id;
      last.finish = Finish::kAbort;
      last.error = why;
      put(request, std::move(last));
    }
  }
  if (came_to_empty) on_output();
}

void InprocLink::State::close() {
  {
    const std::lock_guard lock(mutex);
    is_closed = true;
  }
  to_engine_or_closed.notify_all();
}

InprocLink::InprocLink(std::size_t max_unfinished, std::function<void()> on_output)
    : state_(std::make_shared<State>(max_unfinished, std::move(on_output))) {}

InprocLink::~InprocLink() = default;

EngineClient& InprocLink::client() { return *state_; }

EnginePort& InprocLink::port() { return *state_; }

void InprocLink::close() { state_->close(); }

}  // namespace fathom::wire
