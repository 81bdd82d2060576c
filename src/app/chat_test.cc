#include "app/chat.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <sstream>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/chat_reply.h"
#include "app/chat_request.h"
#include "base/json.h"
#include "http/server.h"

namespace fathom::app {
namespace {

using testing::HasSubstr;

TEST(ChatRequest, HoldsSettingsAndHistory) {
  ChatSettings settings;
  settings.model = "tiny";
  settings.system = "be \"brief\"";
  settings.thinking = false;
  settings.max_tokens = 7;
  ASSERT_TRUE(set_chat_field(settings, "temperature=0.5").ok());
  ASSERT_TRUE(set_chat_field(settings, "stop=[\"x\"]").ok());
  ASSERT_TRUE(set_chat_field(settings, "user=some one").ok());
  ASSERT_TRUE(set_chat_field(settings, "top_k=1").ok());
  ASSERT_TRUE(set_chat_field(settings, "top_k=").ok());

  EXPECT_EQ(chat_request_body(settings, {{"user", "hi\n"}, {"assistant", "ho"}, {"user", "?"}}),
            R"({"temperature":0.5,"stop":["x"],"user":"some one","model":"tiny","messages":[)"
            R"({"role":"system","content":"be \"brief\""},{"role":"user","content":"hi\n"},)"
            R"({"role":"assistant","content":"ho"},{"role":"user","content":"?"}],)"
            R"("stream":true,"stream_options":{"include_usage":true},"max_tokens":7,)"
            R"("chat_template_kwargs":{"thinking":false}})");
}

TEST(ChatRequest, RefusesFieldsThatAreNoneOrItsOwn) {
  ChatSettings settings;

  for (const char* text : {"", "=1", "temperature", "messages=[]", "stream=false", "model=x"}) {
    EXPECT_EQ(set_chat_field(settings, text).code(), Code::kInvalidArgument) << text;
  }
  EXPECT_EQ(to_json(settings.fields), "{}");
}

TEST(ChatRequest, FindsTheEndpointInEveryFormOfItsUrl) {
  const struct {
    const char* text;
    const char* path;
  } cases[] = {{"http://h:1", ""},          {"h:1", ""},     {"http://h:1/", ""},
               {"http://h:1/v1", ""},       {"h:1/v1/", ""}, {"http://h:1/some/v1", "/some"},
               {"http://h:1/some", "/some"}};

  for (const auto& each : cases) {
    const Result<http::Url> url = parse_chat_url(each.text);
    ASSERT_TRUE(url.ok()) << each.text;
    EXPECT_EQ(url->host, "h");
    EXPECT_EQ(url->port, 1);
    EXPECT_EQ(url->path, each.path) << each.text;
  }
  EXPECT_EQ(parse_chat_url("ftp://h").status().code(), Code::kInvalidArgument);
}

std::string delta(const char* key, const std::string& text) {
  Json member = Json::object();
  member.set(key, Json::string(text));
  return R"({"choices":[{"index":0,"delta":)" + to_json(member) + "}]}";
}

// What is shown of `content` in deltas of `piece` bytes, as "reasoning|answer".
std::string shown(const std::string& content, bool thinking, std::size_t piece) {
  std::string reasoning;
  std::string answer;
  ChatReply reply(thinking, [&](std::string_view text, bool is_reasoning) {
    (is_reasoning ? reasoning : answer) += text;
  });
  for (std::size_t at = 0; at < content.size(); at += piece) {
    EXPECT_TRUE(reply.read(delta("content", content.substr(at, piece))).ok());
  }
  reply.end();
  EXPECT_EQ(reply.content(), answer);
  return reasoning + "|" + answer;
}

TEST(ChatReply, FindsReasoningInContentHoweverItIsCut) {
  const struct {
    const char* content;
    bool thinking;
    const char* expected;
  } cases[] = {
      {"Paris", false, "|Paris"},
      {"2 </think> 3", false, "|2 </think> 3"},
      {"<th", false, "|<th"},
      {"<think>why</think>because", false, "why|because"},
      {"why</think>because", true, "why|because"},
      {"<think>why</think>because", true, "why|because"},
      {"a</b></thin></think>c</think>", true, "a</b></thin>|c</think>"},
      {"never ends </thi", true, "never ends </thi|"},
      {"<thi", true, "<thi|"},
      {"</think>at once", true, "|at once"},
  };

  for (const auto& each : cases) {
    for (std::size_t piece = 1; piece < 30; ++piece) {
      EXPECT_EQ(shown(each.content, each.thinking, piece), each.expected)
          << each.content << " in pieces of " << piece;
    }
  }
}

TEST(ChatReply, TakesReasoningThatTheServerSetsApart) {
  std::string reasoning;
  ChatReply reply(true, [&](std::string_view text, bool is_reasoning) {
    if (is_reasoning) reasoning += text;
  });

  EXPECT_TRUE(reply.read(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})").ok());
  EXPECT_TRUE(reply.read(delta("reasoning_content", "why")).ok());
  EXPECT_TRUE(reply.read(delta("content", "so </think>")).ok());
  EXPECT_TRUE(reply.read(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})").ok());
  EXPECT_TRUE(
      reply.read(R"({"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}})").ok());
  EXPECT_TRUE(reply.read("[DONE]").ok());
  reply.end();

  EXPECT_EQ(reasoning, "why");
  EXPECT_EQ(reply.content(), "so </think>");
  EXPECT_EQ(reply.finish_reason(), "stop");
  EXPECT_EQ(reply.prompt_tokens(), 3);
  EXPECT_EQ(reply.completion_tokens(), 5);
  EXPECT_TRUE(reply.done());
}

TEST(ChatReply, TellsAnError) {
  ChatReply reply(false, [](std::string_view, bool) {});

  EXPECT_EQ(reply.read(R"({"error":{"message":"too much"}})").message(), "too much");
  EXPECT_EQ(reply.read("oops").code(), Code::kUnavailable);
  EXPECT_EQ(reply.read("[]").code(), Code::kUnavailable);
  EXPECT_EQ(error_message(R"({"object":"error","message":"no such model"})"), "no such model");
  EXPECT_EQ(error_message(R"({"detail":"Not Found"})"), "Not Found");
  EXPECT_EQ(error_message("<html>"), "<html>");
}

// An endpoint that answers with the events that the test has for each question.
class FakeEndpoint {
 public:
  using Answer = std::function<void(std::shared_ptr<http::Exchange> exchange)>;

  explicit FakeEndpoint(Answer answer) : answer_(std::move(answer)) {
    Result<std::unique_ptr<http::Server>> server = http::Server::create(
        {}, [this](const http::Request& request, std::shared_ptr<http::Exchange> exchange) {
          handle(request, std::move(exchange));
        });
    server_ = std::move(server.value());
    server_->start();
  }
  std::string url() const { return "http://" + server_->address(); }
  std::vector<Json> bodies() const {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }
  std::string authorization() const {
    const std::lock_guard lock(mutex_);
    return authorization_;
  }

 private:
  void handle(const http::Request& request, std::shared_ptr<http::Exchange> exchange) {
    if (request.path == "/v1/models") {
      return exchange->respond({200, {}, R"({"object":"list","data":[{"id":"the-model"}]})"});
    }
    if (request.path != "/v1/chat/completions") return exchange->respond({404, {}, "nothing"});
    {
      const std::lock_guard lock(mutex_);
      bodies_.push_back(parse_json(request.body).value());
      const std::string* const value = request.headers.find("Authorization");
      authorization_ = value == nullptr ? "" : *value;
    }
    answer_(std::move(exchange));
  }

  Answer answer_;
  mutable std::mutex mutex_;
  std::vector<Json> bodies_;
  std::string authorization_;
  std::unique_ptr<http::Server> server_;  // last: its threads use the rest
};

void start_events(http::Exchange& exchange) {
  http::Response response;
  response.headers.add("Content-Type", "text/event-stream");
  exchange.start(std::move(response));
}

void answer_paris(const std::shared_ptr<http::Exchange>& exchange) {
  start_events(*exchange);
  exchange->write("data: " + delta("reasoning_content", "France?") + "\n\n");
  exchange->write("data: " + delta("content", "Pa") + "\n\ndata: ");
  exchange->write(delta("content", "ris") + "\n\n");
  exchange->write("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
  exchange->write("data: [DONE]\n\n");
  exchange->finish();
}

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

// `fathom chat` with `input` piped into it.
Outcome chat(const std::vector<std::string>& args, const std::string& input = "") {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe(ends), 0);
  EXPECT_EQ(::write(ends[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
  ::close(ends[1]);
  std::ostringstream out;
  std::ostringstream err;
  const int code = run_chat_from(ends[0], args, out, err);
  ::close(ends[0]);
  return {code, out.str(), err.str()};
}

TEST(Chat, AsksOnceAndPrintsTheAnswerAlone) {
  const FakeEndpoint endpoint(answer_paris);

  const Outcome outcome =
      chat({endpoint.url(), "--once", "capital?", "--thinking", "--max-tokens=9", "--api-key=k"});

  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "Paris\n");
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(endpoint.authorization(), "Bearer k");
  const std::string body = to_json(endpoint.bodies().at(0));
  EXPECT_THAT(body, HasSubstr(R"("model":"the-model")"));
  EXPECT_THAT(body, HasSubstr(R"([{"role":"user","content":"capital?"}])"));
  EXPECT_THAT(body, HasSubstr(R"("max_tokens":9)"));
  EXPECT_THAT(body, HasSubstr(R"("thinking":true)"));
}

TEST(Chat, ShowsThinkingWhereItIsAskedTo) {
  const FakeEndpoint endpoint(answer_paris);

  const Outcome outcome =
      chat({endpoint.url(), "--once", "capital?", "--thinking", "--show-thinking"});

  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "France?\nParis\n");
}

TEST(Chat, AnswersWhatIsPipedIntoItAndRemembers) {
  const FakeEndpoint endpoint(answer_paris);
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("chat-" + std::to_string(::getpid()));

  const Outcome outcome = chat({endpoint.url(), "--model", "mine"},
                               "one\n/set top_p=0.5\n/system short\ntwo \\\nlines\n/save " +
                                   file.string() + "\n\n/clear\n/nonsense\n/think on\nthree");

  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "Paris\nParis\nParis\n");
  EXPECT_THAT(outcome.err, HasSubstr("there is no /nonsense"));
  const std::vector<Json> bodies = endpoint.bodies();
  ASSERT_EQ(bodies.size(), 3U);
  EXPECT_EQ(to_json(*bodies[1].find("messages")),
            R"([{"role":"system","content":"short"},{"role":"user","content":"one"},)"
            R"({"role":"assistant","content":"Paris"},{"role":"user","content":"two \nlines"}])");
  EXPECT_EQ(bodies[1].find("top_p")->as_double(), 0.5);
  EXPECT_EQ(*bodies[1].find("model")->as_string(), "mine");
  EXPECT_EQ(to_json(*bodies[2].find("messages")),
            R"([{"role":"system","content":"short"},{"role":"user","content":"three"}])");
  EXPECT_EQ(to_json(*bodies[2].find("chat_template_kwargs")), R"({"thinking":true})");
  std::ifstream stream(file);
  std::string saved;
  std::getline(stream, saved);
  EXPECT_THAT(saved, HasSubstr(R"({"role":"user","content":"two \nlines"},{"role":"assistant")"));
  std::filesystem::remove(file);
}

TEST(Chat, TellsRefusalsAndGoesOn) {
  int questions = 0;
  const FakeEndpoint endpoint([&](const std::shared_ptr<http::Exchange>& exchange) {
    if (++questions > 1) return answer_paris(exchange);
    exchange->respond({400, {}, R"({"object":"error","message":"too long"})"});
  });

  const Outcome outcome = chat({endpoint.url()}, "one\ntwo\n");

  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "Paris\n");
  EXPECT_THAT(outcome.err, HasSubstr("the server answers 400: too long"));
  EXPECT_EQ(to_json(*endpoint.bodies().at(1).find("messages")),
            R"([{"role":"user","content":"two"}])");
}

TEST(Chat, FailsWhenAnAnswerBreaksOff) {
  const FakeEndpoint endpoint([](const std::shared_ptr<http::Exchange>& exchange) {
    start_events(*exchange);
    exchange->write("data: " + delta("content", "Pa") + "\n\n");
  });

  const Outcome outcome = chat({endpoint.url(), "--once", "?"});

  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "Pa\n");
  EXPECT_THAT(outcome.err, HasSubstr("in the middle"));
}

TEST(Chat, StopsAnAnswerOnInterruptAndGoesOn) {
  int questions = 0;
  std::shared_ptr<http::Exchange> endless;  // of the server's thread
  const FakeEndpoint endpoint([&](const std::shared_ptr<http::Exchange>& exchange) {
    if (++questions > 1) return answer_paris(exchange);
    endless = exchange;
    start_events(*endless);
    endless->write("data: " + delta("content", "on and on") + "\n\n");
    ::kill(::getpid(), SIGINT);  // the server's threads leave it to the chat's
  });

  const Outcome outcome = chat({endpoint.url()}, "one\ntwo\n");

  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.ends_with("Paris\n")) << outcome.out;
  EXPECT_THAT(outcome.err, HasSubstr("[stopped]"));
}

TEST(Chat, SaysHowToStartAServerWhenThereIsNone) {
  std::string url;
  {
    const FakeEndpoint endpoint(answer_paris);
    url = endpoint.url();
  }

  const Outcome outcome = chat({url, "--once", "?"});

  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("no server answers at " + url));
  EXPECT_THAT(outcome.err, HasSubstr("start one with 'fathom serve'"));
}

TEST(Chat, RefusesAWrongCommandLine) {
  EXPECT_EQ(chat({"ftp://h"}).code, 2);
  EXPECT_EQ(chat({"--max-tokens=-1"}).code, 2);
  EXPECT_EQ(chat({"--what"}).code, 2);
  const Outcome help = chat({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("--once"));
}

}  // namespace
}  // namespace fathom::app
