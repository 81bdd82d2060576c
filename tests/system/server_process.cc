#include "system/server_process.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <poll.h>

#include "base/check.h"

namespace fathom::system_test {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kListening = "Listening on http";
constexpr const char* kReady = "The server is fired up and ready to roll!";

// In the child, between fork and exec.
[[noreturn]] void become(const std::vector<char*>& argv, int log) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // whatever becomes of the test
  const int null = open("/dev/null", O_RDWR);
  dup2(null, STDIN_FILENO);
  dup2(null, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(argv.front(), argv.data());
  _exit(127);
}

std::vector<std::string> launch_words(const std::string& program,
                                      const std::vector<std::string>& args) {
  std::vector<std::string> words{program, "launch_server", "--port", "0"};
  words.insert(words.end(), args.begin(), args.end());
  return words;
}

}  // namespace

ServerProcess::ServerProcess(const std::string& program, const std::vector<std::string>& args)
    : ServerProcess(launch_words(program, args)) {}

ServerProcess::ServerProcess(std::vector<std::string> words) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::array<int, 2> ends{};
  FATHOM_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0);
  pid_ = fork();
  FATHOM_CHECK(pid_ >= 0);
  if (pid_ == 0) become(argv, ends[1]);
  close(ends[1]);
  reader_ = std::thread([this, end = ends[0]] { read_log(end); });
}

ServerProcess::~ServerProcess() {
  if (running()) {
    signal(SIGKILL);
    wait_exit();
  }
  reader_.join();
}

void ServerProcess::read_log(int descriptor) {
  std::array<char, 4096> buffer{};
  std::string line;
  while (true) {
    const ssize_t count = read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    const std::lock_guard lock(mutex_);
    for (ssize_t i = 0; i < count; ++i) {
      const char byte = buffer.at(static_cast<std::size_t>(i));
      if (byte != '\n') {
        line += byte;
      } else {
        lines_.push_back(std::exchange(line, {}));
      }
    }
    log_ended_ = count <= 0;
    came_.notify_all();
    if (log_ended_) break;
  }
  close(descriptor);
}

std::string ServerProcess::wait_for_line(const std::string& text,
                                         std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::unique_lock lock(mutex_);
  while (true) {
    while (looked_at_ < lines_.size()) {
      const std::string& line = lines_[looked_at_++];
      if (line.find(text) != std::string::npos) return line;
    }
    if (log_ended_) return "";
    if (came_.wait_until(lock, deadline) == std::cv_status::timeout) return "";
  }
}

std::uint16_t ServerProcess::port() {
  if (port_ != 0) return port_;
  const std::string line = wait_for_line(kListening);
  const std::size_t colon = line.rfind(':');
  if (colon == std::string::npos) {
    ADD_FAILURE() << "the server does not listen:\n" << log();
    return 0;
  }
  std::from_chars(line.data() + colon + 1, line.data() + line.size(), port_);
  return port_;
}

bool ServerProcess::wait_until_ready() {
  if (port() == 0) return false;
  if (!wait_for_line(kReady).empty()) return true;
  ADD_FAILURE() << "the server is not ready:\n" << log();
  return false;
}

http::Client ServerProcess::client() {
  http::ClientOptions options;
  if (trust_.has_value()) options.trust = *trust_;
  return http::Client({"127.0.0.1", port(), "", trust_.has_value()}, options);
}

http::Response ServerProcess::ask(const std::string& path, const std::string& body) {
  http::Request request;
  request.method = body.empty() ? "GET" : "POST";
  request.target = path;
  request.body = body;
  if (!body.empty()) request.headers.add("Content-Type", "application/json");
  Result<http::Response> response = client().send(request);
  if (response.ok()) return std::move(response).value();
  ADD_FAILURE() << path << ": " << response.status().message();
  return {};
}

void ServerProcess::signal(int number) const { kill(pid_, number); }

int ServerProcess::wait_exit(std::chrono::milliseconds timeout) {
  if (reaped_) return exit_code_;
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  FATHOM_CHECK(process >= 0);
  pollfd ended{process, POLLIN, 0};
  const int came = poll(&ended, 1, static_cast<int>(timeout.count()));
  close(process);
  if (came <= 0) return -1;
  int status = 0;
  FATHOM_CHECK(waitpid(pid_, &status, 0) == pid_);
  reaped_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

bool ServerProcess::running() { return wait_exit(std::chrono::milliseconds(0)) == -1 && !reaped_; }

std::int64_t ServerProcess::memory_bytes(const std::string& name) const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  std::string word;
  while (status >> word) {
    std::int64_t kilobytes = 0;
    if (word == name && status >> kilobytes) return kilobytes * 1024;
  }
  return -1;
}

std::string ServerProcess::log() {
  std::unique_lock lock(mutex_);
  // What it wrote last may still be in the pipe.
  if (reaped_) came_.wait_for(lock, std::chrono::seconds(10), [this] { return log_ended_; });
  std::string all;
  for (const std::string& line : lines_) all += line + "\n";
  return all;
}

}  // namespace fathom::system_test
