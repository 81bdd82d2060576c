#include "api/batches.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/batch_line.h"
#include "api/refusal.h"

namespace fathom::api {
namespace {

using testing::HasSubstr;

constexpr std::string_view kUrl = "/v1/completions";

std::string line(const std::string& id, std::string_view url = kUrl) {
  return R"({"custom_id":")" + id + R"(","url":")" + std::string(url) + R"(","body":{"prompt":")" +
         id + "\"}}\n";
}

// A server that answers on the thread that asks, unless it is told to keep requests.
class FakeServer {
 public:
  Batches::Send sender() {
    return [this](const http::Request& request, const std::shared_ptr<http::Exchange>& exchange) {
      take(request, exchange);
    };
  }

  // Keeps requests from now on, after so many that are answered still.
  void hold(int after = 0) {
    const std::lock_guard lock(mutex_);
    answers_before_ = after;
    holding_ = true;
  }
  // Waits until that many are kept.
  void wait_for_kept(std::size_t count) {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [&] { return kept_.size() >= count; });
  }
  void release() {
    std::vector<std::shared_ptr<http::Exchange>> kept;
    {
      const std::lock_guard lock(mutex_);
      holding_ = false;
      kept.swap(kept_);
    }
    for (const auto& exchange : kept) exchange->respond(json_response("{}"));
  }
  // The next requests are refused as a full server does, or fail with another status.
  void refuse_next(int count, int status = 503) {
    const std::lock_guard lock(mutex_);
    refusals_ = count;
    refusal_status_ = status;
  }
  std::size_t gone() {
    const std::lock_guard lock(mutex_);
    return gone_;
  }
  std::multiset<std::string> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void take(const http::Request& request, const std::shared_ptr<http::Exchange>& exchange) {
    std::unique_lock lock(mutex_);
    asked_.insert(request.body);
    came_.notify_all();
    if (holding_ && answers_before_-- <= 0) {
      kept_.push_back(exchange);
      lock.unlock();
      exchange->on_gone([this] {
        const std::lock_guard inner(mutex_);
        ++gone_;
      });
      return;
    }
    const bool refuses = refusals_ > 0;
    if (refuses) --refusals_;
    const int status = refusal_status_;
    lock.unlock();
    if (refuses) {
      exchange->respond(error_response(Refusal::of(status, "no")));
    } else if (request.body.find("wrong") != std::string::npos) {
      exchange->respond(error_response(Refusal::semantic("no")));
    } else {
      exchange->respond(json_response(request.body));
    }
  }

  std::mutex mutex_;
  std::condition_variable came_;
  bool holding_ = false;
  int answers_before_ = 0;
  int refusals_ = 0;
  int refusal_status_ = 503;
  std::size_t gone_ = 0;
  std::vector<std::shared_ptr<http::Exchange>> kept_;
  std::multiset<std::string> asked_;
};

class BatchesTest : public testing::Test {
 protected:
  BatchesTest() : folder_(testing::TempDir() + "fathom-batches-" + std::to_string(getpid())) {
    std::filesystem::remove_all(folder_);
  }
  ~BatchesTest() override { std::filesystem::remove_all(folder_); }

  static Json request(const std::string& file, std::string_view url = kUrl) {
    Json json = Json::object();
    json.set("input_file_id", Json::string(file));
    json.set("endpoint", Json::string(std::string(url)));
    json.set("completion_window", Json::string("24h"));
    return json;
  }
  static std::string text(const Json& json, std::string_view name) {
    const Json* const member = json.find_set(name);
    return member == nullptr || !member->is_string() ? "" : *member->as_string();
  }
  static std::int64_t count(const Json& batch, std::string_view name) {
    return *batch.find("request_counts")->find(name)->as_int64();
  }
  // The batch when it has this status.
  static Json wait(Batches& batches, const std::string& id, std::string_view status) {
    for (int i = 0; i < 60000; ++i) {
      const std::optional<Json> batch = batches.find(id);
      EXPECT_TRUE(batch.has_value());
      if (!batch || text(*batch, "status") == status) return *batch;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ADD_FAILURE() << "never " << status;
    return {};
  }
  static std::string content(FileStore& files, const std::string& file) {
    Result<StoredContent> content = files.content(file);
    EXPECT_TRUE(content.ok());
    std::string all;
    while (content.ok() && content->left() > 0) all += content->next(7).value();
    return all;
  }
  static std::set<std::string> ids(FileStore& files, const std::string& file) {
    std::set<std::string> found;
    std::istringstream stream(content(files, file));
    for (std::string each; std::getline(stream, each);) {
      const Result<BatchResult> result = parse_batch_result(each);
      EXPECT_TRUE(result.ok());
      if (!result.ok()) continue;
      EXPECT_TRUE(found.insert(result->custom_id).second) << each;
    }
    return found;
  }

  std::string folder_;
  FakeServer server_;
};

TEST_F(BatchesTest, EveryLineIsAnsweredOnce) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 3});
  const StoredFile input =
      files.add("in.jsonl", "batch", line("a") + "\n" + line("wrong") + line("c")).value();
  const Json made = batches.create(request(input.id)).value();
  EXPECT_EQ(text(made, "status"), "validating");
  const Json done = wait(batches, text(made, "id"), "completed");
  EXPECT_EQ(count(done, "total"), 3);
  EXPECT_EQ(count(done, "completed"), 2);
  EXPECT_EQ(count(done, "failed"), 1);
  EXPECT_EQ(ids(files, text(done, "output_file_id")), (std::set<std::string>{"a", "c"}));
  EXPECT_EQ(ids(files, text(done, "error_file_id")), std::set<std::string>{"wrong"});
  EXPECT_GT(files.find(text(done, "output_file_id")).value()->bytes, 0);
}

TEST_F(BatchesTest, AFullServerIsAskedAgain) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 2});
  server_.refuse_next(3);
  const StoredFile input =
      files.add("in.jsonl", "batch", line("a") + line("b") + line("c")).value();
  const Json made = batches.create(request(input.id)).value();
  const Json done = wait(batches, text(made, "id"), "completed");
  EXPECT_EQ(count(done, "completed"), 3);
}

TEST_F(BatchesTest, AServerThatFailsIsAskedAFewTimes) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 1});
  const StoredFile input = files.add("in.jsonl", "batch", line("a") + line("b")).value();
  server_.refuse_next(5, 500);  // four times a, once b
  const Json made = batches.create(request(input.id)).value();
  const Json done = wait(batches, text(made, "id"), "completed");
  EXPECT_EQ(ids(files, text(done, "error_file_id")), std::set<std::string>{"a"});
  EXPECT_EQ(ids(files, text(done, "output_file_id")), std::set<std::string>{"b"});
  EXPECT_EQ(server_.asked().size(), 6U);
}

TEST_F(BatchesTest, AnswersHaveTheStoresLimits) {
  const std::string lines = line("a") + line("b");
  FileStore files(folder_, {.max_bytes = static_cast<std::int64_t>(lines.size()) + 10});
  Batches batches(files, server_.sender(), {.concurrency = 1});
  const StoredFile input = files.add("in.jsonl", "batch", lines).value();
  const Json made = batches.create(request(input.id)).value();
  const Json failed = wait(batches, text(made, "id"), "failed");
  EXPECT_EQ(server_.asked().size(), 1U);
}

TEST_F(BatchesTest, TheOldestThatIsOverMakesRoom) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 1, .max_batches = 2});
  const StoredFile input = files.add("in.jsonl", "batch", line("a")).value();
  std::vector<std::string> made;
  for (int i = 0; i < 3; ++i) {
    made.push_back(text(batches.create(request(input.id)).value(), "id"));
    wait(batches, made.back(), "completed");
  }
  EXPECT_FALSE(batches.find(made[0]).has_value());
  EXPECT_TRUE(batches.find(made[1]).has_value());
  EXPECT_EQ(files.records("batch_").value().size(), 2U);
  server_.hold();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(batches.create(request(input.id)).ok());
  EXPECT_EQ(batches.create(request(input.id)).status().code(), Code::kResourceExhausted);
  server_.release();
}

TEST_F(BatchesTest, OneThatWaitsIsCancelledAtOnce) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 1});
  const StoredFile input = files.add("in.jsonl", "batch", line("a")).value();
  server_.hold();
  ASSERT_TRUE(batches.create(request(input.id)).ok());
  server_.wait_for_kept(1);
  const std::string second = text(batches.create(request(input.id)).value(), "id");
  EXPECT_EQ(text(*batches.cancel(second), "status"), "cancelled");
  server_.release();
}

TEST_F(BatchesTest, WhatIsToldAfterTheEndHasBegunIsNoAnswer) {
  std::string id;
  {
    FileStore files(folder_, {});
    Batches batches(files, server_.sender(), {.concurrency = 2});
    const StoredFile input = files.add("in.jsonl", "batch", line("a") + line("b")).value();
    server_.hold();
    id = text(batches.create(request(input.id)).value(), "id");
    server_.wait_for_kept(2);
    batches.stop();
    server_.release();
  }
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 1});
  ASSERT_TRUE(batches.start().ok());
  const Json done = wait(batches, id, "completed");
  EXPECT_EQ(count(done, "completed"), 2);
  EXPECT_EQ(server_.asked().size(), 4U);
}

TEST_F(BatchesTest, WrongLinesFailTheBatchAndAreNamed) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {});
  const StoredFile input =
      files.add("in.jsonl", "batch", line("a") + "nonsense\n" + line("a") + line("b", "/generate"))
          .value();
  const Json made = batches.create(request(input.id)).value();
  const Json failed = wait(batches, text(made, "id"), "failed");
  const Json::Array& errors = *failed.find("errors")->find("data")->as_array();
  ASSERT_EQ(errors.size(), 3U);
  EXPECT_EQ(errors[0].find("line")->as_int64(), 2);
  EXPECT_EQ(text(errors[1], "code"), "duplicate_custom_id");
  EXPECT_EQ(text(errors[2], "code"), "mismatched_endpoint");
  EXPECT_TRUE(server_.asked().empty());

  const StoredFile empty = files.add("in.jsonl", "batch", "\n").value();
  const Json second = batches.create(request(empty.id)).value();
  wait(batches, text(second, "id"), "failed");
}

TEST_F(BatchesTest, WhatIsWrongWithARequestIsSaid) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {});
  const StoredFile input = files.add("in.jsonl", "batch", line("a")).value();
  EXPECT_THAT(batches.create(request("file-0")).status().message(), HasSubstr("input_file_id"));
  EXPECT_THAT(batches.create(request(input.id, "/health")).status().message(),
              HasSubstr("expected one of"));
  Json long_window = request(input.id);
  long_window.set("completion_window", Json::string("7d"));
  EXPECT_THAT(batches.create(long_window).status().message(), HasSubstr("24h"));
  Json metadata = request(input.id);
  metadata.set("metadata", Json::array());
  EXPECT_THAT(batches.create(metadata).status().message(), HasSubstr("metadata"));
  EXPECT_FALSE(batches.find("batch_0").has_value());
}

TEST_F(BatchesTest, CancellingLeavesWhatIsUnderWay) {
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 2});
  server_.hold();
  const StoredFile input =
      files.add("in.jsonl", "batch", line("a") + line("b") + line("c")).value();
  const std::string id = text(batches.create(request(input.id)).value(), "id");
  server_.wait_for_kept(2);
  EXPECT_EQ(text(*batches.cancel(id), "status"), "cancelling");
  const Json cancelled = wait(batches, id, "cancelled");
  EXPECT_EQ(count(cancelled, "completed"), 0);
  EXPECT_EQ(server_.gone(), 2U);
  EXPECT_EQ(server_.asked().size(), 2U);
  server_.release();
}

TEST_F(BatchesTest, GoesOnAtTheNextStart) {
  std::string id;
  {
    FileStore files(folder_, {});
    Batches batches(files, server_.sender(), {.concurrency = 1});
    const StoredFile input =
        files.add("in.jsonl", "batch", line("a") + line("b") + line("c")).value();
    server_.hold(1);
    id = text(batches.create(request(input.id)).value(), "id");
    server_.wait_for_kept(1);
  }
  EXPECT_EQ(server_.asked().size(), 2U);
  server_.release();  // what comes after the end counts for nothing
  FileStore files(folder_, {});
  Batches batches(files, server_.sender(), {.concurrency = 1});
  ASSERT_TRUE(batches.start().ok());
  const Json done = wait(batches, id, "completed");
  EXPECT_EQ(count(done, "total"), 3);
  EXPECT_EQ(count(done, "completed"), 3);
  EXPECT_EQ(ids(files, text(done, "output_file_id")).size(), 3U);
  EXPECT_EQ(server_.asked().size(), 4U);  // b was asked twice, a once
}

TEST_F(BatchesTest, WhatACrashLeftHalfStoredIsRemoved) {
  const std::filesystem::path folder = std::filesystem::path(folder_) / "in" / "folders";
  std::string id;
  {
    FileStore files(folder, {});
    id = files.add("a.jsonl", "batch", "text")->id;
  }
  const std::string name = "file-" + std::string(24, 'a');
  const std::vector<std::string> half{name, name + ".part", name + ".json.part",
                                      "batch_" + std::string(24, 'b') + ".json.part"};
  const std::filesystem::path other = folder / ("notes-" + std::string(24, 'c') + ".part");
  for (const std::string& each : half) std::ofstream(folder / each) << "half";
  std::ofstream(other) << "somebody's";
  FileStore files(folder, {});
  ASSERT_TRUE(files.open().ok());
  for (const std::string& each : half) EXPECT_FALSE(std::filesystem::exists(folder / each)) << each;
  EXPECT_TRUE(std::filesystem::exists(other));
  EXPECT_EQ(content(files, id), "text");
}

TEST_F(BatchesTest, TheStoreHasLimitsAndOneOwner) {
  FileStore files(folder_, {.max_files = 2, .max_bytes = 10});
  EXPECT_TRUE(files.list().value().empty());
  EXPECT_FALSE(std::filesystem::exists(folder_));
  const StoredFile first = files.add("a", "batch", "12345").value();
  EXPECT_EQ(files.add("b", "batch", "123456").status().code(), Code::kResourceExhausted);
  EXPECT_TRUE(files.add("b", "batch", "12345").ok());
  EXPECT_EQ(files.add("c", "batch", "").status().code(), Code::kResourceExhausted);
  EXPECT_EQ(content(files, first.id), "12345");
  EXPECT_TRUE(files.remove(first.id).value());
  EXPECT_FALSE(files.remove(first.id).value());
  EXPECT_TRUE(files.add("c", "batch", "12345").ok());
  FileStore other(folder_, {});
  EXPECT_THAT(other.open().message(), HasSubstr("another server"));
}

}  // namespace
}  // namespace fathom::api
