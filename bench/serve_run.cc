#include "bench/serve_run.h"

#include <array>
#include <chrono>
#include <csignal>
#include <new>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "bench/machine.h"
#include "bench/serve_clients.h"

namespace fathom::bench {

namespace {

double clock_s(clockid_t clock) {
  timespec time{};
  FATHOM_CHECK(::clock_gettime(clock, &time) == 0);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

Shared* map_shared() {
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  FATHOM_CHECK(memory != MAP_FAILED);
  return new (memory) Shared;
}

}  // namespace

ServeRun::ServeRun(const StreamForm& form,
                   const text::Tokenizer& tokenizer,
                   const Script& script,
                   int streams)
    : script_(script), streams_(streams), shared_(map_shared()) {
  FATHOM_CHECK(script.tokens.size() <= kMaxScriptTokens);
  start_clients(form);
  rig_ = std::make_unique<ServeRig>(form, tokenizer, script);
  const std::uint16_t port = rig_->port();
  FATHOM_CHECK(::send(signals_, &port, sizeof port, MSG_NOSIGNAL) == sizeof port);
}

ServeRun::~ServeRun() {
  ::close(signals_);
  ::waitpid(clients_, nullptr, 0);
  rig_.reset();
  ::munmap(shared_, sizeof(Shared));
}

void ServeRun::start_clients(const StreamForm& form) {
  std::array<int, 2> ends{-1, -1};
  FATHOM_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  clients_ = ::fork();
  FATHOM_CHECK(clients_ >= 0);
  if (clients_ == 0) {
    ::close(ends[0]);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    run_clients({&form, &script_, streams_, ends[1], shared_});
    ::_exit(0);
  }
  ::close(ends[1]);
  signals_ = ends[0];
  FATHOM_CHECK(::clock_getcpuclockid(clients_, &clients_clock_) == 0);
}

Figures ServeRun::measure_rate(double seconds) {
  play_by_steps();  // buffers grow to their sizes
  sums_ = {};
  while (sums_.times.wall < seconds) play_by_steps();
  return sums_;
}

Figures ServeRun::measure_paced(double seconds, double step_s) {
  play_by_steps();
  sums_ = {};
  while (sums_.times.wall < seconds) play_paced(step_s);
  sums_.latencies = shared_->latencies;
  return sums_;
}

Times ServeRun::now() const {
  const double publishing = clock_s(CLOCK_THREAD_CPUTIME_ID);
  return {now_s(), clock_s(CLOCK_PROCESS_CPUTIME_ID) - publishing, publishing,
          clock_s(clients_clock_)};
}

Signal ServeRun::next_signal() const {
  Signal signal{};
  FATHOM_CHECK_MSG(::recv(signals_, &signal, 1, 0) == 1, "the clients' process has ended");
  return signal;
}

void ServeRun::begin_round(Signal round) {
  FATHOM_CHECK(::send(signals_, &round, 1, MSG_NOSIGNAL) == 1);
  rig_->engine().receive(streams_);
}

void ServeRun::publish(std::size_t step) {
  shared_->published_ns[step] = now_ns();
  rig_->engine().publish(step);
}

void ServeRun::play_by_steps() {
  begin_round(Signal::kRoundBySteps);
  const Times begin = now();
  for (std::size_t step = 0; step < script_.tokens.size(); ++step) {
    if (step > 0) FATHOM_CHECK(next_signal() == Signal::kStepSeen);
    publish(step);
  }
  end_round(begin);
}

void ServeRun::play_paced(double step_s) {
  begin_round(Signal::kPacedRound);
  const Times begin = now();
  for (std::size_t step = 0; step < script_.tokens.size(); ++step) {
    const double due = begin.wall + static_cast<double>(step) * step_s;
    std::this_thread::sleep_for(std::chrono::duration<double>(due - now_s()));
    publish(step);
  }
  end_round(begin);
}

void ServeRun::end_round(const Times& begin) {
  while (next_signal() != Signal::kRoundEnd) {
  }
  const Times end = now();
  sums_.times.wall += end.wall - begin.wall;
  sums_.times.server += end.server - begin.server;
  sums_.times.publishing += end.publishing - begin.publishing;
  sums_.times.clients += end.clients - begin.clients;
  sums_.tokens += static_cast<std::int64_t>(script_.tokens.size()) * streams_;
  sums_.events += shared_->round.events;
  sums_.bytes += shared_->round.bytes;
}

}  // namespace fathom::bench
