#include "api/registry.h"

#include <utility>
#include <vector>

#include "base/check.h"

namespace fathom::api {

std::optional<Refusal> Registry::enter(const std::shared_ptr<Call>& call,
                                       const Prepared& prepared) {
  for (std::size_t i = 0; i < prepared.rids.size(); ++i) {
    bool taken = names_.contains(prepared.rids[i]);
    for (std::size_t k = 0; k < i && !taken; ++k) taken = prepared.rids[k] == prepared.rids[i];
    if (taken) {
      return Refusal::semantic("rid: \"" + prepared.rids[i] +
                               "\" is in flight already; a rid must be new");
    }
  }
  const auto count = static_cast<std::uint32_t>(prepared.requests.size());
  const auto samples = static_cast<std::uint32_t>(count / prepared.rids.size());
  call->set_ids(next_id_, count);
  std::uint32_t index = 0;
  for (const std::string& rid : prepared.rids) {
    auto name = std::make_shared<Name>(Name{rid, next_id_, samples, samples});
    names_.emplace(rid, name);
    for (std::uint32_t sample = 0; sample < samples; ++sample) {
      entries_.emplace(next_id_++, Entry{call, name, index++});
    }
  }
  return std::nullopt;
}

void Registry::drop(wire::RequestId id) {
  release_name(id);
  entries_.erase(id);
}

void Registry::release_name(wire::RequestId id) {
  const std::shared_ptr<Name> name = std::move(entries_.find(id)->second.name);
  if (name != nullptr && --name->left == 0) names_.erase(name->rid);
}

void Registry::abort_sample(wire::RequestId id, std::int32_t answer_tokens) {
  {
    const std::lock_guard lock(mutex_);
    if (entries_.contains(id)) release_name(id);
  }
  events_.on_complete(id);
  engine_->abort({id, answer_tokens});
}

std::optional<Refusal> Registry::send(const std::shared_ptr<Call>& call,
                                      Prepared& prepared,
                                      std::vector<RequestEvents::Entry>& received) {
  const auto held = call->hold();
  const std::lock_guard lock(mutex_);
  if (auto refusal = enter(call, prepared)) return refusal;
  call->begin(prepared);
  const wire::RequestId first = call->first_id();
  events_.on_submit(std::move(received), first);
  for (std::uint32_t i = 0; i < call->id_count(); ++i) {
    prepared.requests[i].id = first + i;
    const Status status = engine_->submit(std::move(prepared.requests[i]));
    if (status.ok()) continue;
    received = events_.take_back(first, call->id_count());
    // What the engine still says about the earlier ones finds no entry and is dropped.
    for (std::uint32_t k = 0; k < i; ++k) engine_->abort({first + k});
    for (std::uint32_t k = 0; k < call->id_count(); ++k) drop(first + k);
    if (status.code() == Code::kResourceExhausted) {
      return Refusal::of(503, "The request queue is full.");
    }
    return Refusal::of(status);
  }
  return std::nullopt;
}

std::optional<Refusal> Registry::submit(const std::shared_ptr<Call>& call, Prepared prepared) {
  FATHOM_CHECK(!prepared.rids.empty() && prepared.requests.size() % prepared.rids.size() == 0);
  std::vector<RequestEvents::Entry> received = events_.receive(prepared);
  if (auto refusal = send(call, prepared, received)) {
    events_.on_refused(received, *refusal);  // not under the locks: it writes lines
    return refusal;
  }
  // A peer that left meanwhile could not abort what was not there yet.
  if (call->gone()) abort(*call);
  return std::nullopt;
}

std::shared_ptr<Call> Registry::leave(wire::RequestId id, bool last, std::uint32_t& index) {
  if (id == probe_id_ && last) probe_id_ = 0;
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return nullptr;
  std::shared_ptr<Call> call = entry->second.call;
  index = entry->second.index;
  if (last) drop(id);
  return call;
}

bool Registry::deliver() {
  const std::lock_guard delivery(delivering_);
  const std::vector<wire::TokenOutput> outputs = engine_->take_outputs();
  std::vector<std::pair<std::shared_ptr<Call>, std::uint32_t>> targets;
  targets.reserve(outputs.size());
  bool alive = false;
  {
    const std::lock_guard lock(mutex_);
    for (const wire::TokenOutput& output : outputs) {
      alive = alive || output.finish != wire::Finish::kAbort;
      const bool last = output.finish != wire::Finish::kNone;
      std::uint32_t index = 0;
      std::shared_ptr<Call> call = leave(output.id, last, index);
      targets.emplace_back(std::move(call), index);
    }
  }
  events_.on_outputs(outputs);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& [call, index] = targets[i];
    if (call == nullptr) continue;
    const Call::Next next = call->take(index, outputs[i]);
    if (next == Call::Next::kAbortRest) abort(*call);
    if (next == Call::Next::kAbortSample) {
      abort_sample(outputs[i].id, call->answer_tokens(index));
    }
  }
  for (const auto& [call, index] : targets) {
    if (call != nullptr && call->flush() == Call::Next::kAbortRest) abort(*call);
  }
  return alive;
}

void Registry::abort_ids(wire::RequestId first, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) engine_->abort({first + i});
}

void Registry::abort(const std::string& rid) {
  std::shared_ptr<Name> name;
  {
    const std::lock_guard lock(mutex_);
    const auto found = names_.find(rid);
    if (found == names_.end()) return;
    name = found->second;
  }
  abort_ids(name->first, name->count);
}

void Registry::abort(const Call& call) {
  if (const wire::RequestId first = call.first_id(); first != 0) {
    abort_ids(first, call.id_count());
  }
}

void Registry::abort_all() {
  std::vector<wire::RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    ids.reserve(entries_.size());
    for (const auto& [id, entry] : entries_) ids.push_back(id);
  }
  for (const wire::RequestId id : ids) engine_->abort({id});
}

Status Registry::submit_probe() {
  const std::lock_guard lock(mutex_);
  if (probe_id_ != 0) return {};
  wire::GenerateRequest request;
  request.id = next_id_;
  request.prompt = {0};
  request.sampling.temperature = 0;
  request.sampling.max_new_tokens = 1;
  Status status = engine_->submit(std::move(request));
  if (status.ok()) probe_id_ = next_id_++;
  return status;
}

void Registry::abort_probe() {
  wire::RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = probe_id_;
  }
  if (id != 0) engine_->abort({id});
}

std::size_t Registry::in_flight() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace fathom::api
