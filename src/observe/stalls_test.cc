#include "observe/stalls.h"

#include <condition_variable>
#include <csignal>
#include <ctime>
#include <functional>
#include <mutex>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

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

// A child lets the process go on after it has stopped itself.
void stand_still(double seconds) {
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child == 0) {
    const auto whole = static_cast<time_t>(seconds);
    timespec left{whole, static_cast<long>((seconds - static_cast<double>(whole)) * 1e9)};
    while (nanosleep(&left, &left) != 0) {
    }
    kill(self, SIGCONT);
    _exit(0);
  }
  ASSERT_GT(child, 0);
  raise(SIGSTOP);
  int status = 0;
  waitpid(child, &status, 0);
}

TEST(Stalls, AProcessThatStoodStillHasNoStalls) {
  bool gave_up = false;
  testing::internal::CaptureStderr();
  {
    Stalls stalls({.warning_s = 0.4, .watchdog_s = 0.4, .held_up_s = 0.1},
                  [&gave_up](const std::string&) { gave_up = true; });
    const Stalls::Phase phase(&stalls, "http", "/slow");
    stalls.engine_phase("step");
    stand_still(0.8);
    stalls.engine_phase(nullptr);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_FALSE(gave_up);
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
