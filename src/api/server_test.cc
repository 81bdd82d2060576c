// The service behind the real server, over sockets.
#include "http/server.h"

#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "api/service_testing.h"
#include "http/client.h"

namespace fathom::api {
namespace {

using wire::Finish;

class Served : public testing::Test {
 protected:
  Served() {
    auto created = http::Server::create(
        {}, [this](http::Request request, std::shared_ptr<http::Exchange> exchange) {
          rig_.service->handle(std::move(request), std::move(exchange));
        });
    server_ = std::move(created.value());
    server_->set_error_body(Service::error_body);
    rig_.service->set_timer([this](std::chrono::milliseconds delay, std::function<void()> work) {
      server_->post_after(delay, std::move(work));
    });
    server_->start();
  }
  ~Served() override { server_->stop(); }

  http::Client client() const { return http::Client({"127.0.0.1", server_->port(), ""}); }

  // As app does it: the engine's thread only wakes the server.
  void publish(wire::TokenOutput output) {
    rig_.engine.publish(std::move(output));
    server_->post([this] { rig_.service->on_outputs(); });
  }

  static http::Request request(std::string_view body) {
    http::Request request;
    request.method = "POST";
    request.target = "/generate";
    request.headers.add("Content-Type", "application/json");
    request.body = body;
    return request;
  }

  ServiceRig rig_;
  std::unique_ptr<http::Server> server_;
};

TEST_F(Served, AStreamArrivesWhole) {
  std::string body;
  http::Client client = this->client();
  int status = 0;
  std::thread engine([this] {
    const auto sent = rig_.engine.wait_requests(1)[0];
    publish(ServiceRig::piece(sent, "a"));
    publish(ServiceRig::last(ServiceRig::piece(sent, "b", 1), Finish::kLength));
  });

  const auto response = client.stream(
      request(R"({"text":"hi","stream":true})"),
      [&](const http::Response& head) { status = head.status; },
      [&](std::string_view piece) {
        body += piece;
        return true;
      });
  engine.join();

  ASSERT_TRUE(response.ok()) << response.status().message();
  EXPECT_EQ(status, 200);
  const std::vector<std::string> events = events_of(body);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_TRUE(events[0].starts_with(R"({"text":"a",)"));
  EXPECT_TRUE(events[1].starts_with(R"({"text":"ab",)"));
  EXPECT_EQ(events[2], "[DONE]");
}

TEST_F(Served, AClientThatLeavesEndsItsRequest) {
  http::Client client = this->client();
  std::thread engine([this] {
    const auto sent = rig_.engine.wait_requests(1)[0];
    // A closed connection shows when something is sent.
    for (std::size_t at = 0; rig_.engine.aborts().empty(); ++at) {
      publish(ServiceRig::piece(sent, "a", at));
      std::promise<void> written;
      server_->post([&written] { written.set_value(); });
      written.get_future().wait();
    }
    publish(ServiceRig::last(ServiceRig::piece(sent, ""), Finish::kAbort));
  });

  // Takes the first piece and hangs up.
  const auto response = client.stream(
      request(R"({"text":"hi","stream":true})"), [](const http::Response&) {},
      [](std::string_view) { return false; });
  engine.join();

  EXPECT_TRUE(response.ok()) << response.status().message();
  rig_.wait_idle();
}

TEST_F(Served, ErrorsOfTheServerHaveTheSameForm) {
  http::Client client = this->client();
  http::Request wrong = request("{}");
  wrong.headers.add("Expect", "the impossible");

  const auto response = client.send(wrong);

  ASSERT_TRUE(response.ok()) << response.status().message();
  EXPECT_EQ(response->status, 417);
  EXPECT_TRUE(response->body.starts_with(R"({"object":"error","message":)")) << response->body;
}

}  // namespace
}  // namespace fathom::api
