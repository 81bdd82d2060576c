#include "bench/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/check.h"

namespace fathom::bench {

int connect_loopback(std::uint16_t port) {
  const int handle = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FATHOM_CHECK(handle >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  FATHOM_CHECK(::connect(handle, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return handle;
}

}  // namespace fathom::bench
