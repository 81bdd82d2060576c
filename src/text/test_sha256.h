#pragma once

#include <string>
#include <string_view>

namespace fathom::text {

// SHA-256 (FIPS 180-4) of `bytes`, as 64 hexadecimal digits. For comparing test results.
std::string sha256_hex(std::string_view bytes);

}  // namespace fathom::text
