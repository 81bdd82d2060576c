#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "wire/engine_link.h"

namespace fathom::wire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

GenerateRequest request_of(RequestId id) {
  GenerateRequest request;
  request.id = id;
  request.prompt = {1, 2, 3};
  return request;
}

TokenOutput output_of(RequestId id, std::vector<TokenId> tokens, Finish finish = Finish::kNone) {
  TokenOutput output;
  output.id = id;
  output.tokens = std::move(tokens);
  output.finish = finish;
  return output;
}

std::vector<TokenOutput> outputs_of(TokenOutput output) {
  std::vector<TokenOutput> outputs;
  outputs.push_back(std::move(output));
  return outputs;
}

// A link that counts how often it wanted to wake somebody.
struct CountedLink {
  std::atomic<int> wakes = 0;
  InprocLink link;
  EngineClient& client = link.client();
  EnginePort& port = link.port();

  explicit CountedLink(std::size_t max_unfinished = 8)
      : link(max_unfinished, [this] { ++wakes; }) {}

  // Submits and receives.
  void start(RequestId id) {
    ASSERT_TRUE(client.submit(request_of(id)).ok());
    ASSERT_EQ(port.receive(false, 0).size(), 1U);
  }
};

TEST(InprocLink, MessagesArriveInTheirOrder) {
  CountedLink l;
  ASSERT_TRUE(l.client.submit(request_of(1)).ok());
  ASSERT_TRUE(l.client.submit(request_of(2)).ok());
  l.client.abort({1});

  const std::vector<ToEngine> messages = l.port.receive(/*wait=*/true, 0);

  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(std::get<GenerateRequest>(messages[0]).id, 1U);
  EXPECT_EQ(std::get<GenerateRequest>(messages[0]).prompt, (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(std::get<GenerateRequest>(messages[1]).id, 2U);
  EXPECT_EQ(std::get<AbortRequest>(messages[2]).id, 1U);
  EXPECT_THAT(l.port.receive(false, 0), IsEmpty());
}

TEST(InprocLink, AReceiveThatMayNotWaitLongerReturnsNothing) {
  CountedLink l;

  EXPECT_THAT(l.port.receive(/*wait=*/true, now_ns() - 1), IsEmpty());
  EXPECT_THAT(l.port.receive(/*wait=*/true, now_ns() + 1000), IsEmpty());
}

TEST(InprocLink, AWakerEndsTheWaitAlsoBeforeItBeganAndWhenTheLinkIsGone) {
  std::function<void()> waker;
  {
    CountedLink l;
    waker = l.port.waker();
    waker();
    EXPECT_THAT(l.port.receive(/*wait=*/true, 0), IsEmpty());

    std::thread other([&] { waker(); });
    EXPECT_THAT(l.port.receive(/*wait=*/true, 0), IsEmpty());
    other.join();
    EXPECT_THAT(l.port.receive(/*wait=*/true, now_ns() + 1000), IsEmpty());
  }
  waker();
}

TEST(InprocLink, ARequestCountsUntilItsLastOutputIsTaken) {
  CountedLink l(2);
  l.start(1);
  l.start(2);

  const Status full = l.client.submit(request_of(3));
  EXPECT_EQ(full.code(), Code::kResourceExhausted);
  EXPECT_THAT(full.message(), HasSubstr("2 requests"));
  EXPECT_THAT(l.port.receive(false, 0), IsEmpty());

  l.port.publish(outputs_of(output_of(1, {5}, Finish::kStop)));
  EXPECT_EQ(l.client.submit(request_of(4)).code(), Code::kResourceExhausted);
  EXPECT_EQ(l.client.take_outputs().size(), 1U);
  EXPECT_TRUE(l.client.submit(request_of(5)).ok());
}

TEST(InprocLink, OutputsThatWereNotTakenArePutTogether) {
  CountedLink l;
  l.start(1);
  l.start(2);
  TokenOutput first = output_of(1, {10});
  first.prompt_logprobs = {{7, -1, {}, {}}};
  first.logprobs = {{10, -2, {}, {}}};
  first.prompt_tokens = 3;
  first.generated_tokens = 1;
  first.cached_tokens = 2;
  TokenOutput last = output_of(1, {11, 12}, Finish::kStop);
  last.logprobs = {{11, -3, {}, {}}, {12, -4, {}, {}}};
  last.stop_token = 12;
  last.prompt_tokens = 3;
  last.generated_tokens = 3;
  last.cached_tokens = 2;
  last.retractions = 1;

  l.port.publish(outputs_of(std::move(first)));
  l.port.publish(outputs_of(output_of(2, {20})));
  l.port.publish(outputs_of(std::move(last)));
  const std::vector<TokenOutput> taken = l.client.take_outputs();

  ASSERT_EQ(taken.size(), 2U);
  const TokenOutput& whole = taken[0];
  EXPECT_EQ(whole.id, 1U);
  EXPECT_THAT(whole.tokens, ElementsAre(10, 11, 12));
  ASSERT_EQ(whole.prompt_logprobs.size(), 1U);
  EXPECT_EQ(whole.prompt_logprobs[0].id, 7);
  ASSERT_EQ(whole.logprobs.size(), 3U);
  EXPECT_EQ(whole.logprobs[0].logprob, -2);
  EXPECT_EQ(whole.logprobs[2].logprob, -4);
  EXPECT_EQ(whole.finish, Finish::kStop);
  EXPECT_EQ(whole.stop_token, 12);
  EXPECT_EQ(whole.prompt_tokens, 3);
  EXPECT_EQ(whole.generated_tokens, 3);
  EXPECT_EQ(whole.cached_tokens, 2);
  EXPECT_EQ(whole.retractions, 1);
  EXPECT_EQ(taken[1].id, 2U);
  EXPECT_THAT(taken[1].tokens, ElementsAre(20));
}

TEST(InprocLink, WhatWasTakenIsNotToldAgain) {
  CountedLink l;
  l.start(1);
  l.port.publish(outputs_of(output_of(1, {10})));
  ASSERT_EQ(l.client.take_outputs().size(), 1U);

  EXPECT_THAT(l.client.take_outputs(), IsEmpty());
  l.port.publish(outputs_of(output_of(1, {11})));
  const std::vector<TokenOutput> taken = l.client.take_outputs();

  ASSERT_EQ(taken.size(), 1U);
  EXPECT_THAT(taken[0].tokens, ElementsAre(11));
}

TEST(InprocLink, OnlyOutputsThatComeToAnEmptyWayBackWake) {
  CountedLink l;
  l.start(1);

  l.port.publish({});
  EXPECT_EQ(l.wakes, 0);
  l.port.publish(outputs_of(output_of(1, {10})));
  EXPECT_EQ(l.wakes, 1);
  l.port.publish(outputs_of(output_of(1, {11})));
  EXPECT_EQ(l.wakes, 1);
  l.client.take_outputs();
  l.port.publish(outputs_of(output_of(1, {12})));
  EXPECT_EQ(l.wakes, 2);
}

TEST(InprocLink, WhoeverIsWokenMayTakeTheOutputsAtOnce) {
  std::vector<TokenOutput> taken;
  InprocLink* self = nullptr;
  InprocLink link(1, [&] { taken = self->client().take_outputs(); });
  self = &link;
  ASSERT_TRUE(link.client().submit(request_of(1)).ok());
  link.port().receive(false, 0);

  link.port().publish(outputs_of(output_of(1, {10})));

  EXPECT_EQ(taken.size(), 1U);
}

TEST(InprocLink, AnAbortIsSentOnceAndOnlyForWhatIsUnfinished) {
  CountedLink l;
  l.client.abort({99});
  EXPECT_THAT(l.port.receive(false, 0), IsEmpty());

  l.start(1);
  l.client.abort({1});
  l.client.abort({1});
  EXPECT_EQ(l.port.receive(false, 0).size(), 1U);
  l.client.abort({1});
  EXPECT_THAT(l.port.receive(false, 0), IsEmpty());

  l.start(2);
  l.port.publish(outputs_of(output_of(2, {10}, Finish::kLength)));
  l.client.abort({2});
  l.client.take_outputs();
  l.client.abort({2});
  EXPECT_THAT(l.port.receive(false, 0), IsEmpty());
}

TEST(InprocLink, CloseWakesAWaitingReceive) {
  CountedLink l;
  std::thread engine([&] {
    while (!l.port.closed()) l.port.receive(/*wait=*/true, 0);
  });

  l.link.close();

  engine.join();
}

TEST(InprocLink, AClosedLinkRefusesRequestsAndHandsOverWhatItHas) {
  CountedLink l;
  ASSERT_TRUE(l.client.submit(request_of(1)).ok());
  l.link.close();

  EXPECT_EQ(l.client.submit(request_of(2)).code(), Code::kUnavailable);
  EXPECT_TRUE(l.port.closed());
  EXPECT_EQ(l.port.receive(/*wait=*/true, 0).size(), 1U);
  l.port.publish(outputs_of(output_of(1, {}, Finish::kAbort)));
  EXPECT_EQ(l.client.take_outputs().size(), 1U);
}

TEST(InprocLink, AnEngineThatEndsLeavesNoRequestWithoutALastOutput) {
  CountedLink l;
  l.start(1);
  l.start(2);
  l.start(3);
  l.port.publish(outputs_of(output_of(3, {30}, Finish::kStop)));
  l.port.publish(outputs_of(output_of(2, {20})));
  ASSERT_TRUE(l.client.submit(request_of(4)).ok());

  l.port.end(Status(Code::kUnavailable, "the device is gone"));
  const std::vector<TokenOutput> taken = l.client.take_outputs();

  ASSERT_EQ(taken.size(), 4U);
  EXPECT_EQ(taken[0].id, 3U);
  EXPECT_EQ(taken[0].finish, Finish::kStop);
  EXPECT_EQ(taken[1].id, 2U);
  EXPECT_THAT(taken[1].tokens, ElementsAre(20));
  EXPECT_EQ(taken[2].id, 1U);
  EXPECT_EQ(taken[3].id, 4U);
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(taken[i].finish, Finish::kAbort);
    EXPECT_EQ(taken[i].error.code(), Code::kUnavailable);
    EXPECT_EQ(taken[i].error.message(), "the device is gone");
  }
  EXPECT_EQ(l.wakes, 1);
  const Status refused = l.client.submit(request_of(5));
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_THAT(refused.message(), HasSubstr("the device is gone"));
  EXPECT_THAT(l.client.take_outputs(), IsEmpty());
}

TEST(InprocLink, AnEngineThatEndsWakesWhoeverWaits) {
  CountedLink l;
  l.start(1);

  l.port.end(Status(Code::kUnavailable, "the device is gone"));

  EXPECT_EQ(l.wakes, 1);
}

TEST(InprocLink, TheLoadIsTheLatest) {
  CountedLink l;
  EXPECT_EQ(l.client.load().pages, 0);
  EngineLoad load;
  load.pages = 10;
  load.pages_used = 4;

  l.port.publish_load(load);

  EXPECT_EQ(l.client.load().pages, 10);
  EXPECT_EQ(l.client.load().pages_used, 4);
}

TEST(InprocLink, AnIdInUseIsABug) {
  CountedLink l;
  l.start(1);
  EXPECT_DEATH(static_cast<void>(l.client.submit(request_of(1))), "check failed");
}

TEST(InprocLink, AnOutputAfterTheLastOneIsABug) {
  CountedLink l;
  l.start(1);
  l.port.publish(outputs_of(output_of(1, {}, Finish::kStop)));
  EXPECT_DEATH(l.port.publish(outputs_of(output_of(1, {2}))), "check failed");
}

// What a link should do, said with plain containers.
struct Model {
  std::size_t max_unfinished = 0;
  std::deque<std::pair<bool, RequestId>> to_engine;  // (abort, id)
  std::set<RequestId> alive;                         // submitted, last output not taken
  std::set<RequestId> running;                       // received, no last output
  std::set<RequestId> done;                          // last output published, not taken
  std::set<RequestId> aborted;
  std::map<RequestId, std::vector<TokenId>> told;  // not taken
  int wakes = 0;
};

// One random call on the link and on the model.
class RandomCalls {
 public:
  void submit() {
    const bool fits = model_.alive.size() < model_.max_unfinished;
    const RequestId id = next_id_++;
    ASSERT_EQ(link_.client.submit(request_of(id)).ok(), fits);
    if (!fits) return;
    model_.alive.insert(id);
    model_.to_engine.emplace_back(false, id);
  }

  void abort() {
    const RequestId id = next_id_ > 20 ? next_id_ - random_() % 20 : random_() % 20;
    link_.client.abort({id});
    if (model_.alive.count(id) == 0 || model_.done.count(id) > 0) return;
    if (model_.aborted.insert(id).second) model_.to_engine.emplace_back(true, id);
  }

  void receive() {
    const std::vector<ToEngine> messages = link_.port.receive(false, 0);
    ASSERT_EQ(messages.size(), model_.to_engine.size());
    for (const ToEngine& message : messages) {
      const auto [is_abort, id] = model_.to_engine.front();
      model_.to_engine.pop_front();
      if (is_abort) {
        ASSERT_EQ(std::get<AbortRequest>(message).id, id);
      } else {
        ASSERT_EQ(std::get<GenerateRequest>(message).id, id);
        model_.running.insert(id);
      }
    }
  }

  void publish() {
    std::vector<TokenOutput> outputs;
    const std::set<RequestId> running = model_.running;
    for (const RequestId id : running) {
      if (random_() % 3 == 0) continue;
      TokenOutput output = output_of(id, {});
      for (auto count = random_() % 4; count > 0; --count) output.tokens.push_back(next_token_++);
      if (random_() % 8 == 0) output.finish = Finish::kLength;
      if (outputs.empty() && model_.told.empty()) ++model_.wakes;
      auto& told = model_.told[id];
      told.insert(told.end(), output.tokens.begin(), output.tokens.end());
      if (output.finish != Finish::kNone) {
        model_.running.erase(id);
        model_.done.insert(id);
      }
      outputs.push_back(std::move(output));
    }
    link_.port.publish(std::move(outputs));
  }

  void take() {
    const std::vector<TokenOutput> outputs = link_.client.take_outputs();
    ASSERT_EQ(outputs.size(), model_.told.size());
    for (const TokenOutput& output : outputs) {
      ASSERT_EQ(output.tokens, model_.told.at(output.id));
      const bool last = model_.done.erase(output.id) > 0;
      ASSERT_EQ(output.finish != Finish::kNone, last);
      if (last) model_.alive.erase(output.id);
    }
    model_.told.clear();
  }

  void any() {
    switch (random_() % 6) {
      case 0:
        return abort();
      case 1:
        return receive();
      case 2:
        return publish();
      case 3:
        return take();
      default:
        return submit();
    }
  }
  void expect_same_wakes() { ASSERT_EQ(link_.wakes, model_.wakes); }

 private:
  static constexpr std::size_t kMaxUnfinished = 12;

  std::mt19937 random_{11};
  CountedLink link_{kMaxUnfinished};
  Model model_{kMaxUnfinished, {}, {}, {}, {}, {}, {}, 0};
  RequestId next_id_ = 1;
  TokenId next_token_ = 0;
};

TEST(InprocLink, AgreesWithPlainContainers) {
  RandomCalls calls;
  for (int step = 0; step < 20000; ++step) {
    SCOPED_TRACE(step);
    calls.any();
    calls.expect_same_wakes();
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// An engine that gives every request as many tokens as its max_new_tokens says, in random pieces,
// and stops early only when told to.
void serve(EnginePort& port) {
  std::mt19937 random(5);
  std::map<RequestId, std::pair<TokenId, TokenId>> running;  // given, wanted
  while (!port.closed() || !running.empty()) {
    std::vector<TokenOutput> outputs;
    for (const ToEngine& message : port.receive(/*wait=*/running.empty(), 0)) {
      if (const auto* request = std::get_if<GenerateRequest>(&message)) {
        running[request->id] = {0, request->sampling.max_new_tokens};
        continue;
      }
      const RequestId id = std::get<AbortRequest>(message).id;
      if (running.erase(id) > 0) outputs.push_back(output_of(id, {}, Finish::kAbort));
    }
    for (auto it = running.begin(); it != running.end();) {
      auto& [given, wanted] = it->second;
      TokenOutput output = output_of(it->first, {});
      for (auto count = random() % 4; count > 0 && given < wanted; --count) {
        output.tokens.push_back(given++);
        output.logprobs.push_back({output.tokens.back(), 0, {}, {}});
      }
      const bool finished = given == wanted;
      if (finished) output.finish = Finish::kLength;
      outputs.push_back(std::move(output));
      it = finished ? running.erase(it) : std::next(it);
    }
    port.publish(std::move(outputs));
  }
}

// Wakes a thread from on_output.
struct Bell {
  std::mutex mutex;
  std::condition_variable rang;
  bool ringing = false;  // guarded by mutex

  void ring() {
    const std::lock_guard lock(mutex);
    ringing = true;
    rang.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex);
    rang.wait(lock, [this] { return ringing; });
    ringing = false;
  }
};

// An id that is divisible by 7 goes on for ever unless it is aborted.
TokenId tokens_wanted(RequestId id) {
  return id % 7 == 0 ? 1 << 30 : static_cast<TokenId>(id % 40);
}

void submit_many(EngineClient& client, std::atomic<RequestId>& next_id, int count, unsigned seed) {
  std::mt19937 random(seed);
  for (int i = 0; i < count; ++i) {
    GenerateRequest request = request_of(next_id++);
    const RequestId id = request.id;
    request.sampling.max_new_tokens = tokens_wanted(id);
    while (!client.submit(request).ok()) std::this_thread::yield();
    if (id % 7 == 0 || random() % 8 == 0) client.abort({id});
  }
}

// Expects that `output` continues what the request was `given`.
void expect_next(const TokenOutput& output, TokenId& given) {
  EXPECT_EQ(output.logprobs.size(), output.tokens.size());
  for (const TokenId token : output.tokens) EXPECT_EQ(token, given++) << output.id;
  if (output.finish == Finish::kLength) {
    EXPECT_EQ(given, tokens_wanted(output.id)) << output.id;
  }
}

TEST(InprocLink, ManyThreadsLoseNothing) {
  constexpr int kSubmitters = 4;
  constexpr int kRequests = 500;  // of each submitter
  Bell bell;
  InprocLink link(32, [&bell] { bell.ring(); });
  std::atomic<RequestId> next_id = 1;
  std::thread engine([&link] { serve(link.port()); });
  std::vector<std::thread> submitters;
  submitters.reserve(kSubmitters);
  for (unsigned seed = 0; seed < kSubmitters; ++seed) {
    submitters.emplace_back(
        [&link, &next_id, seed] { submit_many(link.client(), next_id, kRequests, seed); });
  }

  std::map<RequestId, TokenId> given;
  int finished = 0;
  while (finished < kSubmitters * kRequests) {
    bell.wait();
    for (const TokenOutput& output : link.client().take_outputs()) {
      expect_next(output, given[output.id]);
      finished += output.finish != Finish::kNone ? 1 : 0;
    }
  }
  for (std::thread& submitter : submitters) submitter.join();
  link.close();
  engine.join();

  EXPECT_EQ(given.size(), static_cast<std::size_t>(kSubmitters) * kRequests);
  EXPECT_THAT(link.client().take_outputs(), IsEmpty());
}

}  // namespace
}  // namespace fathom::wire
