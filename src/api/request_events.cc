#include "api/request_events.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace fathom::api {

namespace {

double seconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-9; }

// A float as it was typed: six decimals say it.
Json decimal(float value) {
  return Json::number(std::round(static_cast<double>(value) * 1e6) / 1e6);
}

Json ids_of(std::span<const wire::TokenId> ids) {
  Json::Array elements;
  elements.reserve(ids.size());
  for (const wire::TokenId id : ids) elements.push_back(Json::integer(id));
  return Json::array(std::move(elements));
}

// The member of sampling_params that a constraint is.
const char* constraint_name(wire::ConstraintKind kind) {
  switch (kind) {
    case wire::ConstraintKind::kJsonSchema:
      return "json_schema";
    case wire::ConstraintKind::kRegex:
      return "regex";
    case wire::ConstraintKind::kEbnf:
      return "ebnf";
    case wire::ConstraintKind::kStructuralTag:
      return "structural_tag";
    case wire::ConstraintKind::kNone:
      break;
  }
  return "";
}

Json sampling_of(const wire::GenerateRequest& request, std::uint32_t samples) {
  const wire::SamplingParams& params = request.sampling;
  Json out = Json::object();
  out.set("max_new_tokens", Json::integer(params.max_new_tokens));
  out.set("temperature", decimal(params.temperature));
  out.set("top_p", decimal(params.top_p));
  out.set("top_k", Json::integer(params.top_k == 0 ? -1 : params.top_k));
  out.set("min_p", decimal(params.min_p));
  out.set("frequency_penalty", decimal(params.frequency_penalty));
  out.set("presence_penalty", decimal(params.presence_penalty));
  out.set("repetition_penalty", decimal(params.repetition_penalty));
  out.set("min_new_tokens", Json::integer(params.min_new_tokens));
  out.set("stop_token_ids", ids_of(params.stop_token_ids));
  out.set("ignore_eos", Json::boolean(params.ignore_eos));
  out.set("n", Json::integer(samples));
  out.set("sampling_seed", *Json::number_from_text(std::to_string(params.seed)));
  if (!params.logit_bias.empty()) {
    Json bias = Json::object();
    for (const wire::TokenBias& each : params.logit_bias) {
      bias.set(std::to_string(each.id), decimal(each.bias));
    }
    out.set("logit_bias", std::move(bias));
  }
  if (request.constraint.kind != wire::ConstraintKind::kNone) {
    out.set(constraint_name(request.constraint.kind), Json::string(request.constraint.text));
  }
  return out;
}

Json finish_reason_of(const wire::TokenOutput& output, bool complete) {
  Json reason = Json::object();
  switch (output.finish) {
    case wire::Finish::kNone:
      return {};
    case wire::Finish::kStop:
      reason.set("type", Json::string("stop"));
      reason.set("matched", Json::integer(output.stop_token));
      break;
    case wire::Finish::kLength:
      reason.set("type", Json::string("length"));
      reason.set("length", Json::integer(output.generated_tokens));
      break;
    case wire::Finish::kAbort:
      reason.set("type", Json::string(complete ? "stop" : "abort"));
      if (!complete) reason.set("message", Json::string(output.error.message()));
      break;
  }
  return reason;
}

std::string milliseconds(std::int64_t ns) {
  std::array<char, 64> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "%.2fms", static_cast<double>(ns) * 1e-6);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

Json request_fields_of(const std::string& rid,
                       const wire::GenerateRequest& request,
                       std::uint32_t samples,
                       const text::Tokenizer* tokenizer) {
  const wire::LogprobParams& logprobs = request.logprobs;
  Json out = Json::object();
  out.set("rid", Json::string(rid));
  out.set("text", tokenizer == nullptr ? Json() : Json::string(tokenizer->decode(request.prompt)));
  out.set("input_ids", ids_of(request.prompt));
  out.set("sampling_params", sampling_of(request, samples));
  out.set("return_logprob", Json::boolean(logprobs.wanted));
  out.set("logprob_start_len", Json::integer(logprobs.wanted ? logprobs.prompt_start : -1));
  out.set("top_logprobs_num", Json::integer(logprobs.top));
  out.set("token_ids_logprob", logprobs.token_ids.empty() ? Json() : ids_of(logprobs.token_ids));
  out.set("stream", Json::boolean(request.stream));
  for (const char* const name :
       {"bootstrap_host", "bootstrap_port", "bootstrap_room", "data_parallel_rank"}) {
    out.set(name, Json());
  }
  return out;
}

Json RequestEvents::shown_request(const Named& named,
                                  const wire::GenerateRequest& request,
                                  bool content) const {
  if (content) return request_fields_of(named.rid, request, named.samples, tokenizer_);
  wire::GenerateRequest bare;
  bare.sampling = request.sampling;
  bare.constraint = request.constraint;
  bare.logprobs = request.logprobs;
  bare.stream = request.stream;
  return request_fields_of(named.rid, bare, named.samples, nullptr);
}

std::vector<RequestEvents::Entry> RequestEvents::receive(const Prepared& prepared) const {
  std::vector<Entry> made;
  if (monitor_ == nullptr) return made;
  const std::int64_t now = now_ns();
  const std::int64_t received = prepared.received_ns != 0 ? prepared.received_ns : now;
  const bool wanted = monitor_->wants_requests();
  // Without content, neither a text is made nor are ids copied.
  const bool content = monitor_->log.shows_content() || monitor_->crash_dump.enabled();
  const auto samples = static_cast<std::uint32_t>(prepared.requests.size() / prepared.rids.size());
  observe::RequestSeries* const series =
      monitor_->requests == nullptr ? nullptr : &monitor_->requests->series(prepared.custom_labels);
  made.reserve(prepared.requests.size());
  for (std::size_t i = 0; i < prepared.requests.size(); ++i) {
    const wire::GenerateRequest& request = prepared.requests[i];
    std::shared_ptr<Named> named;
    if (i % samples == 0) {
      named = std::make_shared<Named>();
      named->rid = prepared.rids[i / samples];
      named->received_ns = received;
      named->received_unix_s = unix_time_s() - seconds(now - received);
      named->left = samples;
      named->samples = samples;
      named->wanted = wanted;
      if (wanted) {
        const Json shown = shown_request(*named, request, content);
        named->logged = monitor_->log.received(named->rid, shown);
        if (monitor_->crash_dump.enabled()) named->dumped = to_json(shown);
      }
    } else {
      named = made.back().named;
    }
    Entry entry;
    entry.named = std::move(named);
    entry.series = series;
    entry.structured = request.constraint.kind != wire::ConstraintKind::kNone;
    entry.keeps_tokens = wanted && content;
    entry.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
    made.push_back(std::move(entry));
  }
  return made;
}

void RequestEvents::on_submit(std::vector<Entry> received, wire::RequestId first) {
  if (monitor_ == nullptr) return;
  const std::lock_guard lock(mutex_);
  for (Entry& entry : received) entries_.emplace(first++, std::move(entry));
}

std::vector<RequestEvents::Entry> RequestEvents::take_back(wire::RequestId first,
                                                           std::size_t count) {
  std::vector<Entry> taken;
  if (monitor_ == nullptr) return taken;
  taken.reserve(count);
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < count; ++i) {
    const auto found = entries_.find(first + i);
    if (found == entries_.end()) continue;
    taken.push_back(std::move(found->second));
    entries_.erase(found);
  }
  return taken;
}

void RequestEvents::on_refused(const std::vector<Entry>& received, const Refusal& refusal) const {
  const std::int64_t now = now_ns();
  wire::TokenOutput output;
  output.finish = wire::Finish::kAbort;
  output.error = Status(Code::kInvalidArgument, refusal.message);
  for (const Entry& entry : received) {
    output.prompt_tokens = entry.prompt_tokens;
    tell_end(entry, output, now);
  }
}

void RequestEvents::on_complete(wire::RequestId id) {
  if (monitor_ == nullptr) return;
  const std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(id); found != entries_.end()) {
    found->second.complete = true;
  }
}

void RequestEvents::on_outputs(std::span<const wire::TokenOutput> outputs) {
  if (monitor_ == nullptr || outputs.empty()) return;
  const std::int64_t now = now_ns();
  std::vector<std::pair<Entry, const wire::TokenOutput*>> finished;
  {
    const std::lock_guard lock(mutex_);
    for (const wire::TokenOutput& output : outputs) {
      const auto found = entries_.find(output.id);
      if (found == entries_.end()) continue;  // a probe of /health, or what was refused
      Entry& entry = found->second;
      count(entry, output, now);
      if (entry.keeps_tokens) {
        entry.tokens.insert(entry.tokens.end(), output.tokens.begin(), output.tokens.end());
      }
      if (output.finish == wire::Finish::kNone) continue;
      finished.emplace_back(std::move(entry), &output);
      entries_.erase(found);
    }
  }
  // Lines are made and written without the lock.
  for (const auto& [entry, output] : finished) finish(entry, *output, now);
}

void RequestEvents::count(Entry& entry, const wire::TokenOutput& output, std::int64_t now) const {
  const std::int64_t news = output.generated_tokens - entry.generated;
  if (news <= 0) return;
  const bool first = entry.generated == 0;
  entry.generated = output.generated_tokens;
  observe::RequestSeries* const metrics = entry.series;
  const std::int64_t last = std::exchange(entry.last_ns, now);
  if (metrics == nullptr) return;
  if (!first) {
    metrics->on_tokens(seconds(now - last), static_cast<std::uint64_t>(news));
    return;
  }
  // What is told in one piece, because it is no stream or nobody looked, came at its own times.
  const wire::RequestTimes& times = output.times;
  const std::int64_t after_first =
      news > 1 && times.first_token_ns >= 0 ? times.told_ns - times.first_token_ns : 0;
  metrics->on_first_token(seconds(now - entry.named->received_ns - after_first));
  if (news > 1) metrics->on_tokens(seconds(after_first), static_cast<std::uint64_t>(news - 1));
  count_stages(times);
}

void RequestEvents::count_stages(const wire::RequestTimes& times) const {
  const auto between = [](std::int64_t from, std::int64_t to) {
    return from >= 0 && to >= from ? seconds(to - from) : -1;
  };
  observe::StageTimes stages;
  stages.process_s = between(0, times.queued_ns);
  stages.waiting_s = between(std::max<std::int64_t>(times.queued_ns, 0), times.started_ns);
  stages.prefill_s = between(times.started_ns, times.first_token_ns);
  monitor_->times->on_request(stages);
}

void RequestEvents::finish(const Entry& entry,
                           const wire::TokenOutput& output,
                           std::int64_t now) const {
  if (entry.series != nullptr) {
    if (entry.generated == 0) count_stages(output.times);  // as far as it came
    observe::FinishedRequest finished;
    finished.prompt_tokens = output.prompt_tokens;
    finished.generated_tokens = output.generated_tokens;
    finished.cached_tokens = output.cached_tokens;
    finished.retractions = output.retractions;
    finished.seconds = seconds(now - entry.named->received_ns);
    finished.aborted = output.finish == wire::Finish::kAbort && !entry.complete;
    finished.structured = entry.structured;
    entry.series->on_finished(finished);
  }
  if (monitor_->options.time_stats) log_times(entry, output);
  tell_end(entry, output, now);
}

void RequestEvents::tell_end(const Entry& entry,
                             const wire::TokenOutput& output,
                             std::int64_t now) const {
  Named& named = *entry.named;
  --named.left;
  if (!named.wanted) return;
  named.answers.push_back(answer_of(entry, output, now));
  if (named.left > 0) return;
  Json answer =
      named.samples == 1 ? std::move(named.answers.front()) : Json::array(std::move(named.answers));
  const std::int64_t took_ms = (now - named.received_ns) / 1'000'000;
  monitor_->log.finished(named.logged, answer, took_ms);
  if (!named.dumped.empty()) monitor_->crash_dump.keep(dump_line(named, answer), now);
}

void RequestEvents::log_times(const Entry& entry, const wire::TokenOutput& output) const {
  const wire::RequestTimes& times = output.times;
  const std::int64_t queued = times.started_ns >= 0 ? times.started_ns : times.told_ns;
  const std::int64_t forward = times.started_ns >= 0 ? times.told_ns - times.started_ns : 0;
  std::array<char, 64> start{};
  std::snprintf(start.data(), start.size(), "%.3f", entry.named->received_unix_s);
  log_info("Req Time Stats(rid=" + entry.named->rid +
           ", input len=" + std::to_string(output.prompt_tokens) +
           ", output len=" + std::to_string(output.generated_tokens) +
           ", type=unified): queue_duration=" + milliseconds(queued) +
           ", forward_duration=" + milliseconds(forward) + ", start=" + start.data());
}

Json RequestEvents::answer_of(const Entry& entry,
                              const wire::TokenOutput& output,
                              std::int64_t now) const {
  Json meta = Json::object();
  meta.set("id", Json::string(entry.named->rid));
  meta.set("finish_reason", finish_reason_of(output, entry.complete));
  meta.set("prompt_tokens", Json::integer(output.prompt_tokens));
  meta.set("completion_tokens", Json::integer(output.generated_tokens));
  meta.set("cached_tokens", Json::integer(output.cached_tokens));
  meta.set("total_retractions", Json::integer(output.retractions));
  if (output.times.started_ns >= 0) {
    meta.set("queue_time", Json::number(seconds(output.times.started_ns)));
  }
  meta.set("e2e_latency", Json::number(seconds(now - entry.named->received_ns)));
  Json out = Json::object();
  if (entry.keeps_tokens) {
    if (tokenizer_ != nullptr) {
      out.set("text", Json::string(tokenizer_->decode(entry.tokens, /*skip_special_tokens=*/true)));
    }
    out.set("output_ids", ids_of(entry.tokens));
  }
  out.set("meta_info", std::move(meta));
  return out;
}

std::string RequestEvents::dump_line(const Named& named, const Json& answer) {
  Json times = Json::object();
  times.set("rid", Json::string(named.rid));
  times.set("received", Json::number(named.received_unix_s));
  times.set("finished", Json::boolean(!answer.is_null()));
  std::string line = to_json(times);
  line.back() = ',';
  line += "\"request\":";
  line += named.dumped;
  line += ",\"answer\":";
  append_json(line, answer);
  line += '}';
  return line;
}

std::vector<std::string> RequestEvents::unfinished() const {
  std::vector<std::string> lines;
  const std::lock_guard lock(mutex_);
  std::set<const Named*> seen;  // the samples of a prompt share one
  for (const auto& [id, entry] : entries_) {
    const Named& named = *entry.named;
    if (named.dumped.empty() || !seen.insert(&named).second) continue;
    lines.push_back(dump_line(named, Json()));
  }
  return lines;
}

}  // namespace fathom::api
