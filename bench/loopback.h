#pragma once

#include <cstdint>

namespace fathom::bench {

// A blocking TCP connection to a server on this machine; the caller closes it. A bench that cannot
// connect ends there.
int connect_loopback(std::uint16_t port);

}  // namespace fathom::bench
