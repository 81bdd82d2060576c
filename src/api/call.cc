#include "api/call.h"

#include <utility>

#include "base/check.h"

namespace fathom::api {

void Reply::fail(const Refusal& refusal, ErrorForm form, std::string& events) {
  events += error_events(refusal, form);
}

Call::Call(Channel channel, ErrorForm form, std::atomic<std::size_t>& open)
    : channel_(std::move(channel)), form_(form), open_(open) {
  ++open_;
}

Call::~Call() { --open_; }

void Call::refuse(const Refusal& refusal) {
  const std::lock_guard lock(mutex_);
  fail(refusal);
}

void Call::begin(Prepared& prepared) {
  reply_ = std::move(prepared.reply);
  stream_ = prepared.stream;
  waiting_ = static_cast<std::uint32_t>(prepared.requests.size());
  over_.assign(waiting_, false);
}

void Call::set_ids(wire::RequestId first, std::uint32_t count) {
  id_count_ = count;
  first_id_ = first;
}

void Call::end() {
  answered_ = true;
  reply_.reset();
  pending_ = std::string();
}

void Call::fail(const Refusal& refusal) {
  if (answered_) return;
  if (!started_) {
    channel_.respond(error_response(refusal, form_));
  } else {
    reply_->fail(refusal, form_, pending_);
    channel_.write(std::move(pending_));
    channel_.finish();
  }
  end();
}

Call::Next Call::take(std::uint32_t index, const wire::TokenOutput& output) {
  const std::lock_guard lock(mutex_);
  // What an engine says that was further than the answer's end is nobody's.
  if (answered_ || over_[index]) return Next::kGoOn;
  if (gone_) {
    end();
    return Next::kAbortRest;
  }
  // An answer that someone asked to end is an answer; what failed is an error.
  const bool failed = output.finish == wire::Finish::kAbort && !output.error.ok() &&
                      output.error.code() != Code::kCancelled;
  if (failed) {
    fail(Refusal::of(output.error));
    return Next::kAbortRest;
  }
  const bool over = reply_->take(index, output, pending_);
  FATHOM_CHECK(over || output.finish == wire::Finish::kNone);
  if (!over) return Next::kGoOn;
  over_[index] = true;
  --waiting_;
  if (stream_ && waiting_ == 0) reply_->close(pending_);
  return output.finish == wire::Finish::kNone ? Next::kAbortSample : Next::kGoOn;
}

std::int32_t Call::answer_tokens(std::uint32_t index) {
  const std::lock_guard lock(mutex_);
  return reply_ != nullptr ? reply_->answer_tokens(index) : -1;
}

Call::Next Call::flush() {
  const std::lock_guard lock(mutex_);
  if (answered_) return Next::kGoOn;
  if (!stream_) {
    if (waiting_ > 0) return Next::kGoOn;
    http::Response response;
    response.headers.add("Content-Type", "application/json");
    response.body = reply_->body();
    channel_.respond(std::move(response));
    end();
    return Next::kGoOn;
  }
  bool there = true;
  if (!started_ && !pending_.empty()) {
    channel_.start_events(std::exchange(pending_, {}), reply_->stream_type());
    started_ = true;
  } else if (!pending_.empty()) {
    there = channel_.write(std::exchange(pending_, {}));
  }
  if (waiting_ == 0) {
    channel_.finish();
    end();
    return Next::kGoOn;
  }
  if (there) return Next::kGoOn;
  gone_ = true;
  end();
  return Next::kAbortRest;
}

}  // namespace fathom::api
