#include "bench/peer_process.h"

#include <array>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spawn.h>

#include "base/check.h"

namespace fathom::bench {

PeerProcess::PeerProcess(const std::vector<std::string>& command) {
  std::array<int, 2> to{};
  std::array<int, 2> from{};
  FATHOM_CHECK(::pipe2(to.data(), O_CLOEXEC) == 0 && ::pipe2(from.data(), O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  FATHOM_CHECK(posix_spawn_file_actions_init(&actions) == 0);
  FATHOM_CHECK(posix_spawn_file_actions_adddup2(&actions, to[0], 0) == 0);
  FATHOM_CHECK(posix_spawn_file_actions_adddup2(&actions, from[1], 1) == 0);
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int failure = posix_spawn(&child_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  FATHOM_CHECK_MSG(failure == 0, "cannot start " + command[0]);
  ::close(to[0]);
  ::close(from[1]);
  out_ = ::fdopen(to[1], "w");
  in_ = ::fdopen(from[0], "r");
  FATHOM_CHECK(out_ != nullptr && in_ != nullptr);
}

PeerProcess::~PeerProcess() {
  static_cast<void>(std::fclose(out_));  // it ends at the end of its input
  static_cast<void>(std::fclose(in_));
  ::waitpid(child_, nullptr, 0);
}

std::string PeerProcess::read_line() {
  std::string line;
  for (int c = std::fgetc(in_); c != '\n'; c = std::fgetc(in_)) {
    FATHOM_CHECK_MSG(c != EOF, "the peer ended");
    line += static_cast<char>(c);
  }
  return line;
}

std::string PeerProcess::ask(const std::string& line) {
  FATHOM_CHECK(std::fputs((line + "\n").c_str(), out_) >= 0 && std::fflush(out_) == 0);
  return read_line();
}

}  // namespace fathom::bench
