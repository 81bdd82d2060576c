#include "api/batches.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "api/batch_exchange.h"
#include "api/batch_files.h"
#include "api/batch_line.h"
#include "base/clock.h"
#include "base/log.h"

namespace fathom::api {

namespace {

constexpr std::string_view kPrefix = "batch_";
constexpr std::size_t kMaxErrors = 100;      // told of one input file
constexpr std::size_t kMaxMetadata = 16;     // as OpenAI has it
constexpr std::int64_t kRetryPauseMs = 250;  // after a line that is to be sent again
constexpr int kRetries = 3;                  // of a line on which the server failed
constexpr std::int64_t kLookMs = 1000;       // how late a batch notices that it has expired
constexpr std::int64_t kDaySeconds = 86400;

constexpr std::array<std::string_view, 8> kTimes = {
    "created_at", "in_progress_at", "finalizing_at", "completed_at",
    "failed_at",  "expired_at",     "cancelling_at", "cancelled_at"};

std::int64_t seconds_now() { return static_cast<std::int64_t>(unix_time_s()); }

bool is_over(std::string_view status) {
  return status == "completed" || status == "failed" || status == "expired" ||
         status == "cancelled";
}

// The server takes no more just now.
bool is_refusal(const http::Response& response) {
  return response.status == 429 || response.status == 503;
}

// The server failed on it: another try may help.
bool is_failure(const http::Response& response) {
  return response.status == 500 || response.status == 502 || response.status == 504;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json::string(text); }

std::string text_of(const Json& json, std::string_view name) {
  const Json* const member = json.find_set(name);
  return member == nullptr || !member->is_string() ? "" : *member->as_string();
}

Status check_metadata(const Json& metadata) {
  if (!metadata.is_object()) {
    return invalid_argument("metadata: " + wrong_json_kind("an object", metadata));
  }
  if (metadata.as_object()->size() > kMaxMetadata) {
    return invalid_argument("metadata: has more than " + std::to_string(kMaxMetadata) + " members");
  }
  for (const JsonMember& member : *metadata.as_object()) {
    if (!member.value.is_string()) {
      return invalid_argument("metadata." + member.key + ": " +
                              wrong_json_kind("a string", member.value));
    }
  }
  return {};
}

}  // namespace

struct Batches::Batch {
  std::string id;
  std::uint64_t order = 0;  // of creation
  std::string endpoint;
  std::string input_file;
  std::string output_file;
  std::string error_file;
  std::string completion_window = "24h";
  std::string status = "validating";
  std::map<std::string, std::int64_t, std::less<>> times;
  std::int64_t total = 0;
  std::int64_t completed = 0;
  std::int64_t failed = 0;
  Json metadata;
  Json errors;
  std::atomic<bool> cancelled = false;
  std::shared_ptr<BatchAnswers> answers = std::make_shared<BatchAnswers>();

  std::int64_t expires_at() const { return times.at("created_at") + kDaySeconds; }
  Json to_json() const;
  static std::shared_ptr<Batch> from_json(const std::string& id, const Json& json);
};

Json Batches::Batch::to_json() const {
  Json json = Json::object();
  json.set("id", Json::string(id));
  json.set("object", Json::string("batch"));
  json.set("endpoint", Json::string(endpoint));
  json.set("errors", errors);
  json.set("input_file_id", Json::string(input_file));
  json.set("completion_window", Json::string(completion_window));
  json.set("status", Json::string(status));
  json.set("output_file_id", text_or_null(output_file));
  json.set("error_file_id", text_or_null(error_file));
  for (const std::string_view name : kTimes) {
    const auto time = times.find(name);
    json.set(name, time == times.end() ? Json() : Json::integer(time->second));
    if (name == "created_at") json.set("expires_at", Json::integer(expires_at()));
  }
  Json counts = Json::object();
  counts.set("total", Json::integer(total));
  counts.set("completed", Json::integer(completed));
  counts.set("failed", Json::integer(failed));
  json.set("request_counts", std::move(counts));
  json.set("metadata", metadata);
  return json;
}

std::shared_ptr<Batches::Batch> Batches::Batch::from_json(const std::string& id, const Json& json) {
  auto batch = std::make_shared<Batch>();
  batch->id = id;
  batch->endpoint = text_of(json, "endpoint");
  batch->input_file = text_of(json, "input_file_id");
  batch->output_file = text_of(json, "output_file_id");
  batch->error_file = text_of(json, "error_file_id");
  batch->completion_window = text_of(json, "completion_window");
  batch->status = text_of(json, "status");
  for (const std::string_view name : kTimes) {
    const Json* const time = json.find_set(name);
    if (time != nullptr) batch->times[std::string(name)] = time->as_int64().value_or(0);
  }
  const Json* const counts = json.find_set("request_counts");
  const auto count = [counts](std::string_view name) {
    const Json* const member = counts == nullptr ? nullptr : counts->find_set(name);
    return member == nullptr ? 0 : member->as_int64().value_or(0);
  };
  batch->total = count("total");
  batch->completed = count("completed");
  batch->failed = count("failed");
  if (const Json* const metadata = json.find_set("metadata")) batch->metadata = *metadata;
  if (const Json* const errors = json.find_set("errors")) batch->errors = *errors;
  batch->cancelled = batch->status == "cancelling";
  const bool whole = !batch->endpoint.empty() && !batch->input_file.empty() &&
                     !batch->status.empty() && batch->times.contains("created_at");
  return whole ? batch : nullptr;
}

Batches::Batches(FileStore& files, Send send, const BatchOptions& options)
    : files_(files), send_(std::move(send)), options_(options) {}

Batches::~Batches() {
  stop();
  if (worker_.joinable()) worker_.join();
}

void Batches::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (const auto& [id, batch] : batches_) batch->answers->interrupt();
  changed_.notify_all();
}

Status Batches::start() {
  FATHOM_RETURN_IF_ERROR(files_.open());
  const Result<std::map<std::string, Json>> records = files_.records(kPrefix);
  FATHOM_RETURN_IF_ERROR(records.status());
  const std::lock_guard lock(mutex_);
  if (std::exchange(loaded_, true)) return {};
  std::vector<std::shared_ptr<Batch>> found;
  for (const auto& [id, json] : *records) {
    if (auto batch = Batch::from_json(id, json)) {
      found.push_back(std::move(batch));
    } else {
      log_warning("record " + id + " is no batch; it is left out");
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a->times["created_at"] < b->times["created_at"];
  });
  bool unfinished = false;
  for (auto& batch : found) {
    batch->order = created_++;
    unfinished = unfinished || !is_over(batch->status);
    batches_.emplace(batch->id, batch);
  }
  if (unfinished && !worker_.joinable()) worker_ = std::thread([this] { work(); });
  return {};
}

Result<Json> Batches::create(const Json& request) {
  FATHOM_RETURN_IF_ERROR(start());
  auto batch = std::make_shared<Batch>();
  batch->input_file = text_of(request, "input_file_id");
  batch->endpoint = text_of(request, "endpoint");
  if (const std::string window = text_of(request, "completion_window"); !window.empty()) {
    batch->completion_window = window;
  }
  if (!is_batch_url(batch->endpoint)) {
    return invalid_argument("endpoint: was '" + batch->endpoint + "', expected one of " +
                            batch_urls());
  }
  if (batch->completion_window != "24h") {
    return invalid_argument("completion_window: was '" + batch->completion_window +
                            "', expected '24h'");
  }
  if (const Json* const metadata = request.find_set("metadata")) {
    FATHOM_RETURN_IF_ERROR(check_metadata(*metadata));
    batch->metadata = *metadata;
  }
  const Result<std::optional<StoredFile>> input = files_.find(batch->input_file);
  FATHOM_RETURN_IF_ERROR(input.status());
  if (!input->has_value()) {
    return invalid_argument("input_file_id: there is no file '" + batch->input_file + "'");
  }
  batch->id = random_name(kPrefix);
  batch->times["created_at"] = seconds_now();

  const std::lock_guard lock(mutex_);
  FATHOM_RETURN_IF_ERROR(make_room());
  FATHOM_RETURN_IF_ERROR(keep(*batch));
  batch->order = created_++;
  batches_.emplace(batch->id, batch);
  if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
  changed_.notify_all();
  return batch->to_json();
}

// Requires the mutex.
Status Batches::make_room() {
  while (batches_.size() >= options_.max_batches) {
    auto oldest = batches_.end();
    for (auto each = batches_.begin(); each != batches_.end(); ++each) {
      if (!is_over(each->second->status)) continue;
      if (oldest == batches_.end() || each->second->order < oldest->second->order) oldest = each;
    }
    if (oldest == batches_.end()) {
      return {Code::kResourceExhausted, "there are " + std::to_string(batches_.size()) +
                                            " unfinished batches, expected fewer than " +
                                            std::to_string(options_.max_batches)};
    }
    FATHOM_RETURN_IF_ERROR(files_.remove_record(oldest->first));
    batches_.erase(oldest);
  }
  return {};
}

std::optional<Json> Batches::find(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = batches_.find(id);
  if (found == batches_.end()) return std::nullopt;
  return found->second->to_json();
}

std::optional<Json> Batches::cancel(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = batches_.find(id);
  if (found == batches_.end()) return std::nullopt;
  Batch& batch = *found->second;
  if (!is_over(batch.status) && !batch.cancelled.exchange(true)) {
    set_status(batch, "cancelling", "cancelling_at");
    // One that waits for its turn has nothing under way.
    if (running_ != &batch) set_status(batch, "cancelled", "cancelled_at");
    batch.answers->interrupt();
  }
  return batch.to_json();
}

std::vector<Json> Batches::list(const std::string& after, std::size_t limit) {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Batch>> all;
  for (const auto& [id, batch] : batches_) all.push_back(batch);
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a->order > b->order; });
  auto from = all.begin();
  if (!after.empty()) {
    from =
        std::find_if(all.begin(), all.end(), [&](const auto& each) { return each->id == after; });
    if (from != all.end()) ++from;
  }
  std::vector<Json> told;
  for (; from != all.end() && told.size() < limit; ++from) told.push_back((*from)->to_json());
  return told;
}

Status Batches::keep(const Batch& batch) { return files_.put_record(batch.id, batch.to_json()); }

void Batches::set_status(Batch& batch, std::string_view status, std::string_view time_name) {
  batch.status = status;
  batch.times[std::string(time_name)] = seconds_now();
  const Status kept = keep(batch);
  if (!kept.ok()) log_error(batch.id + ": " + kept.message());
}

std::shared_ptr<Batches::Batch> Batches::next() {
  std::shared_ptr<Batch> oldest;
  for (const auto& [id, batch] : batches_) {
    if (is_over(batch->status)) continue;
    if (oldest == nullptr || batch->order < oldest->order) oldest = batch;
  }
  return oldest;
}

void Batches::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::shared_ptr<Batch> batch = next();
    if (batch == nullptr) {
      changed_.wait(lock);
      continue;
    }
    running_ = batch.get();
    lock.unlock();
    run(batch);
    lock.lock();
    running_ = nullptr;
  }
}

// One batch on its way: reads lines, keeps requests in flight, writes answers. On the worker's
// thread.
class Batches::Run {
 public:
  Run(Batches& owner, Batch& batch) : owner_(owner), batch_(batch) {}

  // Until all lines are answered, the batch is cancelled or expired, or the server ends.
  Status run();

 private:
  struct Waiting {
    std::int64_t index = 0;
    BatchLine line;
    int failures = 0;  // of the server on it
  };
  struct Sent {
    Waiting waiting;
    std::shared_ptr<BatchExchange> exchange;
  };

  bool over() const;
  // Sends as many lines as may be in flight.
  Status fill();
  void send(Waiting waiting);
  Status take(const BatchAnswers::Answer& answer);
  Status write(const BatchLine& line, const http::Response& response);

  Batches& owner_;
  Batch& batch_;
  std::optional<LineFile> input_;
  std::optional<ResultFile> output_;
  std::optional<ResultFile> errors_;
  std::unordered_map<std::int64_t, Sent> in_flight_;
  std::vector<Waiting> again_;  // lines that are to be sent again
  bool pausing_ = false;        // one came to be: no more are sent for a while
  std::int64_t written_ = 0;
  bool input_ended_ = false;
};

bool Batches::Run::over() const {
  const std::lock_guard lock(owner_.mutex_);
  return owner_.stopping_ || batch_.cancelled || seconds_now() >= batch_.expires_at();
}

void Batches::Run::send(Waiting waiting) {
  const std::int64_t index = waiting.index;
  const BatchLine& line = waiting.line;
  auto exchange = std::make_shared<BatchExchange>(index, batch_.answers);
  http::Request request;
  request.method = "POST";
  request.target = request.path = line.url;
  request.headers.add("Content-Type", "application/json");
  request.body = line.body;
  request.peer = batch_.id;
  in_flight_.emplace(index, Sent{std::move(waiting), exchange});
  owner_.send_(std::move(request), exchange);
}

Status Batches::Run::fill() {
  while (!again_.empty() && in_flight_.size() < owner_.options_.concurrency) {
    Waiting waiting = std::move(again_.back());
    again_.pop_back();
    send(std::move(waiting));
  }
  while (!input_ended_ && in_flight_.size() < owner_.options_.concurrency) {
    const auto text = input_->next();
    FATHOM_RETURN_IF_ERROR(text.status());
    if (!text->has_value()) {
      input_ended_ = true;
      break;
    }
    if ((*text)->find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string id;
    Result<BatchLine> line = parse_batch_line(**text, id);
    FATHOM_RETURN_IF_ERROR(line.status());  // it was valid before: somebody changed the file
    if (output_->answered().ids.contains(id) || errors_->answered().ids.contains(id)) continue;
    send({input_->number(), std::move(*line), 0});
  }
  return {};
}

Status Batches::Run::write(const BatchLine& line, const http::Response& response) {
  const bool succeeded = response.status == 200;
  const std::string* const request_id = response.headers.find("x-request-id");
  FATHOM_RETURN_IF_ERROR(
      (succeeded ? output_ : errors_)
          ->add(written_++,
                batch_answer_line(random_name("batch_req_"), line.custom_id, response.status,
                                  request_id == nullptr ? "" : *request_id, response.body)));
  FATHOM_RETURN_IF_ERROR(owner_.files_.resize(succeeded ? batch_.output_file : batch_.error_file));
  const std::lock_guard lock(owner_.mutex_);
  ++(succeeded ? batch_.completed : batch_.failed);
  return {};
}

Status Batches::Run::take(const BatchAnswers::Answer& answer) {
  const auto found = in_flight_.find(answer.index);
  if (found == in_flight_.end()) return {};  // of an earlier run of this batch
  Waiting waiting = std::move(found->second.waiting);
  in_flight_.erase(found);
  // An engine that ends fails all that it has; at the next start there is another.
  const bool failed = is_failure(answer.response) && waiting.failures++ < kRetries;
  pausing_ = failed || is_refusal(answer.response);
  if (!pausing_) return write(waiting.line, answer.response);
  again_.push_back(std::move(waiting));
  return {};
}

Status Batches::Run::run() {
  Result<LineFile> input = LineFile::open(owner_.files_.path(batch_.input_file));
  FATHOM_RETURN_IF_ERROR(input.status());
  input_.emplace(std::move(*input));
  Result<ResultFile> output = ResultFile::open(owner_.files_.path(batch_.output_file), false);
  FATHOM_RETURN_IF_ERROR(output.status());
  output_.emplace(std::move(*output));
  Result<ResultFile> errors = ResultFile::open(owner_.files_.path(batch_.error_file), false);
  FATHOM_RETURN_IF_ERROR(errors.status());
  errors_.emplace(std::move(*errors));
  {
    const std::lock_guard lock(owner_.mutex_);
    batch_.completed = output_->answered().succeeded;
    batch_.failed = errors_->answered().failed;
  }

  Status status;
  while (!over()) {
    if (!pausing_) status = fill();
    if (!status.ok() || (in_flight_.empty() && again_.empty() && input_ended_)) break;
    BatchAnswers::Answer answer;
    const bool came = batch_.answers->take(answer, pausing_ ? kRetryPauseMs : kLookMs);
    pausing_ = false;
    // What is told once the end has begun may be cut short by it.
    if (!came || over()) continue;
    status = take(answer);
    if (!status.ok()) break;
  }
  // Nobody waits for the rest; what still comes of it belongs to no run.
  for (auto& [index, sent] : in_flight_) sent.exchange->leave();
  FATHOM_RETURN_IF_ERROR(status);
  FATHOM_RETURN_IF_ERROR(owner_.files_.resize(batch_.output_file));
  FATHOM_RETURN_IF_ERROR(owner_.files_.resize(batch_.error_file));
  FATHOM_RETURN_IF_ERROR(output_->close());
  return errors_->close();
}

Status Batches::validate(Batch& batch) {
  Result<LineFile> input = LineFile::open(files_.path(batch.input_file));
  FATHOM_RETURN_IF_ERROR(input.status());
  std::unordered_set<std::string> ids;
  Json::Array errors;
  std::int64_t lines = 0;
  const auto wrong = [&](std::string_view code, const std::string& message) {
    if (errors.size() >= kMaxErrors) return;
    Json error = Json::object();
    error.set("code", Json::string(std::string(code)));
    error.set("message", Json::string(message));
    error.set("line", Json::integer(input->number()));
    error.set("param", Json());
    errors.push_back(std::move(error));
  };
  while (true) {
    const auto text = input->next();
    FATHOM_RETURN_IF_ERROR(text.status());
    if (!text->has_value()) break;
    if ((*text)->find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ++lines;
    std::string id;
    const Result<BatchLine> line = parse_batch_line(**text, id);
    if (!line.ok()) {
      wrong("invalid_line", line.status().message());
    } else if (line->url != batch.endpoint) {
      wrong("mismatched_endpoint",
            "url: was '" + line->url + "', expected the batch's endpoint '" + batch.endpoint + "'");
    } else if (!ids.insert(id).second) {
      wrong("duplicate_custom_id", "custom_id: '" + id + "' belongs to an earlier line already");
    }
  }
  if (lines == 0) wrong("empty_file", "the input file has no lines");
  if (lines > static_cast<std::int64_t>(options_.max_lines)) {
    wrong("too_many_lines", "the input file has " + std::to_string(lines) +
                                " lines, expected at most " + std::to_string(options_.max_lines));
  }
  const std::lock_guard lock(mutex_);
  batch.total = lines;
  if (errors.empty()) return {};
  Json list = Json::object();
  list.set("object", Json::string("list"));
  list.set("data", Json::array(std::move(errors)));
  batch.errors = std::move(list);
  return invalid_argument("the input file has lines that are wrong");
}

void Batches::run(const std::shared_ptr<Batch>& batch) {
  const auto fail = [&](const Status& status) {
    const std::lock_guard lock(mutex_);
    if (batch->errors.is_null()) {
      Json error = Json::object();
      error.set("code", Json::string("internal"));
      error.set("message", Json::string(status.message()));
      Json list = Json::object();
      list.set("object", Json::string("list"));
      list.set("data", Json::array({std::move(error)}));
      batch->errors = std::move(list);
    }
    set_status(*batch, "failed", "failed_at");
    log_warning(batch->id + " failed: " + status.message());
  };
  if (batch->output_file.empty()) {
    if (const Status status = validate(*batch); !status.ok()) return fail(status);
    const Result<StoredFile> output =
        files_.add_growing(batch->id + "_output.jsonl", "batch_output");
    if (!output.ok()) return fail(output.status());
    const Result<StoredFile> errors =
        files_.add_growing(batch->id + "_errors.jsonl", "batch_output");
    if (!errors.ok()) return fail(errors.status());
    const std::lock_guard lock(mutex_);
    batch->output_file = output->id;
    batch->error_file = errors->id;
    if (!batch->cancelled) set_status(*batch, "in_progress", "in_progress_at");
  }
  if (const Status status = Run(*this, *batch).run(); !status.ok()) return fail(status);
  const std::lock_guard lock(mutex_);
  if (batch->cancelled) {
    set_status(*batch, "cancelled", "cancelled_at");
  } else if (batch->completed + batch->failed >= batch->total) {
    batch->times["finalizing_at"] = seconds_now();
    set_status(*batch, "completed", "completed_at");
  } else if (seconds_now() >= batch->expires_at()) {
    set_status(*batch, "expired", "expired_at");
  } else {
    // The server ends: as it is, the batch goes on at the next start.
    const Status kept = keep(*batch);
    if (!kept.ok()) log_error(batch->id + ": " + kept.message());
  }
}

}  // namespace fathom::api
