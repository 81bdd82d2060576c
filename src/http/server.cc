#include "http/server.h"

#include <atomic>
#include <mutex>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "http/listener.h"
#include "http/server_state.h"
#include "http/worker.h"

namespace fathom::http {

namespace {

std::string default_error_body(int status, std::string_view message) {
  std::string body = R"({"error":{"message":)";
  append_json_string(body, message);
  body += R"(,"type":)";
  append_json_string(body, reason_phrase(status));
  return body + R"(,"code":)" + std::to_string(status) + "}}";
}

class WorkerServer final : public Server {
 public:
  WorkerServer(const ServerOptions& options, Handler handler) {
    state_.options = options;
    state_.tls = options.tls;
    state_.budget = std::make_shared<PendingBudget>(options.max_total_pending_bytes);
    state_.handler = std::move(handler);
    state_.error_body = default_error_body;
    for (int i = 0; i < options.threads; ++i) {
      workers_.push_back(std::make_unique<Worker>(state_));
    }
  }
  WorkerServer(const WorkerServer&) = delete;
  WorkerServer& operator=(const WorkerServer&) = delete;
  ~WorkerServer() override { WorkerServer::stop(); }

  Status bind() {
    Result<std::unique_ptr<Listener>> listener =
        Listener::create(*workers_[0], state_.options.host, state_.options.port);
    FATHOM_RETURN_IF_ERROR(listener.status());
    listener_ = std::move(*listener);
    address_ = listener_->address();
    port_ = listener_->port();
    return {};
  }

  void set_error_body(ErrorBody make) override {
    FATHOM_CHECK(!started_);
    state_.error_body = std::move(make);
  }

  void start() override;
  std::uint16_t port() const override { return port_; }
  std::string address() const override { return address_; }
  ServerStats stats() const override;
  void post(std::function<void()> work) override { workers_[0]->post(std::move(work)); }
  void post_after(std::chrono::milliseconds delay, std::function<void()> work) override {
    workers_[0]->post_after(delay, std::move(work));
  }
  void renew_tls(std::shared_ptr<const TlsContext> tls) override;
  bool drain(std::chrono::milliseconds grace) override;
  void stop() override;

 private:
  void accepted(int socket, std::string peer);
  void check_not_on_own_thread() const;

  ServerState state_;
  std::vector<std::unique_ptr<Worker>> workers_;  // the first one accepts
  std::unique_ptr<Listener> listener_;
  std::string address_;
  std::uint16_t port_ = 0;
  std::size_t next_worker_ = 0;  // on the first worker's thread
  std::mutex stop_mutex_;
  std::atomic<bool> started_ = false;
  bool stopped_ = false;  // under stop_mutex_
};

void WorkerServer::start() {
  const std::lock_guard lock(stop_mutex_);
  FATHOM_CHECK_MSG(!started_, "start() is called once");
  if (stopped_) return;
  started_ = true;
  for (const auto& worker : workers_) worker->start();
  workers_[0]->post([this] {
    listener_->start([this](int socket, std::string peer) { accepted(socket, std::move(peer)); });
  });
}

void WorkerServer::accepted(int socket, std::string peer) {
  Worker& worker = *workers_[next_worker_++ % workers_.size()];
  if (&worker == workers_[0].get()) {
    worker.serve(socket, std::move(peer));
    return;
  }
  // Closed here if the worker never gets to it.
  const std::shared_ptr<int> owner(new int(socket), [](int* handle) {
    if (*handle >= 0) ::close(*handle);
    delete handle;
  });
  worker.post(
      [&worker, owner, peer = std::move(peer)] { worker.serve(std::exchange(*owner, -1), peer); });
}

ServerStats WorkerServer::stats() const {
  return {state_.connections, state_.accepted, state_.requests, state_.unanswered,
          state_.budget->bytes()};
}

void WorkerServer::renew_tls(std::shared_ptr<const TlsContext> tls) {
  FATHOM_CHECK(tls != nullptr && state_.options.tls != nullptr);
  const std::lock_guard lock(state_.mutex);
  state_.tls.swap(tls);
}

void WorkerServer::check_not_on_own_thread() const {
  for (const auto& worker : workers_) {
    FATHOM_CHECK_MSG(!worker->on_own_thread(), "a server's thread cannot wait for its own end");
  }
}

bool WorkerServer::drain(std::chrono::milliseconds grace) {
  check_not_on_own_thread();
  state_.draining = true;
  {
    const std::lock_guard lock(stop_mutex_);
    if (started_ && !stopped_) {
      workers_[0]->post([this] { listener_->close(); });
      for (const auto& worker : workers_) worker->close_idle();
    }
  }
  std::unique_lock lock(state_.mutex);
  return state_.none_busy.wait_for(lock, grace, [this] { return state_.busy == 0; });
}

void WorkerServer::stop() {
  check_not_on_own_thread();
  const std::lock_guard lock(stop_mutex_);
  if (std::exchange(stopped_, true) || !started_) return;
  workers_[0]->post([this] { listener_->close(); });
  for (const auto& worker : workers_) worker->stop();
  for (const auto& worker : workers_) worker->join();
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(const ServerOptions& options, Handler handler) {
  if (options.threads < 1) {
    return invalid_argument("threads is " + std::to_string(options.threads) +
                            ", expected at least 1");
  }
  auto server = std::make_unique<WorkerServer>(options, std::move(handler));
  FATHOM_RETURN_IF_ERROR(server->bind());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace fathom::http
