#include "sched/planner.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace fathom::sched {

namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Prompt work that a step leaves undone.
struct Backlog {
  std::int64_t rows = 0;
  std::int64_t logit_rows = 0;
  std::int64_t sequences = 0;
};

Backlog operator+(const Backlog& a, const Backlog& b) {
  return {a.rows + b.rows, a.logit_rows + b.logit_rows, a.sequences + b.sequences};
}

// The share of one sequence in a step's prompt rows.
struct Share {
  std::int32_t rows = 0;
  std::int32_t logit_rows = 0;
  std::int32_t drafts = 0;
};

// One step while it is being planned.
class Planning {
 public:
  Planning(const std::vector<SequenceView>& sequences, const Budget& budget);

  void choose_running();
  void plan_decode();
  void plan_prompts();
  void admit();
  StepPlan take() { return std::move(plan_); }

 private:
  std::int64_t pages_for(std::int64_t rows) const { return ceil_div(rows, budget_.page_tokens); }
  std::int64_t known_pages(const SequenceView& sequence) const {
    return std::max<std::int64_t>(sequence.pages, pages_for(sequence.known));
  }
  // With those of drafts, this step's and the ones that it makes.
  std::int64_t draft_pages(const SequenceView& sequence) const {
    const std::int64_t ahead =
        std::min(sequence.drafts + budget_.max_drafts - 1, sequence.remaining - 1);
    return std::max(known_pages(sequence), pages_for(sequence.known + ahead));
  }
  // Of its known tokens, without what older ones hold.
  std::int64_t added_pages(const SequenceView& sequence) const {
    return known_pages(sequence) - sequence.shared;
  }
  void check(const SequenceView& sequence) const;

  Share share_of(const SequenceView& sequence) const;
  static Backlog backlog_of(const SequenceView& sequence, const Share& share);
  void add(const SequenceView& sequence, const Share& share);
  bool drafts_fit(const SequenceView& sequence);

  bool fits(const SequenceView& candidate, const Share& share);
  std::int64_t steps_to_token(const SequenceView& candidate, const Share& share) const;
  std::int64_t reserved_pages(const SequenceView& sequence, std::int64_t least_growth) const;

  const std::vector<SequenceView>& sequences_;
  const Budget& budget_;
  StepPlan plan_;
  std::vector<const SequenceView*> running_;  // that stay, then those admitted
  std::int32_t rows_per_step_;
  // What is left of this step.
  std::int32_t rows_left_;
  std::int32_t logit_rows_left_;
  std::int32_t prompts_left_;
  std::int64_t pages_ = 0;  // that running_ has or needs for its tokens and granted drafts
  Backlog backlog_;         // of running_, after this step
  // Pages that running_ needs with its reserves, for one least growth; -1: for none yet.
  std::int64_t reserved_growth_ = -1;
  std::int64_t reserved_ = 0;
};

Planning::Planning(const std::vector<SequenceView>& sequences, const Budget& budget)
    : sequences_(sequences),
      budget_(budget),
      rows_per_step_(std::min(budget.chunk_tokens, budget.max_prefill_tokens)),
      rows_left_(rows_per_step_),
      logit_rows_left_(budget.max_logit_rows),
      prompts_left_(budget.max_prefill_requests > 0 ? budget.max_prefill_requests
                                                    : std::numeric_limits<std::int32_t>::max()) {
  FATHOM_CHECK(budget.page_tokens > 0 && budget.max_running > 0 && rows_per_step_ > 0);
  FATHOM_CHECK(budget.max_logit_rows >= budget.max_running);
  FATHOM_CHECK(budget.reserve_ratio >= 0 && budget.reserve_ratio <= 1 && budget.reserve_clip >= 0);
}

void Planning::check(const SequenceView& sequence) const {
  FATHOM_CHECK(sequence.computed >= 0 && sequence.computed < sequence.known);
  FATHOM_CHECK(sequence.first_logit_row >= 0 && sequence.first_logit_row < sequence.known);
  FATHOM_CHECK(sequence.remaining >= 1);
  FATHOM_CHECK(sequence.running || !sequence.sits_out);
  FATHOM_CHECK(sequence.drafts >= 0 && sequence.drafts < sequence.remaining);
  FATHOM_CHECK(sequence.drafts <= budget_.max_drafts);
  FATHOM_CHECK(sequence.shared >= 0 && sequence.shared <= sequence.pages);
  FATHOM_CHECK(sequence.running ||
               std::int64_t{sequence.pages} * budget_.page_tokens == sequence.computed);
  FATHOM_CHECK_MSG(
      pages_for(std::int64_t{sequence.known} + sequence.remaining - 1) <= budget_.pages,
      "request " + std::to_string(sequence.id) + " can never fit into the pool");
}

// Since ids ascend, what stays is the longest run of the oldest that fits.
void Planning::choose_running() {
  std::int64_t held = 0;
  const SequenceView* previous = nullptr;
  for (const SequenceView& sequence : sequences_) {
    FATHOM_CHECK(previous == nullptr || previous->id < sequence.id);
    previous = &sequence;
    if (!sequence.running) continue;
    check(sequence);
    held += sequence.pages - sequence.shared;
    if (plan_.retract.empty() && pages_ + added_pages(sequence) <= budget_.pages) {
      pages_ += added_pages(sequence);
      running_.push_back(&sequence);
    } else {
      plan_.retract.push_back(sequence.id);
    }
  }
  std::reverse(plan_.retract.begin(), plan_.retract.end());
  FATHOM_CHECK(held <= budget_.pages);
  FATHOM_CHECK(running_.size() + plan_.retract.size() <=
               static_cast<std::size_t>(budget_.max_running));
}

void Planning::add(const SequenceView& sequence, const Share& share) {
  PlannedRows rows;
  rows.id = sequence.id;
  rows.first = sequence.computed;
  rows.rows = share.rows;
  const std::int64_t pages = share.drafts > 0 ? draft_pages(sequence) : known_pages(sequence);
  rows.new_pages = static_cast<std::int32_t>(pages - sequence.pages);
  rows.logit_rows = share.logit_rows;
  rows.admitted = !sequence.running;
  rows.completes = sequence.computed + share.rows - share.drafts == sequence.known;
  rows.drafts = share.drafts;
  plan_.rows.push_back(rows);
  logit_rows_left_ -= share.logit_rows - share.drafts;
}

void Planning::plan_decode() {
  for (const SequenceView* sequence : running_) {
    if (sequence->sits_out || sequence->computed != sequence->known - 1) continue;
    const std::int32_t drafts = drafts_fit(*sequence) ? sequence->drafts : 0;
    add(*sequence, {1 + drafts, 1 + drafts, drafts});
  }
}

bool Planning::drafts_fit(const SequenceView& sequence) {
  if (sequence.drafts == 0 || !plan_.retract.empty()) return false;
  const std::int64_t more = draft_pages(sequence) - known_pages(sequence);
  if (pages_ + more > budget_.pages) return false;
  pages_ += more;
  return true;
}

Share Planning::share_of(const SequenceView& sequence) const {
  if (prompts_left_ == 0) return {};
  const std::int32_t silent = std::max(0, sequence.first_logit_row - sequence.computed);
  Share share;
  share.rows = std::min({rows_left_, sequence.known - sequence.computed,
                         silent + std::min(logit_rows_left_, sequence.known)});
  share.logit_rows = std::max(0, share.rows - silent);
  return share;
}

Backlog Planning::backlog_of(const SequenceView& sequence, const Share& share) {
  const std::int32_t computed = sequence.computed + share.rows;
  if (computed == sequence.known) return {};
  return {sequence.known - computed, sequence.known - std::max(computed, sequence.first_logit_row),
          1};
}

void Planning::plan_prompts() {
  for (const SequenceView* sequence : running_) {
    if (sequence->sits_out || sequence->computed == sequence->known - 1) continue;
    const Share share = share_of(*sequence);
    backlog_ = backlog_ + backlog_of(*sequence, share);
    if (share.rows == 0) continue;
    add(*sequence, share);
    rows_left_ -= share.rows;
    --prompts_left_;
  }
}

// At the longest, this step and the last included. In every step between, the candidate is held up
// because it and older sequences used up one of: the prompt rows of the step, its logit rows (of
// which decode leaves one more than max_logit_rows - max_running at least), the number of its
// prompts. The backlog is enough for only so many of each kind.
std::int64_t Planning::steps_to_token(const SequenceView& candidate, const Share& share) const {
  if (share.rows == candidate.known - candidate.computed) return 1;
  const Backlog backlog = backlog_ + backlog_of(candidate, share);
  std::int64_t held_up = backlog.rows / rows_per_step_;
  held_up += backlog.logit_rows / (budget_.max_logit_rows - budget_.max_running + 1);
  if (budget_.max_prefill_requests > 0) held_up += backlog.sequences / budget_.max_prefill_requests;
  return held_up + 2;
}

std::int64_t Planning::reserved_pages(const SequenceView& sequence,
                                      std::int64_t least_growth) const {
  const double expected =
      std::ceil(double{budget_.reserve_ratio} * std::min(sequence.remaining, budget_.reserve_clip));
  const std::int64_t growth = std::max(static_cast<std::int64_t>(expected), least_growth);
  // The last token that it may generate needs no row.
  const std::int64_t rows = sequence.known + std::min<std::int64_t>(growth, sequence.remaining - 1);
  return std::max<std::int64_t>(sequence.pages, pages_for(rows)) - sequence.shared;
}

bool Planning::fits(const SequenceView& candidate, const Share& share) {
  const std::int64_t growth = steps_to_token(candidate, share) * (1 + budget_.max_drafts) +
                              std::int64_t{2} * budget_.max_drafts + budget_.page_tokens;
  if (growth != reserved_growth_) {  // one value for all that complete in this step
    reserved_growth_ = growth;
    reserved_ = 0;
    for (const SequenceView* sequence : running_) reserved_ += reserved_pages(*sequence, growth);
  }
  const std::int64_t own = reserved_pages(candidate, growth);
  if (reserved_ + own > budget_.pages) return false;
  reserved_ += own;
  return true;
}

void Planning::admit() {
  if (!plan_.retract.empty()) return;
  for (const SequenceView& sequence : sequences_) {
    if (sequence.running) continue;
    if (running_.size() == static_cast<std::size_t>(budget_.max_running)) return;
    check(sequence);
    const Share share = share_of(sequence);
    if (share.rows == 0) return;
    if (!running_.empty() && !fits(sequence, share)) return;
    backlog_ = backlog_ + backlog_of(sequence, share);
    running_.push_back(&sequence);
    add(sequence, share);
    rows_left_ -= share.rows;
    --prompts_left_;
  }
}

}  // namespace

StepPlan plan_step(const std::vector<SequenceView>& sequences, const Budget& budget) {
  Planning planning(sequences, budget);
  planning.choose_running();
  planning.plan_decode();
  planning.plan_prompts();
  planning.admit();
  StepPlan plan = planning.take();
  FATHOM_CHECK(!plan.empty() || sequences.empty() ||
               std::any_of(sequences.begin(), sequences.end(),
                           [](const SequenceView& each) { return each.sits_out; }));
  return plan;
}

}  // namespace fathom::sched
