#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/cpu_device.h"

namespace fathom::cpu {

// Below this many elements one thread is done before the others are awake (about 10 us).
inline constexpr std::int64_t kSerialElements = 32768;

// Runs body(begin, end, worker) over disjoint ranges that cover [0, rows). `row_cost` is the work
// of one row in elements, at roughly a nanosecond each.
template <class Body>
void parallel_rows(CpuStream& stream, std::int64_t rows, std::int64_t row_cost, Body&& body) {
  if (rows == 0) return;
  const std::int64_t cost = std::max<std::int64_t>(row_cost, 1);
  const std::int64_t grain =
      rows * cost < kSerialElements ? rows : std::max<std::int64_t>(kSerialElements / 4 / cost, 1);
  stream.pool().parallel_for(static_cast<std::size_t>(rows), static_cast<std::size_t>(grain),
                             [&](std::size_t begin, std::size_t end, int worker) {
                               body(static_cast<std::int64_t>(begin),
                                    static_cast<std::int64_t>(end), worker);
                             });
}

// Below this many multiplications one thread is done before the others are awake.
inline constexpr std::int64_t kSerialProducts = std::int64_t{1} << 17;

// Runs body(begin, end, worker) over disjoint ranges that cover [0, tasks), handed out one task at
// a time. `products` is the work of all tasks in multiplications.
template <class Body>
void parallel_tasks(CpuStream& stream, std::int64_t tasks, std::int64_t products, Body&& body) {
  if (products < kSerialProducts) return body(std::int64_t{0}, tasks, 0);
  stream.pool().parallel_for(
      static_cast<std::size_t>(tasks), 1, [&](std::size_t begin, std::size_t end, int worker) {
        body(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end), worker);
      });
}

}  // namespace fathom::cpu
