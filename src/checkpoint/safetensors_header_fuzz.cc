#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "checkpoint/safetensors_header.h"
#include "tensor/dtype.h"

// The bytes of a whole file. Whatever is accepted must be safe to read as it says.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto header = fathom::checkpoint::parse_safetensors_header(file);
  if (!header.ok()) return 0;
  std::int64_t at = header->data_begin;
  for (const auto& tensor : header->tensors) {
    FATHOM_CHECK(tensor.begin == at && tensor.end >= at);
    auto bytes = static_cast<std::int64_t>(fathom::size_of(tensor.dtype));
    for (const std::int64_t dimension : tensor.shape) bytes *= dimension;
    FATHOM_CHECK(bytes == tensor.end - tensor.begin);
    at = tensor.end;
  }
  FATHOM_CHECK(at == static_cast<std::int64_t>(size));
  return 0;
}
