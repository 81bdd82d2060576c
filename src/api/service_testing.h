#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "api/service.h"
#include "text/test_tokenizer.h"

// What the tests of the endpoints stand on: an engine and a connection that do as they are told.
namespace fathom::api {

// Threads: any.
class FakeExchange final : public http::Exchange {
 public:
  void respond(http::Response response) override;
  void start(http::Response response) override;
  bool write(std::string piece) override;
  void on_sent(std::function<void()> sent) override;
  void finish() override;
  void on_gone(std::function<void()> gone) override;

  // Waits for the whole answer.
  const http::Response& wait();
  // Waits for the head of a stream or the whole answer.
  void wait_started();
  bool complete() const;
  http::Response response() const;  // so far
  int writes() const;               // pieces, the first one included
  void leave();                     // the peer closes its connection
  // From now on the peer takes what is written only when take() is called: waits until somebody
  // waits for that, and lets them go on.
  void be_slow();
  void take();

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  http::Response response_;
  bool started_ = false;
  bool complete_ = false;
  bool gone_ = false;
  int writes_ = 0;
  std::function<void()> on_gone_;
  bool slow_ = false;
  std::function<void()> on_sent_;
};

// Threads: any.
class FakeEngine final : public wire::EngineClient {
 public:
  Status submit(wire::GenerateRequest request) override;
  void abort(const wire::AbortRequest& request) override;
  void flush_cache() override;
  // Of the last abort.
  std::int32_t kept_answer_tokens() {
    const std::lock_guard lock(mutex_);
    return aborts_.back().answer_tokens;
  }
  int flushes() {
    const std::lock_guard lock(mutex_);
    return flushes_;
  }
  std::vector<wire::TokenOutput> take_outputs() override;
  wire::EngineLoad load() const override;

  // What submit() says from the `after`-th request from now on; OK again with {}.
  void refuse(Status status, int after = 0);
  void set_load(const wire::EngineLoad& load);
  void publish(wire::TokenOutput output);
  // Waits until so many were submitted since the start, and returns copies of them.
  std::vector<wire::GenerateRequest> wait_requests(std::size_t count);
  std::vector<wire::GenerateRequest> requests() const;
  // Those that came since the last call.
  std::vector<wire::GenerateRequest> take_requests();
  std::vector<wire::RequestId> aborts() const;
  // Waits until so many aborts came.
  std::vector<wire::RequestId> wait_aborts(std::size_t count);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<wire::GenerateRequest> requests_;
  std::vector<wire::RequestId> abort_ids() const {
    std::vector<wire::RequestId> ids;
    for (const wire::AbortRequest& abort : aborts_) ids.push_back(abort.id);
    return ids;
  }
  std::vector<wire::AbortRequest> aborts_;
  int flushes_ = 0;
  std::vector<wire::TokenOutput> outputs_;
  wire::EngineLoad load_;
  Status refusal_;
  int refuse_after_ = 0;
};

// A service over both. Its tokenizer has the 256 bytes as tokens and <eos>, special, as 256, and
// <think> and </think> as 257 and 258.
class ServiceRig {
 public:
  static ServiceOptions default_options();
  explicit ServiceRig(ServiceOptions options = default_options(), bool with_tokenizer = true);

  std::shared_ptr<FakeExchange> send(std::string_view method,
                                     std::string_view path,
                                     std::string_view body = "");
  std::shared_ptr<FakeExchange> send(http::Request request);
  std::shared_ptr<FakeExchange> post(std::string_view path, std::string_view body) {
    return send("POST", path, body);
  }
  // The whole answer of a request that needs no engine.
  http::Response ask(std::string_view method, std::string_view path, std::string_view body = "") {
    return send(method, path, body)->wait();
  }
  // Publishes one output and has it written.
  void publish(wire::TokenOutput output);
  // Waits until no call is unfinished: a thread may still be about to let go of one.
  void wait_idle() const;
  // The next output of a request: the bytes of `text` as tokens. The counts are right for `sent`
  // bytes before.
  static wire::TokenOutput piece(const wire::GenerateRequest& request,
                                 std::string_view text,
                                 std::size_t sent = 0);
  // … as its last one.
  static wire::TokenOutput last(wire::TokenOutput output, wire::Finish finish);

  FakeEngine engine;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<Service> service;
};

inline constexpr wire::TokenId kEos = 256;

// `text` with the digits after "created": and "e2e_latency": replaced by 0.
std::string without_times(std::string text);
// The data of a stream's events.
std::vector<std::string> events_of(const std::string& body);

}  // namespace fathom::api
