#pragma once

#include <memory>
#include <string>

#include "http/worker.h"

namespace fathom::http {

// Takes over an accepted socket, to be served by `worker`, on whose thread this must be called.
// start() it; when it has ended it tells worker.remove(). Nothing when the system refuses, or when
// the server is far beyond its bound of connections; the socket is closed then.
std::shared_ptr<Connection> open_connection(Worker& worker, int socket, std::string peer);

}  // namespace fathom::http
