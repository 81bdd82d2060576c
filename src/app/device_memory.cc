#include "app/device_memory.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "config/kv_layout.h"

namespace fathom::app {

namespace {

constexpr double kGib = 1 << 30;
constexpr std::int32_t kMaxRunning = 2048;
// Positions of a pool are counted in 32 bits.
constexpr std::int64_t kMaxPages = (std::int64_t{1} << 31) / config::kPageTokens - 1;
// Beside weights, caches and workspace: step buffers, graphs, code.
constexpr std::int64_t kLeastReserve = std::int64_t{256} << 20;

}  // namespace

double gigabytes(std::int64_t bytes) { return static_cast<double>(bytes) / kGib; }

std::string memory_table(const DeviceMemoryPlan& plan) {
  const std::pair<const char*, std::int64_t> parts[] = {
      {"in use before the start", plan.taken_before},
      {"weights", plan.weights},
      {"caches", plan.caches},
      {"workspace", plan.workspace},
      {"step buffers", plan.step_buffers},
      {"graphs", plan.graphs},
      {"reserve", plan.reserve()},
      {"the device", plan.total}};
  std::string table;
  for (const auto& [name, bytes] : parts) {
    table += fmt::format("  {:<24}{:>10.3f} GiB  {:>5.1f} %\n", name, gigabytes(bytes),
                         100 * static_cast<double>(bytes) /
                             static_cast<double>(std::max<std::int64_t>(plan.total, 1)));
  }
  return table;
}

Result<std::int32_t> pages_of_pool(const PoolSize& size) {
  const auto share =
      static_cast<std::int64_t>(size.memory_fraction * static_cast<double>(size.free_at_start));
  const std::int64_t page_bytes = size.bytes_per_token * config::kPageTokens;
  const std::int64_t fit = (share - size.weights) / page_bytes;
  const std::int64_t wanted =
      size.max_tokens > 0 ? size.max_tokens / config::kPageTokens : kMaxPages;
  if (size.max_tokens > 0 && wanted == 0) {
    return invalid_argument(fmt::format("--max-total-tokens {}: expected at least one page of {}",
                                        size.max_tokens, config::kPageTokens));
  }
  if (share < size.weights + page_bytes) {
    return Status(
        Code::kResourceExhausted,
        fmt::format("--mem-fraction-static {:g} of the {:.2f} GiB that are free is {:.2f} GiB; the "
                    "weights take {:.2f} GiB of it, and a page of the cache {:.6f} GiB: raise "
                    "--mem-fraction-static, or use a device with more memory",
                    size.memory_fraction, gigabytes(size.free_at_start), gigabytes(share),
                    gigabytes(size.weights), gigabytes(page_bytes)));
  }
  return static_cast<std::int32_t>(std::min({fit, wanted, kMaxPages}));
}

std::int32_t default_max_running(std::int32_t pages) { return std::min(pages, kMaxRunning); }

Status check_fit(std::int64_t wanted, std::int64_t workspace, std::int64_t free_now) {
  if (wanted + kLeastReserve <= free_now) return {};
  return {Code::kResourceExhausted,
          fmt::format("the workspace of a step takes {:.2f} GiB, which leaves {:.2f} GiB; the "
                      "caches want {:.2f} GiB and {:.2f} GiB are kept for the rest: lower "
                      "--mem-fraction-static, --chunked-prefill-size or --max-running-requests",
                      gigabytes(workspace), gigabytes(free_now), gigabytes(wanted),
                      gigabytes(kLeastReserve))};
}

}  // namespace fathom::app
