#pragma once

#include <string>
#include <vector>

namespace fathom::system_test {

struct ProcessResult {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

// Runs `program` to its end, without standard input. After `timeout_s` it is killed (exit code
// 137). Failing to start it ends the test program.
ProcessResult run_process(const std::string& program,
                          const std::vector<std::string>& args,
                          int timeout_s = 120);

}  // namespace fathom::system_test
