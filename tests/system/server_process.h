#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

#include "http/client.h"

namespace fathom::system_test {

// A running `fathom launch_server`, killed with the object or with the test program if it still
// runs.
//
// Threads: one at a time.
class ServerProcess {
 public:
  // Starts it with `args` behind "launch_server --port 0"; returns at once.
  explicit ServerProcess(const std::string& program, const std::vector<std::string>& args = {});
  // Any other program, with all its words; what asks the server is not for it.
  explicit ServerProcess(std::vector<std::string> words);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Waits until a line of its log contains `text`; the line, or an empty one when the process ended
  // or the time passed without it. Every line is looked at once.
  std::string wait_for_line(const std::string& text,
                            std::chrono::milliseconds timeout = std::chrono::seconds(60));
  // Waits until it is ready. False, with the log in a test failure, when it is not.
  bool wait_until_ready();

  // Requires that it listens: waits for that when need be.
  std::uint16_t port();
  http::Client client();
  // Ask it over TLS from now on.
  void trust(const http::TlsTrust& trust) { trust_ = trust; }
  // One request with a JSON body, or a GET without one.
  http::Response ask(const std::string& path, const std::string& body = "");

  void signal(int number) const;
  // Waits for the end; 128 + signal when a signal ended it, -1 when it does not end in time.
  int wait_exit(std::chrono::milliseconds timeout = std::chrono::seconds(60));
  bool running();

  // Resident memory, now and the most it has been.
  std::int64_t resident_bytes() const { return memory_bytes("VmRSS:"); }
  std::int64_t peak_resident_bytes() const { return memory_bytes("VmHWM:"); }
  pid_t pid() const { return pid_; }
  std::string log();

 private:
  void read_log(int descriptor);
  std::int64_t memory_bytes(const std::string& name) const;

  pid_t pid_ = -1;
  int exit_code_ = -1;
  bool reaped_ = false;
  std::uint16_t port_ = 0;
  std::optional<http::TlsTrust> trust_;

  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<std::string> lines_;  // guarded by mutex_
  bool log_ended_ = false;          // guarded by mutex_
  std::size_t looked_at_ = 0;       // of lines_
  std::thread reader_;
};

}  // namespace fathom::system_test
