#include "base/work_queue.h"

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

// A piece of work that runs until it is let go.
struct Gate {
  std::promise<void> entered;
  std::promise<void> open;
  std::shared_future<void> opened = open.get_future().share();

  std::function<void()> work() {
    return [this] {
      entered.set_value();
      opened.wait();
    };
  }
};

TEST(WorkQueue, OneThreadRunsTheWorkInOrder) {
  std::vector<int> order;
  std::promise<void> done;
  WorkQueue queue(1, 100, 0);

  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(queue.post([&order, i] { order.push_back(i); }));
  }
  ASSERT_TRUE(queue.post([&done] { done.set_value(); }));
  done.get_future().wait();

  ASSERT_EQ(order.size(), 50U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(WorkQueue, RefusesWhatCannotWait) {
  Gate gate;
  WorkQueue queue(1, 2, 1000);
  ASSERT_TRUE(queue.post(gate.work()));
  gate.entered.get_future().wait();

  EXPECT_TRUE(queue.post([] {}));
  EXPECT_TRUE(queue.post([] {}));
  EXPECT_FALSE(queue.post([] {}));
  EXPECT_EQ(queue.waiting(), 2U);

  gate.open.set_value();
}

TEST(WorkQueue, WeightIsBoundedButOneHeavyPieceMayWaitAlone) {
  Gate gate;
  WorkQueue queue(1, 100, 10);
  ASSERT_TRUE(queue.post(gate.work()));
  gate.entered.get_future().wait();

  EXPECT_TRUE(queue.post([] {}, 11));
  EXPECT_FALSE(queue.post([] {}, 0)) << "11 of 10 wait already";

  std::promise<void> done;
  gate.open.set_value();
  while (!queue.post([&done] { done.set_value(); }, 10)) std::this_thread::yield();
  done.get_future().wait();
}

TEST(WorkQueue, StopWaitsForWhatRunsAndDropsTheRest) {
  Gate gate;
  auto kept = std::make_shared<int>(1);
  std::atomic<bool> ran = false;
  WorkQueue queue(1, 100, 0);
  ASSERT_TRUE(queue.post(gate.work()));
  ASSERT_TRUE(queue.post([kept, &ran] { ran = true; }));
  gate.entered.get_future().wait();

  std::thread stopper([&queue] { queue.stop(); });
  while (kept.use_count() > 1) std::this_thread::yield();
  gate.open.set_value();
  stopper.join();

  EXPECT_FALSE(ran);
  EXPECT_FALSE(queue.post([] {}));
}

TEST(WorkQueue, ManyPostersOnManyThreadsLoseNothing) {
  std::atomic<int> ran = 0;
  {
    WorkQueue queue(3, 64, 1000);
    std::vector<std::thread> posters;
    posters.reserve(4);
    for (int poster = 0; poster < 4; ++poster) {
      posters.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          while (!queue.post([&ran] { ++ran; }, 7)) std::this_thread::yield();
        }
      });
    }
    for (std::thread& poster : posters) poster.join();
    while (ran < 2000) std::this_thread::yield();
  }

  EXPECT_EQ(ran, 2000);
}

}  // namespace
}  // namespace fathom
