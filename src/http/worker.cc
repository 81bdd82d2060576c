#include "http/worker.h"

#include <algorithm>
#include <csignal>
#include <pthread.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "http/connection.h"
#include "http/response_head.h"

namespace fathom::http {

namespace asio = boost::asio;

namespace {

// How often deadlines are looked at: one look for all connections costs far less than a timer each.
std::chrono::milliseconds sweep_period(const ServerOptions& options) {
  const std::chrono::milliseconds shortest =
      std::min({options.header_timeout, options.body_timeout, options.idle_timeout,
                options.write_timeout, options.half_close_probe, options.drain_patience});
  return std::clamp(shortest / 4, std::chrono::milliseconds(5), std::chrono::milliseconds(500));
}

// Signals are for the program's own threads.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace

struct Worker::Loop {
  asio::io_context context{1};  // one thread runs it
  asio::executor_work_guard<asio::io_context::executor_type> guard{context.get_executor()};
  asio::steady_timer sweep_timer{context};
  std::unordered_set<std::shared_ptr<asio::steady_timer>> timers;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  std::string date;
  std::int64_t date_s = -1;
  bool stopping = false;
  std::thread thread;
};

Worker::Worker(ServerState& state) : state_(state), loop_(std::make_unique<Loop>()) {}

Worker::~Worker() = default;

asio::io_context& Worker::context() { return loop_->context; }

bool Worker::on_own_thread() const { return loop_->thread.get_id() == std::this_thread::get_id(); }

void Worker::start() {
  arm_sweep();
  loop_->thread = std::thread([this] { run(); });
}

void Worker::run() {
  block_signals();
  pthread_setname_np(pthread_self(), "http");
  loop_->context.run();
}

void Worker::arm_sweep() {
  loop_->sweep_timer.expires_after(sweep_period(state_.options));
  loop_->sweep_timer.async_wait([this](const boost::system::error_code& error) {
    if (!error) sweep();
  });
}

void Worker::sweep() {
  const std::int64_t now = now_ns();
  for (const auto& [key, connection] : loop_->connections) connection->check(now);
  if (!loop_->stopping) arm_sweep();
}

void Worker::post(std::function<void()> work) {
  asio::post(loop_->context, [this, work = std::move(work)] {
    if (!loop_->stopping) work();  // work that posts itself again ends here
  });
}

void Worker::post_after(std::chrono::milliseconds delay, std::function<void()> work) {
  // The delay counts from now, not from when the worker gets to it.
  const auto when = std::chrono::steady_clock::now() + delay;
  post([this, when, work = std::move(work)]() mutable {
    auto timer = std::make_shared<asio::steady_timer>(loop_->context, when);
    loop_->timers.insert(timer);
    timer->async_wait(
        [this, timer, work = std::move(work)](const boost::system::error_code& error) {
          loop_->timers.erase(timer);
          if (!error) work();
        });
  });
}

void Worker::close_idle() {
  post([this] {
    for (const auto& [key, connection] : loop_->connections) connection->close_if_idle();
  });
}

void Worker::stop() {
  asio::post(loop_->context, [this] {
    loop_->stopping = true;
    for (const auto& [key, connection] : loop_->connections) connection->close();
    for (const auto& timer : loop_->timers) timer->cancel();
    loop_->sweep_timer.cancel();
    loop_->guard.reset();
  });
}

void Worker::join() {
  if (loop_->thread.joinable()) loop_->thread.join();
}

void Worker::serve(int socket, std::string peer) {
  if (loop_->stopping || state_.draining) {
    ::close(socket);
    return;
  }
  std::shared_ptr<Connection> connection = open_connection(*this, socket, std::move(peer));
  if (connection == nullptr) return;
  loop_->connections.emplace(connection.get(), connection);
  connection->start();
}

void Worker::remove(Connection* connection) { loop_->connections.erase(connection); }

std::string_view Worker::date() {
  const auto now_s = static_cast<std::int64_t>(unix_time_s());
  if (now_s != loop_->date_s) {
    loop_->date_s = now_s;
    loop_->date = http_date(now_s);
  }
  return loop_->date;
}

}  // namespace fathom::http
