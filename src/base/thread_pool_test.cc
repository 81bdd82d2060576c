#include "base/thread_pool.h"

#include <atomic>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"

namespace fathom {
namespace {

TEST(ThreadPool, EveryIterationRunsExactlyOnce) {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (const std::size_t count : {0U, 1U, 2U, 7U, 64U, 1000U}) {
      for (const std::size_t grain : {1U, 3U, 64U, 5000U}) {
        std::vector<int> runs(count, 0);

        pool.parallel_for(count, grain, [&](std::size_t begin, std::size_t end, int) {
          for (std::size_t i = begin; i < end; ++i) ++runs[i];
        });

        EXPECT_EQ(runs, std::vector<int>(count, 1)) << threads << " " << count << " " << grain;
      }
    }
  }
}

TEST(ThreadPool, NoTwoBodiesShareAWorkerAtATime) {
  ThreadPool pool(3);
  std::vector<std::atomic<int>> inside(3);
  std::atomic<bool> shared{false};

  for (int repeat = 0; repeat < 200; ++repeat) {
    pool.parallel_for(50, 1, [&](std::size_t, std::size_t, int worker) {
      auto& mine = inside[static_cast<std::size_t>(worker)];
      if (mine.fetch_add(1) != 0) shared = true;
      mine.fetch_sub(1);
    });
  }

  EXPECT_FALSE(shared);
}

void linger() {
  const std::int64_t begin = now_ns();
  while (now_ns() - begin < 30'000) {
  }
}

// Threads that come too late for a loop may be in time for the next one.
TEST(ThreadPool, ShortLoopsFollowEachOtherWithoutTakingEachOthersWork) {
  for (const int threads : {2, 5}) {
    ThreadPool pool(threads);
    std::vector<std::size_t> runs(7, 0);
    std::vector<std::size_t> expected(7, 0);

    for (std::size_t repeat = 0; repeat < 3000; ++repeat) {
      const std::size_t count = repeat % 8;
      pool.parallel_for(count, 1, [&](std::size_t begin, std::size_t end, int) {
        if (repeat % 16 < 2) linger();  // now and then others come in time
        for (std::size_t i = begin; i < end; ++i) runs[i] += repeat;
      });
      for (std::size_t i = 0; i < count; ++i) expected[i] += repeat;
    }

    EXPECT_EQ(runs, expected);
  }
}

TEST(ThreadPool, CountsTheCaller) {
  EXPECT_EQ(ThreadPool(1).threads(), 1);
  EXPECT_EQ(ThreadPool(3).threads(), 3);
  EXPECT_GE(available_processors(), 1);
}

}  // namespace
}  // namespace fathom
