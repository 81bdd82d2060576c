#include "api/batches.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "api/batch_input.h"
#include "api/batch_line.h"
#include "api/batch_record.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_bounds.h"

namespace fathom::api {

namespace {

constexpr std::string_view kPrefix = "batch_";
// As OpenAI has it; lengths are in bytes here.
constexpr std::size_t kMaxMetadata = 16;
constexpr std::size_t kMaxMetadataKey = 64;
constexpr std::size_t kMaxMetadataValue = 512;

std::int64_t seconds_now() { return static_cast<std::int64_t>(unix_time_s()); }

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
    if (member.key.size() > kMaxMetadataKey ||
        member.value.as_string()->size() > kMaxMetadataValue) {
      return invalid_argument("metadata " + quoted_for_log(member.key) + ": a key may have " +
                              std::to_string(kMaxMetadataKey) + " bytes and a value " +
                              std::to_string(kMaxMetadataValue));
    }
  }
  return {};
}

}  // namespace

struct Batches::Batch {
  explicit Batch(BatchRecord record_in)
      : record(std::move(record_in)), cancelled(record.status == "cancelling") {}

  BatchRecord record;       // guarded by Batches::mutex_
  std::uint64_t order = 0;  // of creation
  std::atomic<bool> cancelled;
  std::shared_ptr<BatchAnswers> answers = std::make_shared<BatchAnswers>();
};

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
    if (auto record = BatchRecord::from_json(id, json)) {
      found.push_back(std::make_shared<Batch>(std::move(*record)));
    } else {
      log_warning("record " + id + " is no batch; it is left out");
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a->record.times.at("created_at") < b->record.times.at("created_at");
  });
  bool unfinished = false;
  for (auto& batch : found) {
    batch->order = created_++;
    unfinished = unfinished || !batch->record.is_over();
    batches_.emplace(batch->record.id, batch);
  }
  if (unfinished && !worker_.joinable()) worker_ = std::thread([this] { work(); });
  return {};
}

Result<Json> Batches::create(const Json& request) {
  FATHOM_RETURN_IF_ERROR(start());
  BatchRecord record;
  record.input_file = member_text(request, "input_file_id");
  record.endpoint = member_text(request, "endpoint");
  if (const std::string window = member_text(request, "completion_window"); !window.empty()) {
    record.completion_window = window;
  }
  if (!is_batch_url(record.endpoint)) {
    return invalid_argument("endpoint: was '" + record.endpoint + "', expected one of " +
                            batch_urls());
  }
  if (record.completion_window != "24h") {
    return invalid_argument("completion_window: was '" + record.completion_window +
                            "', expected '24h'");
  }
  if (const Json* const metadata = request.find_set("metadata")) {
    FATHOM_RETURN_IF_ERROR(check_metadata(*metadata));
    record.metadata = *metadata;
  }
  const Result<std::optional<StoredFile>> input = files_.find(record.input_file);
  FATHOM_RETURN_IF_ERROR(input.status());
  if (!input->has_value()) {
    return invalid_argument("input_file_id: there is no file '" + record.input_file + "'");
  }
  record.id = random_name(kPrefix);
  record.times["created_at"] = seconds_now();

  const std::lock_guard lock(mutex_);
  FATHOM_RETURN_IF_ERROR(make_room());
  auto batch = std::make_shared<Batch>(std::move(record));
  FATHOM_RETURN_IF_ERROR(keep(*batch));
  batch->order = created_++;
  batches_.emplace(batch->record.id, batch);
  if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
  changed_.notify_all();
  return batch->record.to_json();
}

// Requires the mutex.
Status Batches::make_room() {
  while (batches_.size() >= options_.max_batches) {
    auto oldest = batches_.end();
    for (auto each = batches_.begin(); each != batches_.end(); ++each) {
      if (!each->second->record.is_over()) continue;
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
  return found->second->record.to_json();
}

std::optional<Json> Batches::cancel(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = batches_.find(id);
  if (found == batches_.end()) return std::nullopt;
  Batch& batch = *found->second;
  if (!batch.record.is_over() && !batch.cancelled.exchange(true)) {
    set_status(batch, "cancelling", "cancelling_at");
    // One that waits for its turn has nothing under way.
    if (running_ != &batch) set_status(batch, "cancelled", "cancelled_at");
    batch.answers->interrupt();
  }
  return batch.record.to_json();
}

std::vector<Json> Batches::list(const std::string& after, std::size_t limit) {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Batch>> all;
  for (const auto& [id, batch] : batches_) all.push_back(batch);
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a->order > b->order; });
  auto from = all.begin();
  if (!after.empty()) {
    from = std::find_if(all.begin(), all.end(),
                        [&](const auto& each) { return each->record.id == after; });
    if (from != all.end()) ++from;
  }
  std::vector<Json> told;
  for (; from != all.end() && told.size() < limit; ++from)
    told.push_back((*from)->record.to_json());
  return told;
}

Status Batches::keep(const Batch& batch) {
  return files_.put_record(batch.record.id, batch.record.to_json());
}

void Batches::set_status(Batch& batch, std::string_view status, std::string_view time_name) {
  batch.record.status = status;
  batch.record.times[std::string(time_name)] = seconds_now();
  const Status kept = keep(batch);
  if (!kept.ok()) log_error(batch.record.id + ": " + kept.message());
}

std::shared_ptr<Batches::Batch> Batches::next() {
  std::shared_ptr<Batch> oldest;
  for (const auto& [id, batch] : batches_) {
    if (batch->record.is_over()) continue;
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

void Batches::fail(Batch& batch, const Status& status) {
  const std::lock_guard lock(mutex_);
  if (batch.record.errors.is_null()) {
    batch.record.errors = batch_errors({batch_error("internal", status.message(), 0)});
  }
  set_status(batch, "failed", "failed_at");
  log_warning(batch.record.id + " failed: " + status.message());
}

// Checks the input file and makes the files for its results.
Status Batches::prepare(Batch& batch) {
  // Nobody else writes to what is read without the lock here.
  Result<BatchInput> input = check_batch_input(files_.path(batch.record.input_file),
                                               batch.record.endpoint, options_.max_lines);
  FATHOM_RETURN_IF_ERROR(input.status());
  {
    const std::lock_guard lock(mutex_);
    batch.record.total = input->lines;
    if (!input->errors.empty()) {
      batch.record.errors = batch_errors(std::move(input->errors));
      return invalid_argument("the input file has lines that are wrong");
    }
  }
  const auto make = [&](const char* what) {
    return files_.add_growing(batch.record.id + what, "batch_output");
  };
  const Result<StoredFile> output = make("_output.jsonl");
  FATHOM_RETURN_IF_ERROR(output.status());
  const Result<StoredFile> errors = make("_errors.jsonl");
  FATHOM_RETURN_IF_ERROR(errors.status());
  const std::lock_guard lock(mutex_);
  batch.record.output_file = output->id;
  batch.record.error_file = errors->id;
  if (!batch.cancelled) set_status(batch, "in_progress", "in_progress_at");
  return {};
}

Status Batches::answer_lines(Batch& batch) {
  const BatchRecord& record = batch.record;
  BatchRunOptions options{
      record.id, record.input_file, record.output_file, record.error_file, options_.concurrency, {},
      {}};
  options.ended = [this, &batch] {
    const std::lock_guard lock(mutex_);
    return stopping_ || batch.cancelled || seconds_now() >= batch.record.expires_at();
  };
  options.counts = [this, &batch](std::int64_t completed, std::int64_t failed) {
    const std::lock_guard lock(mutex_);
    batch.record.completed = completed;
    batch.record.failed = failed;
  };
  return BatchRun(std::move(options), files_, send_, batch.answers).run();
}

void Batches::run(const std::shared_ptr<Batch>& batch) {
  BatchRecord& record = batch->record;
  if (record.output_file.empty()) {
    if (const Status status = prepare(*batch); !status.ok()) return fail(*batch, status);
  }
  if (const Status status = answer_lines(*batch); !status.ok()) return fail(*batch, status);
  const std::lock_guard lock(mutex_);
  if (batch->cancelled) {
    set_status(*batch, "cancelled", "cancelled_at");
  } else if (record.completed + record.failed >= record.total) {
    record.times["finalizing_at"] = seconds_now();
    set_status(*batch, "completed", "completed_at");
  } else if (seconds_now() >= record.expires_at()) {
    set_status(*batch, "expired", "expired_at");
  } else {
    // The server ends: as it is, the batch goes on at the next start.
    const Status kept = keep(*batch);
    if (!kept.ok()) log_error(record.id + ": " + kept.message());
  }
}

}  // namespace fathom::api
