#include "config/machine_facts.h"

#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::config {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A machine's /proc and /sys, as files of the test.
class FakeRoot {
 public:
  FakeRoot()
      : folder_(std::filesystem::temp_directory_path() /
                ("fathom-machine-test-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(folder_);
    write("proc/meminfo", "MemTotal:       16384 kB\nMemFree:        1 kB\n");
  }
  ~FakeRoot() { std::filesystem::remove_all(folder_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

TEST(DetectMachine, ReadsMemoryAndProcessors) {
  const FakeRoot root;

  const auto facts = detect_machine(root.folder());

  ASSERT_TRUE(facts.ok()) << facts.status().message();
  EXPECT_EQ(facts->host_memory_bytes, 16 << 20);
  EXPECT_GT(facts->processors, 0);
  EXPECT_EQ(facts->cgroup_memory_bytes, std::nullopt);
  EXPECT_EQ(facts->usable_memory_bytes(), 16 << 20);
}

TEST(DetectMachine, TakesTheTightestLimitOfTheGroupsAbove) {
  const FakeRoot root;
  root.write("proc/self/cgroup", "0::/outer/inner\n");
  root.write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  root.write("sys/fs/cgroup/outer/memory.max", "4194304\n");

  const auto facts = detect_machine(root.folder());

  EXPECT_EQ(facts->cgroup_memory_bytes, 4 << 20);
  EXPECT_EQ(facts->usable_memory_bytes(), 4 << 20);
}

TEST(DetectMachine, KnowsTheOlderKindOfGroups) {
  const FakeRoot root;
  root.write("proc/self/cgroup", "12:cpu,memory:/box\n1:name=systemd:/\n");
  root.write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2097152\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");

  EXPECT_EQ(detect_machine(root.folder())->cgroup_memory_bytes, 2 << 20);
}

TEST(DetectMachine, ALimitAboveTheMemoryDoesNotCount) {
  const FakeRoot root;
  root.write("proc/self/cgroup", "0::/\n");
  root.write("sys/fs/cgroup/memory.max", "1099511627776\n");

  EXPECT_EQ(detect_machine(root.folder())->usable_memory_bytes(), 16 << 20);
}

TEST(DetectMachine, SaysWhatItCannotRead) {
  const FakeRoot root;
  root.write("proc/meminfo", "nothing\n");

  EXPECT_THAT(detect_machine(root.folder()).status().message(), HasSubstr("proc/meminfo"));
}

TEST(DetectMachine, WorksHere) { EXPECT_TRUE(detect_machine().ok()); }

TEST(PresetMachine, KnowsThree) {
  EXPECT_EQ(preset_machine("h200x8")->gpus.size(), 8U);
  EXPECT_EQ(preset_machine("h200x8")->gpus[7].memory_mib, 143771);
  EXPECT_EQ(preset_machine("h100x8")->gpus.size(), 8U);
  EXPECT_THAT(preset_machine("cpu")->gpus, IsEmpty());
  EXPECT_THAT(preset_machine("h300").status().message(), HasSubstr("h200x8, h100x8, cpu"));
}

TEST(ParseMachine, ReadsAnObject) {
  const auto facts = parse_machine(
      R"({"name": "lab", "processors": 4, "host_memory_mib": 8, "cgroup_memory_mib": 2,
          "gpus": [{"name": "G", "memory_mib": 100, "count": 2}, {"memory_mib": 50}]})");

  ASSERT_TRUE(facts.ok()) << facts.status().message();
  EXPECT_EQ(facts->name, "lab");
  EXPECT_EQ(facts->usable_memory_bytes(), 2 << 20);
  ASSERT_EQ(facts->gpus.size(), 3U);
  EXPECT_EQ(facts->gpus[1].name, "G");
  EXPECT_EQ(facts->gpus[2].memory_mib, 50);
}

TEST(ParseMachine, NamesTheFieldThatIsWrong) {
  const auto error = [](std::string_view json) { return parse_machine(json).status().message(); };
  EXPECT_THAT(error("[]"), HasSubstr("an object"));
  EXPECT_THAT(error(R"({"host_memory_mib": 8})"), HasSubstr("processors is missing"));
  EXPECT_THAT(error(R"({"processors": 0, "host_memory_mib": 8})"), HasSubstr("processors is 0"));
  EXPECT_THAT(error(R"({"processors": 1, "host_memory_mib": "8"})"),
              HasSubstr("host_memory_mib is \"8\""));
  EXPECT_THAT(error(R"({"processors": 1, "host_memory_mib": 8, "gpus": 8})"), HasSubstr("gpus"));
  EXPECT_THAT(error(R"({"processors": 1, "host_memory_mib": 8, "gpus": [{"memory_mib": 0}]})"),
              HasSubstr("gpus: memory_mib is 0"));
  EXPECT_THAT(error(R"({"processors": 1, "host_memory_mib": 8,
                        "gpus": [{"memory_mib": 1, "count": 1000},
                                 {"memory_mib": 1, "count": 1000}]})"),
              HasSubstr("more than 1024"));
}

}  // namespace
}  // namespace fathom::config
