#include "api/batch_run.h"

#include <utility>

namespace fathom::api {

namespace {

constexpr std::int64_t kRetryPauseMs = 250;  // after a line that is to be sent again
constexpr int kRetries = 3;                  // of a line on which the server failed
constexpr std::int64_t kLookMs = 1000;       // how late a batch notices that it has expired

// The server takes no more just now.
bool is_refusal(const http::Response& response) {
  return response.status == 429 || response.status == 503;
}

// The server failed on it: another try may help.
bool is_failure(const http::Response& response) {
  return response.status == 500 || response.status == 502 || response.status == 504;
}

}  // namespace

void BatchRun::send(Waiting waiting) {
  const std::int64_t index = waiting.index;
  const BatchLine& line = waiting.line;
  auto exchange = std::make_shared<BatchExchange>(index, answers_);
  http::Request request;
  request.method = "POST";
  request.target = request.path = line.url;
  request.headers.add("Content-Type", "application/json");
  request.body = line.body;
  request.peer = options_.id;
  in_flight_.emplace(index, Sent{std::move(waiting), exchange});
  send_(std::move(request), exchange);
}

Status BatchRun::fill() {
  while (!again_.empty() && in_flight_.size() < options_.concurrency) {
    Waiting waiting = std::move(again_.back());
    again_.pop_back();
    send(std::move(waiting));
  }
  while (!input_ended_ && in_flight_.size() < options_.concurrency) {
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

Status BatchRun::write(const BatchLine& line, const http::Response& response) {
  const bool succeeded = response.status == 200;
  const std::string* const request_id = response.headers.find("x-request-id");
  FATHOM_RETURN_IF_ERROR(
      (succeeded ? output_ : errors_)
          ->add(written_++,
                batch_answer_line(random_name("batch_req_"), line.custom_id, response.status,
                                  request_id == nullptr ? "" : *request_id, response.body)));
  FATHOM_RETURN_IF_ERROR(files_.resize(succeeded ? options_.output_file : options_.error_file));
  ++(succeeded ? completed_ : failed_);
  options_.counts(completed_, failed_);
  return {};
}

Status BatchRun::take(const BatchAnswers::Answer& answer) {
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

Status BatchRun::open() {
  Result<LineFile> input = LineFile::open(files_.path(options_.input_file));
  FATHOM_RETURN_IF_ERROR(input.status());
  input_.emplace(std::move(*input));
  Result<ResultFile> output = ResultFile::open(files_.path(options_.output_file), {});
  FATHOM_RETURN_IF_ERROR(output.status());
  output_.emplace(std::move(*output));
  Result<ResultFile> errors = ResultFile::open(files_.path(options_.error_file), {});
  FATHOM_RETURN_IF_ERROR(errors.status());
  errors_.emplace(std::move(*errors));
  completed_ = output_->answered().succeeded;
  failed_ = errors_->answered().failed;
  options_.counts(completed_, failed_);
  return {};
}

Status BatchRun::close() {
  FATHOM_RETURN_IF_ERROR(files_.resize(options_.output_file));
  FATHOM_RETURN_IF_ERROR(files_.resize(options_.error_file));
  FATHOM_RETURN_IF_ERROR(output_->close());
  return errors_->close();
}

Status BatchRun::run() {
  FATHOM_RETURN_IF_ERROR(open());
  Status status;
  while (!options_.ended()) {
    if (!pausing_) status = fill();
    if (!status.ok() || (in_flight_.empty() && again_.empty() && input_ended_)) break;
    BatchAnswers::Answer answer;
    const bool came = answers_->take(answer, pausing_ ? kRetryPauseMs : kLookMs);
    pausing_ = false;
    // What is told once the end has begun may be cut short by it.
    if (!came || options_.ended()) continue;
    status = take(answer);
    if (!status.ok()) break;
  }
  // Nobody waits for the rest; what still comes of it belongs to no run.
  for (auto& [index, sent] : in_flight_) sent.exchange->leave();
  FATHOM_RETURN_IF_ERROR(status);
  return close();
}

}  // namespace fathom::api
