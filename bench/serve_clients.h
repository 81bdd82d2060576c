#pragma once

#include <cstdint>

#include "bench/serve_case.h"

namespace fathom::bench {

struct ClientTask {
  const StreamForm* form = nullptr;
  const Script* script = nullptr;
  int streams = 0;
  int signals = -1;  // socket to the server's process
  Shared* shared = nullptr;
};

// The clients' process: first reads the server's port (two bytes) from task.signals, then runs a
// round for each signal until the socket is closed. All streams are read by one thread.
void run_clients(const ClientTask& task);

}  // namespace fathom::bench
