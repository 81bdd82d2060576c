#include "observe/scheduler_log.h"

#include <array>
#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace fathom::observe {

namespace {

std::string fixed(double value, int decimals) {
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return {text.data(), static_cast<std::size_t>(length)};
}
std::string fixed2(double value) { return fixed(value, 2); }
std::string fixed4(double value) { return fixed(value, 4); }

double usage(std::int32_t used, std::int32_t pool) {
  return pool > 0 ? static_cast<double>(used) / pool : 0;
}

}  // namespace

std::string prefill_line(const StepNote& note) {
  return "Prefill batch, #new-seq: " + std::to_string(note.prefill_requests) +
         ", #new-token: " + std::to_string(note.prefill_tokens) +
         ", #cached-token: " + std::to_string(note.cached_tokens) +
         ", token usage: " + fixed2(usage(note.prefill_used_tokens, note.pool_tokens)) +
         ", #running-req: " + std::to_string(note.running) +
         ", #queue-req: " + std::to_string(note.waiting) + ", ";
}

std::string decode_line(const StepNote& note, const DecodeGrowth& growth) {
  std::string speculation;
  if (note.draft_tokens > 0) {
    const auto steps = static_cast<double>(growth.verify_steps);
    const double length =
        steps > 0 ? (steps + static_cast<double>(growth.accepted_drafts)) / steps : 0;
    speculation =
        ", accept len: " + fixed2(length) + ", accept rate: " + fixed2(length / note.draft_tokens);
  }
  return "Decode batch, #running-req: " + std::to_string(note.decode_running) +
         ", #token: " + std::to_string(note.used_tokens) +
         ", token usage: " + fixed2(usage(note.used_tokens, note.pool_tokens)) + speculation +
         ", cuda graph: " + (note.graph ? "True" : "False") +
         ", gen throughput (token/s): " + fixed2(growth.generated_per_second) +
         ", #queue-req: " + std::to_string(note.waiting) + ", ";
}

std::string retraction_line(const StepNote& note) {
  return "KV cache pool is full. Retract requests. #retracted_reqs: " +
         std::to_string(note.retracted) +
         ", #new_tokens_gained: " + std::to_string(note.retracted_tokens) +
         ", #new_token_ratio: " + fixed4(note.ratio_before) + " -> " + fixed4(note.ratio_after);
}

std::string draft_switch_line(bool on, double gain) {
  if (on) return "Drafts are on again, to see whether they gain time now.";
  if (gain <= 0) return "Drafts are off for a while: no steps show that they save what they cost.";
  return "Drafts are off for a while: with them answers take " + fixed2(1 / gain) +
         " times as long. --speculative-off-switch never keeps them on.";
}

SchedulerLog::SchedulerLog() : decode_told_ns_(now_ns()), thread_([this] { run(); }) {}

SchedulerLog::~SchedulerLog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  came_.notify_one();
  thread_.join();
}

void SchedulerLog::push(const StepNote& note) { add(note); }

void SchedulerLog::tell(std::string line) { add(std::move(line)); }

void SchedulerLog::add(Entry entry) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    if (entries_.size() >= kMostWaiting) {
      ++dropped_;
      return;
    }
    first = entries_.empty();
    entries_.push_back(std::move(entry));
  }
  if (first) came_.notify_one();
}

void SchedulerLog::write(const StepNote& note) {
  if (note.retracted > 0) log_warning(retraction_line(note));
  if (note.prefill_requests > 0) log_info(prefill_line(note));
  if (!note.tells_decode) return;
  const double seconds = static_cast<double>(note.at_ns - decode_told_ns_) * 1e-9;
  const auto tokens = static_cast<double>(note.generated_tokens - decode_told_.generated_tokens);
  DecodeGrowth growth;
  growth.generated_per_second = seconds > 0 ? tokens / seconds : 0;
  growth.verify_steps = note.verify_steps - decode_told_.verify_steps;
  growth.accepted_drafts = note.accepted_drafts - decode_told_.accepted_drafts;
  decode_told_ns_ = note.at_ns;
  decode_told_ = note;
  log_info(decode_line(note, growth));
}

void SchedulerLog::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    came_.wait(lock, [this] { return ending_ || !entries_.empty(); });
    if (entries_.empty()) return;
    const std::vector<Entry> entries = std::exchange(entries_, {});
    const std::size_t dropped = std::exchange(dropped_, 0);
    lock.unlock();
    for (const Entry& entry : entries) {
      if (const auto* note = std::get_if<StepNote>(&entry)) {
        write(*note);
      } else {
        log_info(std::get<std::string>(entry));
      }
    }
    if (dropped > 0) {
      log_warning("The log is slow: " + std::to_string(dropped) + " lines were not written");
    }
    lock.lock();
  }
}

}  // namespace fathom::observe
