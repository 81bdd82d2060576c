#include "api/batch_files.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class BatchFiles : public testing::Test {
 protected:
  BatchFiles() : path_(testing::TempDir() + "fathom-batch-" + std::to_string(getpid())) {
    std::filesystem::remove(path_);
  }
  ~BatchFiles() override { std::filesystem::remove(path_); }

  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  std::string read() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }

  static std::string result(const std::string& id) {
    return batch_answer_line("r", id, 200, "", "{}");
  }

  std::string path_;
};

TEST_F(BatchFiles, LinesComeInTurn) {
  write("a\n\nbc");
  Result<LineFile> file = LineFile::open(path_);
  ASSERT_TRUE(file.ok());
  std::vector<std::string> lines;
  for (auto line = file->next(); line.ok() && line->has_value(); line = file->next()) {
    lines.emplace_back(**line);
  }
  EXPECT_THAT(lines, ElementsAre("a", "", "bc"));
  EXPECT_FALSE(file->whole());
  EXPECT_EQ(file->number(), 3);
  EXPECT_EQ(file->offset(), 5);
}

TEST_F(BatchFiles, WhatCannotBeReadIsNamed) {
  EXPECT_THAT(LineFile::open(path_).status().message(), HasSubstr(path_));
  EXPECT_EQ(LineFile::open(testing::TempDir()).status().code(), Code::kInvalidArgument);
}

TEST_F(BatchFiles, AnInterruptedRunGoesOn) {
  write(result("a") + "\n" + batch_error_line("r", "", 3, "invalid_line", "no") + "\n" +
        result("b").substr(0, 10));
  Result<ResultFile> file = ResultFile::open(path_, {});
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE(file->answered().contains("a", 1));
  EXPECT_FALSE(file->answered().contains("b", 2));
  EXPECT_TRUE(file->answered().contains("", 3));
  EXPECT_EQ(file->answered().succeeded, 1);
  EXPECT_EQ(file->answered().failed, 1);
  ASSERT_TRUE(file->add(0, result("b")).ok());
  ASSERT_TRUE(file->close().ok());
  EXPECT_THAT(read(), testing::EndsWith("\n" + result("b") + "\n"));
  EXPECT_THAT(read(), testing::StartsWith(result("a") + "\n"));
}

TEST_F(BatchFiles, ZerosThatACrashLeftAreCut) {
  for (const std::string& begun : {std::string(), result("b").substr(0, 10)}) {
    write(result("a") + "\n" + begun + std::string(5000, '\0'));
    Result<ResultFile> file = ResultFile::open(path_, {});
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ(file->answered().succeeded, 1);
    EXPECT_EQ(read(), result("a") + "\n");
  }
}

TEST_F(BatchFiles, FailuresLeaveTheFileWhenAskedFor) {
  const std::string kept = result("a") + "\n" + result("d") + "\n";
  write(result("a") + "\n" + batch_error_line("r", "", 3, "invalid_line", "no") + "\n" +
        batch_answer_line("r", "b", 500, "", "{}") + "\n" + result("d") + "\n" +
        result("e").substr(0, 10));
  std::filesystem::permissions(path_, std::filesystem::perms(0640));
  {
    Result<ResultFile> file = ResultFile::open(path_, {.drop_failed = true});
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ(file->answered().dropped, 2);
    EXPECT_EQ(file->answered().succeeded, 2);
    EXPECT_EQ(file->answered().failed, 0);
    EXPECT_TRUE(file->answered().contains("a", 1));
    EXPECT_FALSE(file->answered().contains("b", 2));
    EXPECT_FALSE(file->answered().contains("", 3));
    EXPECT_EQ(read(), kept);
    EXPECT_THAT(ResultFile::open(path_, {}).status().message(), HasSubstr("another run"));
    ASSERT_TRUE(file->add(0, result("b")).ok());
    ASSERT_TRUE(file->close().ok());
  }
  EXPECT_EQ(read(), kept + result("b") + "\n");
  EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0640));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".part"));
  EXPECT_EQ(ResultFile::open(path_, {.drop_failed = true})->answered().dropped, 0);
}

TEST_F(BatchFiles, TwoRunsDoNotWriteOneFile) {
  const Result<ResultFile> first = ResultFile::open(path_, {});
  ASSERT_TRUE(first.ok());
  EXPECT_THAT(ResultFile::open(path_, {}).status().message(), HasSubstr("another run"));
}

TEST_F(BatchFiles, AnotherKindOfFileIsLeftAlone) {
  write("{\"precious\":1}\n");
  const Result<ResultFile> file = ResultFile::open(path_, {});
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.status().message(), HasSubstr("line 1"));
  EXPECT_EQ(read(), "{\"precious\":1}\n");
}

TEST_F(BatchFiles, SoIsOneWithoutAnEndOfLine) {
  for (const std::string text : {R"({"custom_id":"a","url":"/generate","body":{}})", "notes"}) {
    write(text);
    EXPECT_EQ(ResultFile::open(path_, {}).status().code(), Code::kInvalidArgument);
    EXPECT_EQ(read(), text);
  }
}

TEST_F(BatchFiles, OrderIsKeptWhenAskedFor) {
  Result<ResultFile> file = ResultFile::open(path_, {.ordered = true});
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->add(2, "c").ok());
  ASSERT_TRUE(file->add(1, "b").ok());
  EXPECT_EQ(file->waiting(), 2U);
  EXPECT_EQ(read(), "");
  ASSERT_TRUE(file->add(0, "a").ok());
  EXPECT_EQ(file->waiting(), 0U);
  EXPECT_EQ(read(), "a\nb\nc\n");
}

}  // namespace
}  // namespace fathom::api
