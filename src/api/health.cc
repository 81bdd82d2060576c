#include "api/health.h"

#include <algorithm>
#include <utility>

#include "api/refusal.h"

namespace fathom::api {

std::vector<HealthProbes::Waiting> HealthProbes::take(std::uint64_t id) {
  std::vector<Waiting> taken;
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [id](const Waiting& waiting) { return waiting.id == id; });
  if (found == waiting_.end()) return taken;
  taken.push_back(std::move(*found));
  waiting_.erase(found);
  return taken;
}

void HealthProbes::ask(Channel channel, const Service::Timer& timer) {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = next_id_++;
    waiting_.push_back({id, std::move(channel)});
  }
  // A full queue is no reason to say no: the engine must have something to tell about it.
  if (registry_->submit_probe().code() == Code::kUnavailable) {
    expire(id);
    return;
  }
  if (timer) timer(timeout_, [this, id] { expire(id); });
}

void HealthProbes::expire(std::uint64_t id) {
  std::vector<Waiting> taken = take(id);
  if (taken.empty()) return;
  registry_->abort_probe();
  taken.front().channel.respond(text_response(503, ""));
}

void HealthProbes::sign_of_life() {
  std::vector<Waiting> taken;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(waiting_);
  }
  for (Waiting& waiting : taken) waiting.channel.respond(text_response(200, ""));
}

}  // namespace fathom::api
