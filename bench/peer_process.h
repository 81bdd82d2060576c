#pragma once

#include <cstdio>
#include <string>
#include <sys/types.h>
#include <vector>

namespace fathom::bench {

// A program that answers each line of its standard input with a line: a peer that is measured in
// the same run. Ends with the object.
class PeerProcess {
 public:
  explicit PeerProcess(const std::vector<std::string>& command);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  // The next line of its output, without the newline; stops the benchmark when there is none.
  std::string read_line();
  std::string ask(const std::string& line);

 private:
  pid_t child_ = -1;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

}  // namespace fathom::bench
