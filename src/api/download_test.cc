// How the contents of stored files are sent.
#include "api/download.h"

#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gtest/gtest.h>

#include "api/service_testing.h"

namespace fathom::api {
namespace {

constexpr std::size_t kPiece = 64 << 10;

class DownloadTest : public testing::Test {
 protected:
  DownloadTest() : folder_(testing::TempDir() + "fathom-download-" + std::to_string(getpid())) {
    std::filesystem::remove_all(folder_);
    ServiceOptions options = ServiceRig::default_options();
    options.file_storage = folder_;
    rig_ = std::make_unique<ServiceRig>(std::move(options));
  }
  ~DownloadTest() override {
    rig_.reset();
    std::filesystem::remove_all(folder_);
  }

  // The id of an upload with this content.
  std::string upload(const std::string& content) {
    http::Request request;
    request.method = "POST";
    request.target = request.path = "/v1/files";
    request.headers.add("Content-Type", "multipart/form-data; boundary=X");
    request.body =
        "--X\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
        "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n" +
        content + "\r\n--X--\r\n";
    const Json file = parse_json(rig_->send(std::move(request))->wait().body).value();
    return *file.find("id")->as_string();
  }
  static std::string text(std::size_t bytes) {
    std::string text;
    for (std::size_t i = 0; i < bytes; ++i) text += static_cast<char>('a' + i * i % 23);
    return text;
  }

  std::string folder_;
  std::unique_ptr<ServiceRig> rig_;
};

TEST_F(DownloadTest, ContentsArriveWhole) {
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{5}, kPiece - 1, kPiece, kPiece + 1, 5 * kPiece + 7}) {
    const std::string content = text(bytes);
    const auto exchange = rig_->send("GET", "/v1/files/" + upload(content) + "/content");
    EXPECT_EQ(exchange->wait().status, 200);
    EXPECT_EQ(*exchange->wait().headers.find("Content-Type"), "application/octet-stream");
    EXPECT_TRUE(exchange->wait().body == content) << bytes;
  }
}

TEST_F(DownloadTest, APieceIsReadWhenThePeerHasTakenTheOneBefore) {
  const std::string content = text(3 * kPiece);
  const std::string id = upload(content);
  http::Request request;
  request.method = "GET";
  request.target = request.path = "/v1/files/" + id + "/content";
  auto exchange = std::make_shared<FakeExchange>();
  exchange->be_slow();
  rig_->service->handle(std::move(request), exchange);

  exchange->wait_started();
  EXPECT_EQ(exchange->response().body.size(), kPiece);
  // It is read to its end though it is deleted meanwhile.
  EXPECT_EQ(rig_->ask("DELETE", "/v1/files/" + id).status, 200);
  exchange->take();
  exchange->take();

  EXPECT_TRUE(exchange->wait().body == content);
  EXPECT_EQ(exchange->writes(), 3);
}

TEST_F(DownloadTest, WhatBecomesShorterIsBrokenOff) {
  const std::string id = upload(text(3 * kPiece));
  http::Request request;
  request.method = "GET";
  request.target = request.path = "/v1/files/" + id + "/content";
  auto exchange = std::make_shared<FakeExchange>();
  exchange->be_slow();
  rig_->service->handle(std::move(request), exchange);
  exchange->wait_started();

  std::filesystem::resize_file(folder_ + "/" + id, kPiece + 1);
  exchange->take();
  rig_->ask("POST", "/tokenize", R"({"prompt":"x"})");  // behind it in the queue of work

  EXPECT_FALSE(exchange->complete());
  EXPECT_EQ(exchange->writes(), 1);
  EXPECT_EQ(exchange.use_count(), 1) << "let go of, which breaks the answer off";
}

TEST_F(DownloadTest, WhatIsNotThereIsSaid) {
  const std::string id = upload("x");
  EXPECT_EQ(rig_->ask("GET", "/v1/files/file-000000000000000000000000/content").status, 404);
  EXPECT_EQ(rig_->ask("GET", "/v1/files/" + id + "/else").status, 404);
  EXPECT_EQ(rig_->ask("DELETE", "/v1/files/" + id + "/content").status, 405);
  std::filesystem::remove(folder_ + "/" + id);
  EXPECT_EQ(rig_->ask("GET", "/v1/files/" + id + "/content").status, 404);
}

}  // namespace
}  // namespace fathom::api
