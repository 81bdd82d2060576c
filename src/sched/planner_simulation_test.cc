#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "sched/plan_checks_testing.h"
#include "sched/planner.h"
#include "sched/reserve.h"

// Traffic through the planner under a clock that only steps move. After every step all rules are
// checked anew, so these tests find what no example thought of.
namespace fathom::sched {
namespace {

constexpr std::int64_t kMillisecond = 1000000;

// `count`, or more where time is no matter.
int times(int count, int more = 4) {
  const bool all = std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  return all ? count * more : count;
}

struct Arrival {
  std::int64_t time_ns = 0;
  std::int32_t prompt = 1;
  std::int32_t max_new_tokens = 1;
  std::int32_t answer = 1;           // tokens after which it stops by itself
  std::int32_t scored_from = -1;     // prompt rows that need logits; -1: the last alone
  std::int64_t abort_after_ns = -1;  // -1: never
  std::int32_t group = -1;           // those of one group begin with the same `common` tokens
  std::int32_t common = 0;           // of the prompt
};

struct Statistics {
  std::int64_t steps = 0;
  std::int64_t finished = 0;
  std::int64_t aborted = 0;
  std::int64_t retractions = 0;
  std::int64_t rows = 0;
  std::int64_t rows_again = 0;        // that a retraction had thrown away
  std::int64_t rows_found = 0;        // in the prefix cache
  std::int64_t drafts = 0;            // verified
  std::vector<std::int64_t> wait_ns;  // of each arrival, to its admission; -1: never
};

// What an engine does around the planner.
class Simulation {
 public:
  // `arrivals` in order of time.
  Simulation(const Budget& budget, std::vector<Arrival> arrivals)
      : budget_(budget), arrivals_(std::move(arrivals)), reserve_(budget.reserve_ratio) {
    statistics_.wait_ns.assign(arrivals_.size(), -1);
    for (const Arrival& arrival : arrivals_) {
      most_steps_ += work(arrival);
      cached_.resize(std::max(cached_.size(), static_cast<std::size_t>(arrival.group + 1)));
    }
  }

  // The ratio follows what happens, as in an engine; else it stays.
  void adapt() { adapts_ = true; }

  // Answers are guessed `drafts` tokens ahead; a guess in two is right.
  void speculate(std::int32_t drafts) { budget_.max_drafts = drafts_ = drafts; }

  // The planner sees no waiting requests beyond the oldest max_running.
  void show_oldest_alone() { most_waiting_ = budget_.max_running; }

  // Runs until all is done or something is wrong, which it returns.
  std::string run() {
    while (fault_.empty() && (next_ < arrivals_.size() || !live_.empty())) {
      arrive();
      expire();
      if (live_.empty()) {
        reserve_.on_idle();
        if (next_ < arrivals_.size()) now_ns_ = std::max(now_ns_, arrivals_[next_].time_ns);
        continue;
      }
      step();
      require(++statistics_.steps <= most_steps_, "every step gets something done");
    }
    if (fault_.empty()) return {};
    return fault_ + ", step " + std::to_string(statistics_.steps);
  }

  const Statistics& statistics() const { return statistics_; }

 private:
  struct Live {
    SequenceView view;
    std::size_t arrival = 0;
    std::int32_t generated = 0;
    std::int32_t scored = 0;            // prompt rows computed at some time
    std::int32_t generated_before = 0;  // its last admission
    std::int64_t arrived_step = 0;
    std::int64_t work_before = 0;  // that older requests had at most, when it came
    std::int32_t indexed = 0;      // its first pages that the prefix cache has as well
  };

  static std::int64_t work(const Arrival& arrival) {
    return std::int64_t{arrival.prompt} + arrival.max_new_tokens;
  }

  void require(bool holds, const std::string& rule) {
    if (!holds && fault_.empty()) fault_ = rule;
  }

  const Arrival& arrival_of(const Live& live) const { return arrivals_[live.arrival]; }

  void update_view(Live& live) const {
    const Arrival& arrival = arrival_of(live);
    live.view.known = arrival.prompt + live.generated;
    live.view.remaining = arrival.max_new_tokens - live.generated;
    live.view.drafts = live.generated > 0 ? std::min(drafts_, live.view.remaining - 1) : 0;
    live.view.first_logit_row = live.view.known - 1;
    if (arrival.scored_from >= 0 && live.generated == 0) {
      live.view.first_logit_row =
          std::min(live.view.known - 1, std::max(arrival.scored_from, live.scored));
    }
  }

  void arrive() {
    for (; next_ < arrivals_.size() && arrivals_[next_].time_ns <= now_ns_; ++next_) {
      Live live;
      live.arrival = next_;
      live.view.id = next_ + 1;
      live.arrived_step = statistics_.steps;
      for (const Live& older : live_) live.work_before += work(arrival_of(older));
      update_view(live);
      live_.push_back(live);
    }
  }

  void expire() {
    std::erase_if(live_, [this](const Live& live) {
      const Arrival& arrival = arrival_of(live);
      const bool ends =
          arrival.abort_after_ns >= 0 && arrival.time_ns + arrival.abort_after_ns <= now_ns_;
      statistics_.aborted += ends ? 1 : 0;
      return ends;
    });
  }

  // The most pages of the group's common tokens that one running request holds from the cache.
  // Only those before `end`.
  std::int32_t held_of_group(std::int32_t group, std::size_t end) const {
    std::int32_t most = 0;
    for (std::size_t i = 0; i < end && group >= 0; ++i) {
      if (live_[i].view.running && arrival_of(live_[i]).group == group) {
        most = std::max(most, live_[i].indexed);
      }
    }
    return most;
  }

  // What is shared and what is found, as an engine tells the planner.
  void look_up() {
    for (std::size_t i = 0; i < live_.size(); ++i) {
      Live& live = live_[i];
      const std::int32_t group = arrival_of(live).group;
      if (group < 0) continue;
      if (!live.view.running) {
        const std::int32_t usable = std::min(arrival_of(live).common, live.view.first_logit_row);
        live.view.pages =
            std::min(cached_[static_cast<std::size_t>(group)], usable / budget_.page_tokens);
        live.view.computed = live.view.pages * budget_.page_tokens;
        live.indexed = live.view.pages;
      }
      const std::size_t end = live.view.running ? i : live_.size();
      live.view.shared = std::min(live.indexed, held_of_group(group, end));
    }
  }

  // The cache gives back what the pool needs: the ends of what no running request holds.
  void evict() {
    std::int64_t used = 0;
    for (const Live& live : live_) {
      if (live.view.running) used += live.view.pages - live.indexed;
    }
    for (const std::int32_t pages : cached_) used += pages;
    for (std::size_t group = 0; group < cached_.size(); ++group) {
      while (used > budget_.pages &&
             cached_[group] > held_of_group(static_cast<int>(group), live_.size())) {
        --cached_[group];
        --used;
      }
    }
    require(used <= budget_.pages, "what runs fits into the pool");
  }

  void step() {
    look_up();
    std::vector<SequenceView> views;
    std::int32_t waiting = 0;
    for (const Live& live : live_) {
      views.push_back(live.view);
      if (!live.view.running && ++waiting == most_waiting_) break;
    }
    budget_.reserve_ratio = reserve_.ratio();
    const StepPlan plan = plan_step(views, budget_);
    fault_ = first_fault(views, budget_, plan);
    if (!fault_.empty()) return;
    apply(plan);
    require(oldest_run(), "the running sequences are the oldest");
  }

  Live& find(wire::RequestId id) {
    return *std::lower_bound(
        live_.begin(), live_.end(), id,
        [](const Live& live, wire::RequestId wanted) { return live.view.id < wanted; });
  }

  void apply(const StepPlan& plan) {
    for (const wire::RequestId id : plan.retract) retract(find(id));
    std::int64_t rows = 0;
    bool decoded = false;
    for (const PlannedRows& planned : plan.rows) {
      Live& live = find(planned.id);
      if (planned.admitted) admit(live);
      decoded = decoded || (planned.rows == 1 + planned.drafts && planned.completes);
      rows += planned.rows;
      compute(live, planned);
    }
    evict();
    statistics_.rows += rows;
    now_ns_ += 2 * kMillisecond + rows * kMillisecond / 50;
    adapt_reserve(!plan.retract.empty(), decoded);
    std::erase_if(live_, [this](const Live& live) {
      const bool ends = live.generated == arrival_of(live).answer;
      statistics_.finished += ends ? 1 : 0;
      return ends;
    });
  }

  void retract(Live& live) {
    ++statistics_.retractions;
    statistics_.rows_again += live.view.computed;
    require(live.generated - live.generated_before >= budget_.page_tokens / (1 + drafts_),
            "what was admitted gets a page of tokens before it is retracted");
    live.view.running = false;
    live.view.computed = 0;
    live.view.pages = 0;
    live.view.shared = 0;
    live.indexed = 0;
  }

  void admit(Live& live) {
    live.view.running = true;
    live.generated_before = live.generated;
    statistics_.rows_found += live.view.computed;
    std::int64_t& wait = statistics_.wait_ns[live.arrival];
    if (wait >= 0) return;
    wait = now_ns_ - arrival_of(live).time_ns;
    require(live.view.id > last_first_admitted_, "requests are admitted in order of arrival");
    last_first_admitted_ = live.view.id;
    require(statistics_.steps - live.arrived_step <= live.work_before,
            "no wait is longer than the work of older requests");
  }

  void compute(Live& live, const PlannedRows& planned) {
    live.view.pages += planned.new_pages;
    live.view.computed += planned.rows - planned.drafts;
    live.scored = std::max(live.scored, live.view.computed);
    if (planned.completes) ++live.generated;
    statistics_.drafts += planned.drafts;
    for (std::int32_t i = 0; i < planned.drafts; ++i) {
      if (++guesses_ % 2 == 0 || live.generated == arrival_of(live).answer) break;
      ++live.generated;
      ++live.view.computed;
    }
    update_view(live);
    const Arrival& arrival = arrival_of(live);
    if (arrival.group < 0) return;
    live.indexed = std::min(arrival.common, live.view.computed) / budget_.page_tokens;
    std::int32_t& cached = cached_[static_cast<std::size_t>(arrival.group)];
    cached = std::max(cached, live.indexed);
  }

  void adapt_reserve(bool retracted, bool decoded) {
    if (!adapts_) return;
    if (!retracted) {
      if (decoded) reserve_.on_decode();
      return;
    }
    std::int64_t running = 0;
    std::int64_t generated = 0;
    std::int64_t allowed = 0;
    for (const Live& live : live_) {
      if (!live.view.running) continue;
      ++running;
      generated += live.generated;
      allowed += arrival_of(live).max_new_tokens;
    }
    reserve_.on_retraction(running, generated, allowed);
  }

  bool oldest_run() const {
    return std::is_partitioned(live_.begin(), live_.end(),
                               [](const Live& live) { return live.view.running; });
  }

  Budget budget_;
  std::vector<Arrival> arrivals_;
  Reserve reserve_;
  bool adapts_ = false;
  std::int32_t drafts_ = 0;
  std::int64_t guesses_ = 0;
  std::int32_t most_waiting_ = std::numeric_limits<std::int32_t>::max();
  std::int64_t now_ns_ = 0;
  std::size_t next_ = 0;
  std::vector<Live> live_;            // unfinished, ids ascending
  std::vector<std::int32_t> cached_;  // pages of each group in the prefix cache
  wire::RequestId last_first_admitted_ = 0;
  std::int64_t most_steps_ = 0;
  Statistics statistics_;
  std::string fault_;
};

// Random numbers that are the same with every standard library.
class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  // In [low, high].
  std::int32_t between(std::int32_t low, std::int32_t high) {
    return low + static_cast<std::int32_t>(random_() % static_cast<unsigned>(high - low + 1));
  }
  bool one_in(std::int32_t count) { return between(1, count) == 1; }

 private:
  std::mt19937 random_;
};

Budget random_budget(Dice& dice, std::int32_t most_tokens) {
  Budget budget;
  budget.page_tokens = 1 << (2 * dice.between(0, 3));
  const std::int32_t pages = (most_tokens + budget.page_tokens - 1) / budget.page_tokens;
  budget.pages = pages * dice.between(1, 5) + dice.between(0, pages);
  budget.max_running = dice.one_in(6) ? 1 : dice.between(2, 40);
  budget.chunk_tokens = dice.between(8, 200);
  budget.max_prefill_tokens = dice.between(8, 200);
  budget.max_prefill_requests = dice.one_in(2) ? 0 : dice.between(1, 4);
  budget.max_logit_rows = budget.max_running + dice.between(0, 30);
  budget.reserve_ratio = dice.one_in(3) ? 0 : static_cast<float>(dice.between(0, 100)) / 100;
  budget.reserve_clip = dice.one_in(2) ? 4096 : dice.between(0, 100);
  return budget;
}

std::vector<Arrival> random_traffic(Dice& dice, std::int32_t most_tokens, int count) {
  const std::int32_t gap = dice.one_in(3) ? 0 : dice.between(1, 20);
  const bool scores = dice.one_in(2);
  const std::int32_t groups = dice.one_in(2) ? 0 : dice.between(1, 8);
  std::vector<Arrival> arrivals;
  std::int64_t now = 0;
  for (int i = 0; i < count; ++i) {
    Arrival arrival;
    now += dice.between(0, gap) * kMillisecond;
    arrival.time_ns = now;
    arrival.prompt = dice.between(1, dice.one_in(4) ? most_tokens : 1 + most_tokens / 4);
    arrival.max_new_tokens = dice.between(1, most_tokens + 1 - arrival.prompt);
    arrival.answer =
        dice.one_in(2) ? arrival.max_new_tokens : dice.between(1, arrival.max_new_tokens);
    if (scores && dice.one_in(5)) arrival.scored_from = dice.between(0, arrival.prompt - 1);
    if (dice.one_in(8)) arrival.abort_after_ns = dice.between(0, 300) * kMillisecond;
    if (groups > 0 && !dice.one_in(4)) {
      arrival.group = dice.between(0, groups - 1);
      arrival.common = dice.between(0, arrival.prompt);
    }
    arrivals.push_back(arrival);
  }
  return arrivals;
}

TEST(PlannerSimulation, RandomTrafficOnRandomEnginesKeepsEveryRule) {
  constexpr int kRequests = 300;
  std::int64_t retractions = 0;
  std::int64_t found = 0;
  std::int64_t drafts = 0;
  for (int seed = 0; seed < times(80, 20); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    const std::int32_t most_tokens = dice.between(2, 200);
    const Budget budget = random_budget(dice, most_tokens);
    Simulation simulation(budget, random_traffic(dice, most_tokens, kRequests));
    if (dice.one_in(2)) simulation.adapt();
    if (dice.one_in(2)) simulation.show_oldest_alone();
    if (dice.one_in(2)) simulation.speculate(dice.between(1, 5));

    ASSERT_EQ(simulation.run(), "") << "seed " << seed;

    const Statistics& statistics = simulation.statistics();
    ASSERT_EQ(statistics.finished + statistics.aborted, kRequests) << "seed " << seed;
    retractions += statistics.retractions;
    found += statistics.rows_found;
    drafts += statistics.drafts;
  }
  EXPECT_GT(drafts, times(10000, 20));
  EXPECT_GT(found, times(10000, 20));
  EXPECT_GT(retractions, times(400, 20));  // or the pools were too roomy to test anything
}

// 64 pages of 64 tokens, prompts of up to 512, answers of up to 256 of which most end early.
Budget plain_budget() {
  Budget budget;
  budget.pages = 64;
  budget.max_running = 32;
  budget.chunk_tokens = 256;
  return budget;
}

std::vector<Arrival> plain_traffic(int count, std::int32_t gap_ms) {
  Dice dice(1);
  std::vector<Arrival> arrivals;
  for (int i = 0; i < count; ++i) {
    Arrival arrival;
    arrival.time_ns = std::int64_t{i} * gap_ms * kMillisecond;
    arrival.prompt = dice.between(1, 512);
    arrival.max_new_tokens = dice.between(64, 256);
    arrival.answer = dice.between(1, arrival.max_new_tokens);
    arrivals.push_back(arrival);
  }
  return arrivals;
}

TEST(PlannerSimulation, ABurstOfThousandsIsServedInOrder) {
  const int count = times(1500);
  Simulation simulation(plain_budget(), plain_traffic(count, 0));
  simulation.adapt();

  ASSERT_EQ(simulation.run(), "");

  EXPECT_EQ(simulation.statistics().finished, count);
  const std::vector<std::int64_t>& waits = simulation.statistics().wait_ns;
  EXPECT_TRUE(std::is_sorted(waits.begin(), waits.end()));
}

TEST(PlannerSimulation, WhoeverReservesEverythingIsNeverRetracted) {
  Budget budget = plain_budget();
  budget.reserve_ratio = 1;
  Simulation simulation(budget, plain_traffic(times(500), 0));

  ASSERT_EQ(simulation.run(), "");

  EXPECT_EQ(simulation.statistics().retractions, 0);
}

TEST(PlannerSimulation, TheReserveThatAdaptsTradesStepsForFewRetractions) {
  std::vector<Arrival> arrivals = plain_traffic(times(600), 0);
  for (Arrival& arrival : arrivals) {
    arrival.max_new_tokens *= 4;
    arrival.answer *= 4;
  }
  Budget budget = plain_budget();
  budget.page_tokens = 16;
  budget.pages = 512;
  budget.reserve_ratio = 1;
  Simulation careful(budget, arrivals);
  budget.reserve_ratio = 0;
  Simulation careless(budget, arrivals);
  budget.reserve_ratio = 0.7F;
  Simulation adapting(budget, arrivals);
  adapting.adapt();
  careful.show_oldest_alone();
  careless.show_oldest_alone();
  adapting.show_oldest_alone();

  ASSERT_EQ(careful.run(), "");
  ASSERT_EQ(careless.run(), "");
  ASSERT_EQ(adapting.run(), "");

  EXPECT_LT(adapting.statistics().steps, careful.statistics().steps);
  EXPECT_LT(adapting.statistics().retractions, careless.statistics().retractions);
  EXPECT_LT(adapting.statistics().rows_again, adapting.statistics().rows / 20);
}

// Half of the requests have prompts that are thirty times as long as the others'.
TEST(PlannerSimulation, LongAndShortRequestsWaitAlike) {
  Dice dice(4);
  std::vector<Arrival> arrivals = plain_traffic(times(2000), 8);
  for (Arrival& arrival : arrivals) arrival.prompt = dice.one_in(2) ? 480 : 16;
  Simulation simulation(plain_budget(), arrivals);
  simulation.adapt();
  simulation.show_oldest_alone();

  ASSERT_EQ(simulation.run(), "");

  double long_wait_ns = 0;
  double short_wait_ns = 0;
  double long_requests = 0;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    const bool is_long = arrivals[i].prompt == 480;
    long_requests += is_long ? 1 : 0;
    (is_long ? long_wait_ns : short_wait_ns) +=
        static_cast<double>(simulation.statistics().wait_ns[i]);
  }
  long_wait_ns /= long_requests;
  short_wait_ns /= static_cast<double>(arrivals.size()) - long_requests;
  EXPECT_GT(short_wait_ns, 1000.0 * kMillisecond);  // there is a queue
  EXPECT_NEAR(long_wait_ns / short_wait_ns, 1, 0.05);
}

TEST(PlannerSimulation, WithRoomToSpareNobodyWaitsLongerThanAStep) {
  Budget budget = plain_budget();
  budget.pages = 1000;
  budget.chunk_tokens = 2048;
  Simulation simulation(budget, plain_traffic(times(2000), 100));

  ASSERT_EQ(simulation.run(), "");

  const std::vector<std::int64_t>& waits = simulation.statistics().wait_ns;
  EXPECT_LT(*std::max_element(waits.begin(), waits.end()), 15 * kMillisecond);
  EXPECT_EQ(simulation.statistics().retractions, 0);
}

}  // namespace
}  // namespace fathom::sched
