#include "app/end_signals.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <sys/signalfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <poll.h>

namespace fathom::app {

namespace {

Status refused(const char* what) {
  return {Code::kUnavailable, std::string(what) + ": " + std::generic_category().message(errno)};
}

}  // namespace

Result<EndSignals> EndSignals::create() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return refused("blocking SIGTERM");
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(cert-err33-c): cannot fail for SIGPIPE
  const int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) return refused("waiting for SIGTERM");
  return EndSignals(fd);
}

EndSignals::EndSignals(EndSignals&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

EndSignals::~EndSignals() {
  if (fd_ >= 0) close(fd_);
}

bool EndSignals::wait(int other_fd, int timeout_ms) {
  std::array<pollfd, 2> wanted{pollfd{fd_, POLLIN, 0}, pollfd{other_fd, POLLIN, 0}};
  if (poll(wanted.data(), wanted.size(), timeout_ms) <= 0) return false;
  signalfd_siginfo taken;
  return read(fd_, &taken, sizeof taken) == sizeof taken;
}

}  // namespace fathom::app
