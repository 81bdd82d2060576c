#include "app/batch.h"

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <iomanip>
#include <mutex>
#include <ostream>
#include <sstream>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "api/batch_files.h"
#include "api/batch_line.h"
#include "app/batch_sender.h"
#include "app/chat_request.h"
#include "app/command_line.h"
#include "base/clock.h"

namespace fathom::app {

namespace {

struct Options {
  std::string input;
  std::string output;
  std::string url = "http://127.0.0.1:30000";
  std::string api_key;
  std::int64_t concurrency = 0;
  std::int64_t timeout_s = 3600;
  std::int64_t retries = 3;
  std::int64_t give_up_s = 600;
  bool ordered = false;
  bool retry_failed = false;
};

// How often Ctrl-C was pressed. The handler may only touch this.
std::atomic<int> interrupts = 0;  // NOLINT(*-avoid-non-const-global-variables)
static_assert(std::atomic<int>::is_always_lock_free);

// Ctrl-C and SIGTERM count in `interrupts` as long as this lives.
class InterruptGuard {
 public:
  InterruptGuard() {
    interrupts = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { ++interrupts; };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &interrupt_before_);
    sigaction(SIGTERM, &action, &terminate_before_);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard() {
    sigaction(SIGINT, &interrupt_before_, nullptr);
    sigaction(SIGTERM, &terminate_before_, nullptr);
  }

 private:
  struct sigaction interrupt_before_ {};
  struct sigaction terminate_before_ {};
};

// Lines of the input that hold something.
Result<std::int64_t> count_lines(const std::string& path) {
  Result<api::LineFile> file = api::LineFile::open(path);
  FATHOM_RETURN_IF_ERROR(file.status());
  std::int64_t lines = 0;
  while (true) {
    const auto line = file->next();
    FATHOM_RETURN_IF_ERROR(line.status());
    if (!line->has_value()) return lines;
    if ((*line)->find_first_not_of(" \t\r") != std::string_view::npos) ++lines;
  }
}

// One run over a file: its senders take lines in turn.
class Batch {
 public:
  Batch(api::LineFile input, api::ResultFile& output, const BatchServer& server, std::int64_t lines)
      : input_(std::move(input)), output_(output), server_(server), lines_(lines) {
    signals_.last_answer_ns = now_ns();
    failed_ = output_.answered().failed;
  }

  // Until all lines have a result, `interrupts` stops it, or something fails for good. Tells how
  // far it is on `err`, on a terminal in place.
  Status run(std::int64_t concurrency, bool ordered, std::ostream& err);

  std::int64_t done() const { return done_; }
  std::int64_t failed() const { return failed_; }

 private:
  struct Line {
    std::int64_t index = 0;  // among those that are sent
    std::int64_t number = 0;
    std::string custom_id;
    Result<api::BatchLine> request;
  };

  void send_lines();
  // The next line without a result; nothing when there is none or the run stops.
  std::optional<Line> take();
  void answer(const Line& line, const std::string& result, bool succeeded, std::int64_t tokens);
  void stop(const Status& why);
  std::string progress(double seconds) const;

  api::LineFile input_;
  api::ResultFile& output_;
  const BatchServer& server_;
  const std::int64_t lines_;
  BatchSignals signals_;

  std::mutex mutex_;  // guards all below, and both files
  std::condition_variable changed_;
  std::unordered_set<std::string> seen_;
  std::int64_t taken_ = 0;
  std::int64_t done_ = 0;  // lines with a result, of earlier runs too
  std::int64_t failed_ = 0;
  std::int64_t answered_now_ = 0;
  std::int64_t tokens_ = 0;
  std::size_t window_ = 0;  // results that may wait for earlier ones
  std::size_t senders_ = 0;
  bool stopping_ = false;
  Status status_;
};

std::optional<Batch::Line> Batch::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || output_.waiting() < window_; });
  while (!stopping_) {
    const auto text = input_.next();
    if (!text.ok()) {
      status_ = text.status();
      stopping_ = true;
    }
    if (!text.ok() || !text->has_value()) break;
    if ((*text)->find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string id;
    Result<api::BatchLine> request = api::parse_batch_line(**text, id);
    const bool again = !id.empty() && !seen_.insert(id).second;
    // A second line of one name: named by its number, so that it does not pass for the first.
    if (again) {
      request = invalid_argument("custom_id: '" + id + "' belongs to an earlier line already");
      id.clear();
    }
    if (output_.answered().contains(id, input_.number())) {
      ++done_;
      continue;
    }
    return Line{taken_++, input_.number(), std::move(id), std::move(request)};
  }
  return std::nullopt;
}

void Batch::answer(const Line& line,
                   const std::string& result,
                   bool succeeded,
                   std::int64_t tokens) {
  const std::lock_guard lock(mutex_);
  const Status status = output_.add(line.index, result);
  if (!status.ok() && status_.ok()) {
    status_ = status;
    stopping_ = true;
    signals_.cancel = true;
  }
  ++done_;
  ++answered_now_;
  if (!succeeded) ++failed_;
  tokens_ += tokens;
  changed_.notify_all();
}

void Batch::stop(const Status& why) {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  if (why.code() != Code::kCancelled && status_.ok()) {
    status_ = why;
    signals_.cancel = true;
  }
  changed_.notify_all();
}

void Batch::send_lines() {
  BatchSender sender(server_, signals_);
  while (const auto line = take()) {
    const std::string id = "batch_req_" + std::to_string(line->number);
    if (!line->request.ok()) {
      answer(*line,
             api::batch_error_line(id, line->custom_id, line->number, "invalid_line",
                                   line->request.status().message()),
             false, 0);
      continue;
    }
    const Result<http::Response> response = sender.send(*line->request);
    if (response.ok()) {
      const std::string* const request_id = response->headers.find("x-request-id");
      std::string result =
          api::batch_answer_line(id, line->custom_id, response->status,
                                 request_id == nullptr ? "" : *request_id, response->body);
      const Result<api::BatchResult> read = api::parse_batch_result(result);
      answer(*line, result, response->status == 200, read.ok() ? read->completion_tokens : 0);
    } else if (response.status().code() == Code::kDeadlineExceeded) {
      answer(*line,
             api::batch_error_line(id, line->custom_id, line->number, "timeout",
                                   response.status().message()),
             false, 0);
    } else {
      stop(response.status());
    }
  }
  const std::lock_guard lock(mutex_);
  --senders_;
  changed_.notify_all();
}

std::string Batch::progress(double seconds) const {
  constexpr std::int64_t kWidth = 24;
  std::ostringstream text;
  // Somebody may append to the input meanwhile.
  const std::int64_t filled = done_ >= lines_ ? kWidth : kWidth * done_ / lines_;
  text << '[' << std::string(static_cast<std::size_t>(filled), '#')
       << std::string(static_cast<std::size_t>(kWidth - filled), '.') << "] " << done_ << "/"
       << lines_;
  if (failed_ > 0) text << " (" << failed_ << " failed)";
  if (seconds <= 0) return text.str();
  const double rate = static_cast<double>(answered_now_) / seconds;
  text << std::fixed << std::setprecision(1) << "  " << rate << " lines/s, "
       << static_cast<double>(tokens_) / seconds << " tokens/s";
  if (rate > 0 && done_ < lines_) {
    const auto left = static_cast<std::int64_t>(static_cast<double>(lines_ - done_) / rate);
    text << ", " << left / 60 << ":" << std::setw(2) << std::setfill('0') << left % 60 << " left";
  }
  return text.str();
}

Status Batch::run(std::int64_t concurrency, bool ordered, std::ostream& err) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const auto every = terminal ? std::chrono::milliseconds(250) : std::chrono::milliseconds(10000);
  const std::int64_t start = now_ns();
  const auto seconds = [start] { return static_cast<double>(now_ns() - start) * 1e-9; };
  senders_ = static_cast<std::size_t>(concurrency);
  window_ = ordered ? senders_ * 4 : 1;
  std::vector<std::thread> threads;
  threads.reserve(senders_);
  for (std::int64_t i = 0; i < concurrency; ++i) threads.emplace_back([this] { send_lines(); });

  std::unique_lock lock(mutex_);
  int heard = 0;
  auto told = std::chrono::steady_clock::now();
  while (senders_ > 0) {
    // A signal cannot wake this; a tenth of a second is soon enough.
    changed_.wait_for(lock, std::chrono::milliseconds(100));
    if (interrupts > heard) {
      heard = interrupts;
      stopping_ = true;
      if (heard > 1) signals_.cancel = true;
      err << (terminal ? "\n" : "")
          << (heard > 1 ? "breaking off"
                        : "waiting for what is under way; Ctrl-C again breaks it off")
          << std::endl;
      changed_.notify_all();
    }
    if (std::chrono::steady_clock::now() - told < every) continue;
    told = std::chrono::steady_clock::now();
    err << (terminal ? "\r\033[K" : "") << progress(seconds()) << (terminal ? "" : "\n")
        << std::flush;
  }
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
  err << (terminal ? "\r\033[K" : "") << progress(seconds()) << std::endl;
  FATHOM_RETURN_IF_ERROR(status_);
  return output_.close();
}

Status at_least(std::string_view name, std::int64_t value, std::int64_t least) {
  if (value >= least) return {};
  return invalid_argument(std::string(name) + " is " + std::to_string(value) +
                          ", expected at least " + std::to_string(least));
}

Result<int> run(const Options& options, std::ostream& err) {
  if (options.input.empty() || options.output.empty()) {
    return invalid_argument("expected two files: fathom batch IN.jsonl OUT.jsonl");
  }
  FATHOM_RETURN_IF_ERROR(at_least("--concurrency", options.concurrency, 0));
  FATHOM_RETURN_IF_ERROR(at_least("--timeout", options.timeout_s, 1));
  FATHOM_RETURN_IF_ERROR(at_least("--retries", options.retries, 0));
  FATHOM_RETURN_IF_ERROR(at_least("--give-up-after", options.give_up_s, 1));
  const Result<http::Url> url = parse_chat_url(options.url);
  FATHOM_RETURN_IF_ERROR(url.status());
  BatchServer server;
  server.url = *url;
  server.api_key = options.api_key;
  if (const char* const key = std::getenv("OPENAI_API_KEY");  // NOLINT(concurrency-mt-unsafe)
      key != nullptr && server.api_key.empty()) {
    server.api_key = key;
  }
  server.timeout_s = options.timeout_s;
  server.retries = options.retries;
  server.give_up_s = options.give_up_s;

  const Result<std::int64_t> lines = count_lines(options.input);
  FATHOM_RETURN_IF_ERROR(lines.status());
  Result<api::LineFile> input = api::LineFile::open(options.input);
  FATHOM_RETURN_IF_ERROR(input.status());
  Result<api::ResultFile> output = api::ResultFile::open(
      options.output, {.ordered = options.ordered, .drop_failed = options.retry_failed});
  FATHOM_RETURN_IF_ERROR(output.status());
  const std::int64_t answered = output->answered().succeeded + output->answered().failed;
  if (answered > 0) {
    err << options.output << " answers " << answered << " lines already; going on" << std::endl;
  }
  if (const std::int64_t again = output->answered().dropped; again > 0) {
    err << again << " results that were errors are dropped; their lines are sent again"
        << std::endl;
  }

  std::int64_t concurrency = options.concurrency;
  if (concurrency == 0) {
    const Result<std::int64_t> found = batch_concurrency(server);
    if (!found.ok()) {
      return Status(found.status().code(),
                    found.status().code() == Code::kInvalidArgument
                        ? found.status().message()
                        : "no server answers at http://" + url->authority() + " (" +
                              found.status().message() +
                              "); start one with 'fathom serve', or name another with --url");
    }
    concurrency = *found;
  }
  const InterruptGuard guard;
  Batch batch(std::move(*input), *output, server, *lines);
  FATHOM_RETURN_IF_ERROR(
      batch.run(std::min(concurrency, std::max<std::int64_t>(1, *lines)), options.ordered, err));
  if (batch.done() < *lines && interrupts > 0) {
    err << "fathom batch: interrupted; the same command goes on" << std::endl;
    return 130;
  }
  if (batch.failed() > 0) {
    err << "fathom batch: " << batch.failed() << " of " << *lines << " lines failed; see "
        << options.output << std::endl;
  }
  return batch.failed() > 0 ? 1 : 0;
}

}  // namespace

int run_batch(std::span<const std::string> args, std::ostream& out, std::ostream& err) {
  Options options;
  CommandLine command_line("batch",
                           "Sends the lines of a file to a server, as many at once as it "
                           "runs; goes on where an interrupted run ended.");
  command_line.positional("IN", options.input, "JSON lines as for OpenAI's /v1/batches");
  command_line.positional("OUT", options.output,
                          "where the answers go; one that exists is gone on");
  command_line.option("--url", options.url, "the server, http://127.0.0.1:30000 when left out");
  command_line.option("--api-key", options.api_key, "by default $OPENAI_API_KEY");
  command_line.option("--concurrency", options.concurrency,
                      "requests at once; 0: what the server runs and a quarter more");
  command_line.option("--timeout", options.timeout_s, "seconds without a byte of an answer");
  command_line.option("--retries", options.retries, "after answers of 500, 502 and 504");
  command_line.option("--give-up-after", options.give_up_s,
                      "seconds in which a server that is full or away answers nothing");
  command_line.flag("--ordered", options.ordered, "answers in the order of the lines");
  command_line.flag("--retry-failed", options.retry_failed,
                    "send those lines again whose result in OUT is an error");
  if (const auto code = command_line.parse(args, out, err)) return *code;
  const Result<int> code = run(options, err);
  if (code.ok()) return *code;
  err << "fathom batch: " << code.status().message() << "\n";
  return code.status().code() == Code::kInvalidArgument ? 2 : 1;
}

}  // namespace fathom::app
