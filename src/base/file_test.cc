#include "base/file.h"

#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace fathom {
namespace {

class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(testing::TempDir() + "fathom_file_test." + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~FileTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(FileTest, ReadsTheWholeFile) {
  const std::string written(200'000, 'x');
  std::ofstream(folder_ / "long") << written;
  std::ofstream(folder_ / "empty") << "";

  EXPECT_EQ(read_small_file(folder_ / "long", 200'000).value(), written);
  EXPECT_EQ(read_small_file(folder_ / "empty", 0).value(), "");
}

TEST_F(FileTest, RefusesAFileThatIsTooLong) {
  std::ofstream(folder_ / "eleven") << "eleven char";

  const Status refused = read_small_file(folder_ / "eleven", 10).status();

  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.message(), "the file has more than 10 bytes");
}

TEST_F(FileTest, RefusesWhatIsNoFileWithoutWaiting) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);

  EXPECT_EQ(read_small_file(folder_ / "absent", 10).status().message(), "there is no such file");
  EXPECT_EQ(read_small_file(folder_, 10).status().message(), "this is a folder, expected a file");
  EXPECT_EQ(read_small_file(folder_ / "pipe", 10).status().message(),
            "this is not an ordinary file");
}

}  // namespace
}  // namespace fathom
