#include "app/chat.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <ostream>
#include <unistd.h>
#include <utility>
#include <vector>

#include "app/chat_reply.h"
#include "app/chat_request.h"
#include "app/chat_screen.h"
#include "app/command_line.h"
#include "base/clock.h"
#include "http/client.h"
#include "http/event_parser.h"

namespace fathom::app {

namespace {

constexpr const char* kHelp =
    "/clear                forget what was said\n"
    "/think on|off         let the model think before it answers\n"
    "/system TEXT          what the model is told first; without TEXT: nothing\n"
    "/set NAME=VALUE       a member of the request, such as temperature=0.7; NAME= removes it\n"
    "/save FILE            write the conversation as JSON\n"
    "/quit                 leave, as does Ctrl-D\n"
    "A line that ends in \\ goes on in the next one. Ctrl-C stops an answer.";

struct Options {
  std::string url = "http://127.0.0.1:30000";
  std::string model;
  std::string api_key;
  std::string ca_certs;
  std::string system;
  std::string once;
  std::int64_t max_tokens = 0;
  bool insecure = false;
  bool thinking = false;
  bool show_thinking = false;
};

// Set by Ctrl-C. The handler may only touch this.
std::atomic<bool> interrupted = false;  // NOLINT(*-avoid-non-const-global-variables)
static_assert(std::atomic<bool>::is_always_lock_free);

// Ctrl-C sets `interrupted` as long as this lives. Waiting for a line ends with it too.
class InterruptGuard {
 public:
  InterruptGuard() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &before_);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard() { sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

Status no_server(const Status& status, const http::Url& url) {
  return {status.code(), "no server answers at " + url.origin() + " (" + status.message() +
                             "); start one with 'fathom serve', or name another: 'fathom chat "
                             "http://HOST:PORT'"};
}

class Chat {
 public:
  Chat(const http::Url& url,
       ChatSettings settings,
       std::string api_key,
       const http::TlsTrust& trust,
       ChatScreen& screen)
      : url_(url),
        settings_(std::move(settings)),
        api_key_(std::move(api_key)),
        screen_(screen),
        client_(url, {.cancel = &interrupted, .trust = trust}) {}

  // Finds the server, and its model's name when none is given.
  Status connect();
  // Asks, shows the answer and remembers both.
  Status ask(const std::string& text);
  // Until the input ends or /quit. Whether every question was answered; tells why not.
  bool talk(LineReader& lines);

 private:
  enum class Next : std::uint8_t { kGoOn, kQuit };

  http::Request request(std::string method, std::string path, std::string body) const;
  Status receive(const http::Request& request, ChatReply& reply);
  Next command(const std::string& line);
  Status run_command(const std::string& name, const std::string& rest);
  Status save(const std::string& file) const;
  void tell_usage(const ChatReply& reply, std::int64_t start_ns, std::int64_t first_ns);

  http::Url url_;
  ChatSettings settings_;
  std::string api_key_;
  ChatScreen& screen_;
  http::Client client_;
  std::vector<ChatMessage> history_;
};

http::Request Chat::request(std::string method, std::string path, std::string body) const {
  http::Request made;
  made.method = std::move(method);
  made.target = std::move(path);
  made.body = std::move(body);
  made.headers.add("Accept", "application/json, text/event-stream");
  if (!made.body.empty()) made.headers.add("Content-Type", "application/json");
  if (!api_key_.empty()) made.headers.add("Authorization", "Bearer " + api_key_);
  return made;
}

Status Chat::connect() {
  const Result<http::Response> response = client_.send(request("GET", "/v1/models", ""));
  if (!response.ok()) return no_server(response.status(), url_);
  if (!settings_.model.empty()) return {};
  if (response->status != 200) {
    return Status(Code::kUnavailable, error_message(response->body))
        .in("/v1/models answers " + std::to_string(response->status));
  }
  const Result<Json> json = parse_json(response->body);
  const Json* const data = json.ok() ? json->find("data") : nullptr;
  const Json::Array* const models = data == nullptr ? nullptr : data->as_array();
  const Json* const id =
      models == nullptr || models->empty() ? nullptr : models->front().find("id");
  if (id == nullptr || id->as_string() == nullptr) {
    return {Code::kUnavailable, "/v1/models names no model; name one with --model"};
  }
  settings_.model = *id->as_string();
  return {};
}

// Hands everything of the answer to `reply`.
Status Chat::receive(const http::Request& request, ChatReply& reply) {
  http::EventParser events;
  std::string whole;  // of an answer that is no stream
  bool streamed = false;
  Status status;
  const auto on_head = [&](const http::Response& head) {
    const std::string* const type = head.headers.find("Content-Type");
    streamed = head.status == 200 && type != nullptr && type->starts_with("text/event-stream");
  };
  const auto on_event = [&](std::string_view data) {
    status = reply.read(data);
    return status.ok() && !reply.done();
  };
  const auto on_piece = [&](std::string_view piece) {
    if (streamed) return events.push(piece, on_event) || reply.done();
    whole += piece;
    return true;
  };
  const Result<http::Response> response = client_.stream(request, on_head, on_piece);
  FATHOM_RETURN_IF_ERROR(status);
  FATHOM_RETURN_IF_ERROR(response.status());
  if (response->status != 200) {
    return Status(Code::kUnavailable, error_message(whole))
        .in("the server answers " + std::to_string(response->status));
  }
  return streamed ? Status() : reply.read(whole);
}

Status Chat::ask(const std::string& text) {
  interrupted = false;
  const std::int64_t start_ns = now_ns();
  std::int64_t first_ns = 0;
  history_.push_back({"user", text});
  ChatReply reply(settings_.thinking.value_or(false), [&](std::string_view piece, bool reasoning) {
    if (first_ns == 0) first_ns = now_ns();
    screen_.text(piece, reasoning);
  });
  const std::string body = chat_request_body(settings_, history_);
  const Status status = receive(request("POST", "/v1/chat/completions", body), reply);
  reply.end();
  screen_.end_answer();
  const bool stopped = status.code() == Code::kCancelled;
  if (reply.content().empty() && !status.ok()) {
    history_.pop_back();  // so that it can be asked again
  } else {
    history_.push_back({"assistant", reply.content()});
  }
  if (stopped) screen_.remark("[stopped]");
  if (status.ok() && reply.finish_reason() == "length") {
    screen_.remark("[the limit of tokens ended the answer]");
  }
  if (status.ok() && reply.finish_reason() == "abort") {
    return {Code::kUnavailable, "the server gave the answer up"};
  }
  if (status.ok()) tell_usage(reply, start_ns, first_ns);
  return stopped ? Status() : status;
}

void Chat::tell_usage(const ChatReply& reply, std::int64_t start_ns, std::int64_t first_ns) {
  if (!screen_.terminal() || !reply.completion_tokens() || first_ns == 0) return;
  const std::int64_t tokens = *reply.completion_tokens();
  const double first_s = static_cast<double>(first_ns - start_ns) * 1e-9;
  const double rest_s = static_cast<double>(now_ns() - first_ns) * 1e-9;
  std::string line = "[" + std::to_string(reply.prompt_tokens().value_or(0)) + " + " +
                     std::to_string(tokens) + " tokens, the first after ";
  char number[64];
  std::snprintf(number, sizeof number, "%.2f s", first_s);
  line += number;
  if (tokens > 1 && rest_s > 0) {
    std::snprintf(number, sizeof number, ", %.1f tokens/s",
                  static_cast<double>(tokens - 1) / rest_s);
    line += number;
  }
  screen_.remark(line + "]");
}

bool Chat::talk(LineReader& lines) {
  std::string line;
  bool all_answered = true;
  while (true) {
    screen_.prompt();
    interrupted = false;
    const LineReader::Outcome outcome = lines.read(line);
    if (outcome == LineReader::Outcome::kEnd) {
      if (screen_.terminal()) screen_.remark("");  // the shell's prompt begins a line
      return all_answered;
    }
    if (outcome == LineReader::Outcome::kInterrupted) {
      screen_.remark("\n/quit or Ctrl-D leaves");
      continue;
    }
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (line.starts_with('/')) {
      if (command(line) == Next::kQuit) return all_answered;
      continue;
    }
    const Status status = ask(line);
    if (status.ok()) continue;
    all_answered = false;
    screen_.remark("fathom chat: " + status.message());
  }
}

Chat::Next Chat::command(const std::string& line) {
  const std::size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  rest.erase(0, rest.find_first_not_of(' '));
  rest.erase(rest.find_last_not_of(' ') + 1);
  if (name == "/quit" || name == "/exit") return Next::kQuit;
  const Status status = run_command(name, rest);
  if (!status.ok()) screen_.remark(status.message());
  return Next::kGoOn;
}

Status Chat::run_command(const std::string& name, const std::string& rest) {
  if (name == "/help") {
    screen_.remark(kHelp);
  } else if (name == "/clear") {
    history_.clear();
  } else if (name == "/system") {
    settings_.system = rest;
  } else if (name == "/think") {
    if (rest != "on" && rest != "off") return invalid_argument("expected /think on or /think off");
    settings_.thinking = rest == "on";
  } else if (name == "/set") {
    if (!rest.empty()) return set_chat_field(settings_, rest);
    screen_.remark(to_json(settings_.fields));
  } else if (name == "/save") {
    return save(rest);
  } else {
    return invalid_argument("there is no " + name + "; /help lists the commands");
  }
  return {};
}

Status Chat::save(const std::string& file) const {
  if (file.empty()) return invalid_argument("expected /save FILE");
  std::ofstream stream(file, std::ios::binary);
  // The request that would be sent now: it can be read, and sent again.
  stream << chat_request_body(settings_, history_) << "\n";
  stream.close();
  if (!stream) return {Code::kUnavailable, "'" + file + "' cannot be written"};
  screen_.remark("saved to " + file);
  return {};
}

// Empty when it is not set.
std::string environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): no threads yet
  return value == nullptr ? "" : value;
}

// kInvalidArgument is a usage error.
Status run(int input, const Options& options, std::ostream& out, std::ostream& err) {
  const Result<http::Url> url = parse_chat_url(options.url);
  FATHOM_RETURN_IF_ERROR(url.status());
  if (options.max_tokens < 0) {
    return invalid_argument("--max-tokens is " + std::to_string(options.max_tokens) +
                            ", expected at least 1, or 0 for the server's own limit");
  }
  ChatSettings settings;
  settings.model = options.model;
  settings.system = options.system;
  settings.max_tokens = options.max_tokens;
  if (options.thinking) settings.thinking = true;

  const bool terminal = options.once.empty() && isatty(input) == 1 && isatty(STDOUT_FILENO) == 1;
  ChatScreen screen(out, err,
                    {.terminal = terminal,
                     .colours = isatty(STDOUT_FILENO) == 1 && environment("NO_COLOR").empty(),
                     .reasoning = terminal || options.show_thinking});
  const std::string key = options.api_key.empty() ? environment("OPENAI_API_KEY") : options.api_key;
  const InterruptGuard guard;
  const http::TlsTrust trust{.authorities = options.ca_certs, .verify = !options.insecure};
  Chat chat(*url, std::move(settings), key, trust, screen);
  FATHOM_RETURN_IF_ERROR(chat.connect());
  if (!options.once.empty()) {
    FATHOM_RETURN_IF_ERROR(chat.ask(options.once));
    return interrupted ? Status(Code::kCancelled, "stopped") : Status();
  }
  if (terminal) screen.remark("/help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.");
  LineReader lines(input);
  return chat.talk(lines) ? Status()
                          : Status(Code::kUnavailable, "not every question was answered");
}

}  // namespace

int run_chat_from(int input,
                  std::span<const std::string> args,
                  std::ostream& out,
                  std::ostream& err) {
  Options options;
  CommandLine command_line("chat", "Talks to an OpenAI endpoint on the terminal.");
  command_line.positional("URL", options.url, "the server, http://127.0.0.1:30000 when left out");
  command_line.option("--model", options.model, "by default the first that the server names");
  command_line.option("--api-key", options.api_key, "by default $OPENAI_API_KEY");
  command_line.option("--ca-certs", options.ca_certs,
                      "PEM file of the authorities that an https server's certificate may come "
                      "from, by default the system's");
  command_line.flag("--insecure", options.insecure, "believe any certificate");
  command_line.option("--system", options.system, "what the model is told first");
  command_line.option("--once", options.once, "ask this, print the answer alone, and leave");
  command_line.option("--max-tokens", options.max_tokens,
                      "of an answer; 0: the server's own limit");
  command_line.flag("--thinking", options.thinking, "let the model think before it answers");
  command_line.flag("--show-thinking", options.show_thinking,
                    "show it, also with --once or where the output is no terminal");
  if (const auto code = command_line.parse(args, out, err)) return *code;
  const Status status = run(input, options, out, err);
  if (status.ok()) return 0;
  err << "fathom chat: " << status.message() << "\n";
  return status.code() == Code::kInvalidArgument ? 2 : 1;
}

int run_chat(std::span<const std::string> args, std::ostream& out, std::ostream& err) {
  return run_chat_from(STDIN_FILENO, args, out, err);
}

}  // namespace fathom::app
