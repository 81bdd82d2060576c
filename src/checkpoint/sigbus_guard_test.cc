#include "checkpoint/sigbus_guard.h"

#include <csignal>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/mapped_file.h"

namespace fathom::checkpoint {
namespace {

const std::int64_t kPage = ::sysconf(_SC_PAGESIZE);

std::string bytes(std::int64_t count) { return std::string(static_cast<std::size_t>(count), 'x'); }

// Reads without letting the compiler drop or merge it.
int read_at(const MappedFile& file, std::int64_t offset) {
  return *(reinterpret_cast<const volatile unsigned char*>(file.bytes().data()) + offset);
}

TEST(MappedFile, RefusesWhatCannotBeMapped) {
  const TestFolder folder;
  folder.write_text("empty", "");

  EXPECT_EQ(MappedFile::open(folder.path() / "empty").status().message(), "the file is empty");
  EXPECT_EQ(MappedFile::open(folder.path() / "absent").status().message(), "there is no such file");
  EXPECT_EQ(MappedFile::open(folder.path()).status().message(),
            "this is a folder, expected a file");
}

TEST(MappedFile, ReadsZerosPastTheNewEndOfAFileThatShrank) {
  const TestFolder folder;
  folder.write_text("file", bytes(8 * kPage));
  const auto file = MappedFile::open(folder.path() / "file").value();
  EXPECT_EQ(read_at(*file, 5 * kPage), 'x');
  EXPECT_FALSE(file->first_damage().has_value());

  std::filesystem::resize_file(folder.path() / "file", static_cast<std::uintmax_t>(2 * kPage));

  EXPECT_EQ(file->first_damage(), 2 * kPage);  // known before anything is read
  EXPECT_EQ(read_at(*file, 5 * kPage + 7), 0);
  EXPECT_EQ(read_at(*file, 7 * kPage), 0);
  EXPECT_EQ(read_at(*file, 3 * kPage), 0);
  EXPECT_EQ(read_at(*file, 2 * kPage - 1), 'x');
  EXPECT_EQ(file->first_damage(), 2 * kPage);
}

TEST(MappedFile, NoticesALossInsideTheLastPage) {
  const TestFolder folder;
  folder.write_text("file", bytes(100));
  const auto file = MappedFile::open(folder.path() / "file").value();

  std::filesystem::resize_file(folder.path() / "file", 60);

  EXPECT_EQ(read_at(*file, 99), 0);
  EXPECT_EQ(file->first_damage(), 60);
}

TEST(MappedFile, KeepsDamageOfOneFileFromAnother) {
  const TestFolder folder;
  folder.write_text("short", bytes(4 * kPage));
  folder.write_text("whole", bytes(4 * kPage));
  const auto cut = MappedFile::open(folder.path() / "short").value();
  const auto whole = MappedFile::open(folder.path() / "whole").value();

  std::filesystem::resize_file(folder.path() / "short", 0);

  EXPECT_EQ(read_at(*cut, 3 * kPage), 0);
  EXPECT_EQ(read_at(*whole, 3 * kPage), 'x');
  EXPECT_TRUE(cut->first_damage().has_value());
  EXPECT_FALSE(whole->first_damage().has_value());
}

TEST(MappedFile, ForgetsDamageWithTheMapping) {
  const TestFolder folder;
  folder.write_text("file", bytes(4 * kPage));
  {
    const auto file = MappedFile::open(folder.path() / "file").value();
    std::filesystem::resize_file(folder.path() / "file", 1);
    EXPECT_EQ(read_at(*file, 3 * kPage), 0);
  }
  folder.write_text("file", bytes(4 * kPage));

  const auto again = MappedFile::open(folder.path() / "file").value();

  EXPECT_EQ(read_at(*again, 3 * kPage), 'x');
  EXPECT_FALSE(again->first_damage().has_value());
}

TEST(MappedFile, SurvivesThreadsThatReadWhileOthersOpenAndClose) {
  const TestFolder folder;
  folder.write_text("short", bytes(64 * kPage));
  folder.write_text("whole", bytes(4 * kPage));
  const auto cut = MappedFile::open(folder.path() / "short").value();
  std::filesystem::resize_file(folder.path() / "short", 0);

  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 64; ++i) {
        EXPECT_EQ(read_at(*cut, ((i * 7 + t * 16) % 64) * kPage), 0);
        const auto other = MappedFile::open(folder.path() / "whole").value();
        EXPECT_EQ(read_at(*other, 3 * kPage), 'x');
        EXPECT_FALSE(other->first_damage().has_value());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_TRUE(cut->first_damage().has_value());
}

// The handler that was there before ours; each test program has one process per death test.
void exit_with_seven(int) { ::_exit(7); }

// A page whose file is gone, with no guard over it.
void read_an_unguarded_page(const TestFolder& folder) {
  folder.write_text("bare", bytes(kPage));
  const int descriptor = ::fileno(std::fopen(folder.file("bare").c_str(), "rb"));
  void* page =
      ::mmap(nullptr, static_cast<std::size_t>(kPage), PROT_READ, MAP_PRIVATE, descriptor, 0);
  std::filesystem::resize_file(folder.path() / "bare", 0);
  [[maybe_unused]] const int value = *static_cast<const volatile unsigned char*>(page);
}

TEST(SigbusGuardDeathTest, LeavesOtherFaultsToTheDefault) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TestFolder folder;
  EXPECT_EXIT(
      {
        std::signal(SIGBUS, SIG_DFL);
        folder.write_text("guarded", bytes(kPage));
        const auto guarded = MappedFile::open(folder.path() / "guarded").value();
        read_an_unguarded_page(folder);
      },
      testing::KilledBySignal(SIGBUS), "");
}

TEST(SigbusGuardDeathTest, LeavesOtherFaultsToTheHandlerBefore) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TestFolder folder;
  EXPECT_EXIT(
      {
        std::signal(SIGBUS, exit_with_seven);
        folder.write_text("guarded", bytes(kPage));
        const auto guarded = MappedFile::open(folder.path() / "guarded").value();
        read_an_unguarded_page(folder);
      },
      testing::ExitedWithCode(7), "");
}

TEST(SigbusGuardDeathTest, LeavesASignalThatWasSentToTheDefault) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TestFolder folder;
  EXPECT_EXIT(
      {
        std::signal(SIGBUS, SIG_DFL);
        folder.write_text("guarded", bytes(kPage));
        const auto guarded = MappedFile::open(folder.path() / "guarded").value();
        std::raise(SIGBUS);
      },
      testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace fathom::checkpoint
