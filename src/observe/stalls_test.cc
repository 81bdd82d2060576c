#include "observe/stalls.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"

namespace fathom::observe {
namespace {

using testing::HasSubstr;

// What the object under test is about is time that passes: there is no event to wait for.
void pass_seconds(double seconds) {
  const std::int64_t end = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
  while (now_ns() < end) std::this_thread::yield();
}

std::string told(const StallOptions& options, const std::function<void(Stalls&)>& work) {
  testing::internal::CaptureStderr();
  {
    Stalls stalls(options);
    work(stalls);
  }
  return testing::internal::GetCapturedStderr();
}

TEST(Stalls, ALongPhaseIsToldByItsName) {
  const std::string log = told({.warning_s = 0.02}, [](Stalls& stalls) {
    const Stalls::Phase quick(&stalls, "http", "/quick");
    const Stalls::Phase slow(&stalls, "work", "/slow");
    pass_seconds(0.05);
  });
  EXPECT_THAT(log, HasSubstr("LONG STALL DETECTED | Thread: work | Phase: /slow | Duration: "));
}

TEST(Stalls, AShortOneIsNot) {
  const std::string log = told({.warning_s = 60}, [](Stalls& stalls) {
    const Stalls::Phase quick(&stalls, "http", "/quick");
    stalls.engine_phase("step");
    stalls.engine_phase(nullptr);
  });
  EXPECT_EQ(log, "");
}

TEST(Stalls, WithoutAThresholdNothingIsTold) {
  const std::string log = told({}, [](Stalls& stalls) {
    const Stalls::Phase quick(&stalls, "http", "/quick");
    const Stalls::Phase nobody(nullptr, "http", "/quick");
    stalls.engine_phase("step");
    pass_seconds(0.01);
  });
  EXPECT_EQ(log, "");
}

TEST(Stalls, TheWatchdogGivesUpOnAnEngineThatIsStuck) {
  testing::internal::CaptureStderr();
  std::mutex mutex;
  std::condition_variable came;
  std::string why;
  {
    Stalls stalls({.watchdog_s = 0.02, .soft_watchdog_s = 0.01}, [&](const std::string& what) {
      const std::lock_guard lock(mutex);
      why = what;
      came.notify_one();
    });
    stalls.engine_phase("wait for a step's results");
    std::unique_lock lock(mutex);
    came.wait(lock, [&] { return !why.empty(); });
  }
  EXPECT_THAT(why, HasSubstr("made no progress"));
  EXPECT_THAT(why, HasSubstr("\"wait for a step's results\""));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("Soft watchdog timeout: "));
  EXPECT_THAT(log, HasSubstr("Watchdog timeout: "));
}

TEST(Stalls, AnIdleEngineIsNotStuck) {
  bool gave_up = false;
  {
    Stalls stalls({.watchdog_s = 0.01}, [&gave_up](const std::string&) { gave_up = true; });
    stalls.engine_phase(nullptr);
    pass_seconds(0.05);
  }
  EXPECT_FALSE(gave_up);
}

}  // namespace
}  // namespace fathom::observe
