#include "sched/plan_checks_testing.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace fathom::sched {

namespace {

class Checks {
 public:
  Checks(const std::vector<SequenceView>& sequences, const Budget& budget, const StepPlan& plan)
      : sequences_(sequences), budget_(budget), plan_(plan), entries_(sequences.size()) {}

  std::string run() {
    mark();
    retraction();
    rows();
    bounds();
    progress();
    admission();
    return fault_;
  }

 private:
  // What the plan does with a sequence.
  struct Entry {
    bool retracted = false;
    const PlannedRows* rows = nullptr;
  };

  void require(bool holds, const char* rule, wire::RequestId id = 0) {
    if (holds || !fault_.empty()) return;
    fault_ = std::string(rule) + " (request " + std::to_string(id) + ")";
  }

  // The entry of `id`, or nullptr when it is no sequence.
  Entry* entry(wire::RequestId id) {
    const auto at = std::lower_bound(
        sequences_.begin(), sequences_.end(), id,
        [](const SequenceView& sequence, wire::RequestId wanted) { return sequence.id < wanted; });
    if (at == sequences_.end() || at->id != id) return nullptr;
    return &entries_[static_cast<std::size_t>(at - sequences_.begin())];
  }

  std::int64_t pages_for(std::int64_t rows) const {
    return rows / budget_.page_tokens + (rows % budget_.page_tokens != 0 ? 1 : 0);
  }
  bool runs_on(std::size_t i) const { return sequences_[i].running && !entries_[i].retracted; }
  bool runs_after(std::size_t i) const {
    return runs_on(i) || (entries_[i].rows != nullptr && entries_[i].rows->admitted);
  }
  static bool decodes(const SequenceView& sequence) {
    return sequence.running && sequence.computed == sequence.known - 1;
  }

  void mark() {
    wire::RequestId last = 0;
    for (const wire::RequestId id : plan_.retract) {
      Entry* found = entry(id);
      require(last == 0 || id < last, "retracted ones are named youngest first", id);
      require(found != nullptr, "only sequences are retracted", id);
      if (found != nullptr) found->retracted = true;
      last = id;
    }
    for (const PlannedRows& rows : plan_.rows) {
      Entry* found = entry(rows.id);
      require(found != nullptr, "only sequences are computed", rows.id);
      if (found == nullptr) continue;
      require(found->rows == nullptr, "a sequence has one entry", rows.id);
      found->rows = &rows;
    }
  }

  // The youngest, as many as must be, never the oldest.
  void retraction() {
    std::int64_t pages = 0;  // of the known tokens of all that run and are older
    bool retracting = false;
    bool first = true;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const SequenceView& sequence = sequences_[i];
      require(sequence.running || !entries_[i].retracted, "what waits cannot be retracted",
              sequence.id);
      if (!sequence.running) continue;
      pages += std::max<std::int64_t>(sequence.pages, pages_for(sequence.known)) - sequence.shared;
      if (!retracting && entries_[i].retracted) {
        retracting = true;
        require(!first, "the oldest is not retracted", sequence.id);
        require(pages > budget_.pages, "nothing is retracted without need", sequence.id);
      }
      require(entries_[i].retracted == retracting, "the youngest are retracted", sequence.id);
      first = false;
    }
  }

  // Each entry by itself.
  void rows() {
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const SequenceView& sequence = sequences_[i];
      const PlannedRows* rows = entries_[i].rows;
      if (rows == nullptr) continue;
      const std::int32_t end = rows->first + rows->rows - rows->drafts;
      const std::int32_t logits =
          std::max(0, end - std::max(rows->first, sequence.first_logit_row));
      require(!entries_[i].retracted, "what is retracted computes nothing", sequence.id);
      require(rows->first == sequence.computed, "rows go on where they ended", sequence.id);
      require(end > rows->first && end <= sequence.known, "rows are of known tokens", sequence.id);
      require(rows->logit_rows == logits + rows->drafts, "logit rows are those asked for",
              sequence.id);
      require(rows->drafts == 0 || rows->drafts == sequence.drafts, "drafts are all or none",
              sequence.id);
      require(rows->drafts == 0 || decodes(sequence), "drafts are verified in decode steps",
              sequence.id);
      require(rows->drafts == 0 || plan_.retract.empty(), "drafts retract nobody", sequence.id);
      require(rows->completes == (end == sequence.known), "the last row completes", sequence.id);
      require(rows->admitted != sequence.running, "what waited is admitted", sequence.id);
      const std::int32_t ahead =
          rows->drafts > 0 ? std::min(rows->drafts + budget_.max_drafts - 1, sequence.remaining - 1)
                           : 0;
      require(sequence.pages + rows->new_pages ==
                  std::max<std::int64_t>(sequence.pages, pages_for(sequence.known + ahead)),
              "a sequence that is computed holds the pages of its known tokens", sequence.id);
    }
  }

  void bounds() {
    std::int64_t running = 0;
    std::int64_t pages = 0;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      if (!runs_after(i)) continue;
      ++running;
      pages += sequences_[i].pages - sequences_[i].shared +
               (entries_[i].rows != nullptr ? entries_[i].rows->new_pages : 0);
      if (entries_[i].rows != nullptr) {
        logit_rows_ += entries_[i].rows->logit_rows - entries_[i].rows->drafts;
      }
      if (entries_[i].rows == nullptr || decodes(sequences_[i])) continue;
      ++prompts_;
      prompt_rows_ += entries_[i].rows->rows;
    }
    running_ = running;
    require(running <= budget_.max_running, "at most max_running run");
    require(pages <= budget_.pages, "pages are within the pool");
    require(logit_rows_ <= budget_.max_logit_rows, "logit rows are within max_logit_rows");
    require(prompt_rows_ <= budget_.chunk_tokens, "prompt rows are within chunk_tokens");
    require(prompt_rows_ <= budget_.max_prefill_tokens,
            "prompt rows are within max_prefill_tokens");
    require(budget_.max_prefill_requests == 0 || prompts_ <= budget_.max_prefill_requests,
            "prompts are within max_prefill_requests");
  }

  void progress() {
    bool oldest = true;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const SequenceView& sequence = sequences_[i];
      if (!runs_on(i)) continue;
      require(!decodes(sequence) || entries_[i].rows != nullptr,
              "every decode row is in every step", sequence.id);
      require(!oldest || entries_[i].rows != nullptr, "the oldest gets ahead", sequence.id);
      oldest = false;
    }
    require(sequences_.empty() || !plan_.rows.empty(), "there is something to do");
  }

  // In order of age, as soon as possible, and not sooner.
  void admission() {
    bool admitted = false;
    const SequenceView* passed = nullptr;  // the oldest that still waits
    std::int64_t others = 0;               // that run on
    std::int64_t least = 0;                // pages, with the smallest reserve that is promised
    std::int64_t most = 0;                 // pages, if all of these use what they may
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const SequenceView& sequence = sequences_[i];
      if (runs_on(i)) ++others;
      if (!runs_after(i)) {
        if (passed == nullptr && !sequence.running) passed = &sequence;
        continue;
      }
      admitted = admitted || !sequence.running;
      require(sequence.running || passed == nullptr, "none overtakes an older one", sequence.id);
      const auto ratio_part = static_cast<std::int32_t>(
          budget_.reserve_ratio *
          static_cast<float>(std::min(sequence.remaining, budget_.reserve_clip)));
      const std::int32_t reserve = std::max(budget_.page_tokens, ratio_part);
      least +=
          pages_for(sequence.known + std::min(reserve, sequence.remaining - 1)) - sequence.shared;
      most += pages_for(sequence.known + sequence.remaining - 1) - sequence.shared;
    }
    if (!plan_.retract.empty()) {
      require(!admitted, "nothing is admitted when something is retracted");
      return;
    }
    require(!admitted || running_ == 1 || least <= budget_.pages, "reserves fit");
    if (passed == nullptr) return;
    require(others > 0 || admitted, "something runs");
    most += pages_for(passed->known + passed->remaining - 1);
    require(running_ == budget_.max_running ||
                prompt_rows_ == std::min(budget_.chunk_tokens, budget_.max_prefill_tokens) ||
                (budget_.max_prefill_requests > 0 && prompts_ == budget_.max_prefill_requests) ||
                (logit_rows_ == budget_.max_logit_rows &&
                 passed->first_logit_row == passed->computed) ||
                most > budget_.pages,
            "the oldest is admitted as soon as it can be", passed->id);
  }

  const std::vector<SequenceView>& sequences_;
  const Budget& budget_;
  const StepPlan& plan_;
  std::vector<Entry> entries_;  // of each sequence
  std::string fault_;
  std::int64_t running_ = 0;
  std::int64_t prompts_ = 0;
  std::int64_t prompt_rows_ = 0;
  std::int64_t logit_rows_ = 0;
};

}  // namespace

std::string first_fault(const std::vector<SequenceView>& sequences,
                        const Budget& budget,
                        const StepPlan& plan) {
  return Checks(sequences, budget, plan).run();
}

}  // namespace fathom::sched
