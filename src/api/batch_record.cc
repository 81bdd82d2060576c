#include "api/batch_record.h"

#include <array>
#include <utility>

namespace fathom::api {

namespace {

constexpr std::int64_t kDaySeconds = 86400;

constexpr std::array<std::string_view, 8> kTimes = {
    "created_at", "in_progress_at", "finalizing_at", "completed_at",
    "failed_at",  "expired_at",     "cancelling_at", "cancelled_at"};

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json::string(text); }

}  // namespace

std::int64_t BatchRecord::expires_at() const { return times.at("created_at") + kDaySeconds; }

bool BatchRecord::is_over() const {
  return status == "completed" || status == "failed" || status == "expired" ||
         status == "cancelled";
}

Json BatchRecord::to_json() const {
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

std::optional<BatchRecord> BatchRecord::from_json(const std::string& id, const Json& json) {
  BatchRecord batch;
  batch.id = id;
  batch.endpoint = member_text(json, "endpoint");
  batch.input_file = member_text(json, "input_file_id");
  batch.output_file = member_text(json, "output_file_id");
  batch.error_file = member_text(json, "error_file_id");
  batch.completion_window = member_text(json, "completion_window");
  batch.status = member_text(json, "status");
  for (const std::string_view name : kTimes) {
    const Json* const time = json.find_set(name);
    if (time != nullptr) batch.times[std::string(name)] = time->as_int64().value_or(0);
  }
  const Json* const counts = json.find_set("request_counts");
  const auto count = [counts](std::string_view name) {
    const Json* const member = counts == nullptr ? nullptr : counts->find_set(name);
    return member == nullptr ? 0 : member->as_int64().value_or(0);
  };
  batch.total = count("total");
  batch.completed = count("completed");
  batch.failed = count("failed");
  if (const Json* const metadata = json.find_set("metadata")) batch.metadata = *metadata;
  if (const Json* const errors = json.find_set("errors")) batch.errors = *errors;
  const bool whole = !batch.endpoint.empty() && !batch.input_file.empty() &&
                     !batch.status.empty() && batch.times.contains("created_at");
  if (!whole) return std::nullopt;
  return batch;
}

Json batch_error(std::string_view code, const std::string& message, std::int64_t line) {
  Json error = Json::object();
  error.set("code", Json::string(std::string(code)));
  error.set("message", Json::string(message));
  error.set("line", line > 0 ? Json::integer(line) : Json());
  error.set("param", Json());
  return error;
}

Json batch_errors(Json::Array errors) {
  Json list = Json::object();
  list.set("object", Json::string("list"));
  list.set("data", Json::array(std::move(errors)));
  return list;
}

std::string member_text(const Json& json, std::string_view name) {
  const Json* const member = json.find_set(name);
  return member == nullptr || !member->is_string() ? "" : *member->as_string();
}

}  // namespace fathom::api
