#include "bench/speculation_case.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "bench/machine.h"
#include "bench/model_cost.h"
#include "bench/model_session.h"
#include "bench/table.h"

namespace fathom::bench {

namespace {

constexpr std::int32_t kContext = 512;
constexpr std::int32_t kPromptChunk = 256;
constexpr int kSteps = 24;
// Quick steps are run again and again: a slice that other work takes is longer than one of them.
constexpr double kLeastSeconds = 2;
constexpr std::int32_t kSequences = 16;
constexpr std::int32_t kBatches[] = {1, 4, 16};
// Of a step with a draft: smaller components are not listed.
constexpr double kSmallComponent = 0.03;

SessionOptions session_options(int threads) {
  SessionOptions options;
  options.threads = threads;
  options.sequences = kSequences;
  options.logit_rows_each = 2;
  options.max_positions = kContext + kSteps + 1;
  options.chunk = kPromptChunk;
  return options;
}

double median(std::vector<double> times) {
  if (times.empty()) return 0;
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// A component of a kind of step.
struct Component {
  Cost cost;                  // mean
  double floor = 0;           // mean
  std::vector<double> times;  // each step's
};

// A kind of step at one batch size.
struct Kind {
  Cost cost;                  // mean
  double floor = 0;           // mean
  std::vector<double> times;  // each step's
  std::map<std::string, Component> components;

  void expect(const std::vector<Part>& parts, const Limits& limits) {
    const auto add = [](const Cost& from, Cost& to) {
      to.bytes += from.bytes / kSteps;
      to.flops += from.flops / kSteps;
    };
    add(sum(parts), cost);
    floor += serial_s(parts, limits) / kSteps;
    for (const Part& part : parts) {
      Component& component = components[part.component];
      add(part.cost, component.cost);
      component.floor += part.cost.floor_s(limits) / kSteps;
    }
  }
  void forget_times() {
    times.clear();
    for (auto& [name, component] : components) component.times.clear();
  }
  Component component(const std::string& name) const {
    const auto found = components.find(name);
    return found == components.end() ? Component() : found->second;
  }
};

struct Comparison {
  std::int32_t batch = 0;
  Kind plain;
  Kind verify;
  Kind draft;
  std::vector<double> both;  // times of verify and draft of one step

  double seen() const { return median(both) / median(plain.times); }
  double floor() const { return (verify.floor + draft.floor) / plain.floor; }
};

// What a component attains: seconds a byte and an operation.
struct Rates {
  double byte = 0;
  double flop = 0;
  double seconds(const Cost& cost) const { return byte * cost.bytes + flop * cost.flops; }
};

// The rates that fit the component's times in the plain steps best; neither is negative.
Rates fit(const std::vector<Comparison>& comparisons, const std::string& name) {
  double xx = 0;
  double xy = 0;
  double yy = 0;
  double x1 = 0;
  double y1 = 0;
  for (const Comparison& of : comparisons) {
    const Component component = of.plain.component(name);
    const double time = median(component.times);
    const double x = component.cost.bytes / time;
    const double y = component.cost.flops / time;
    xx += x * x;
    xy += x * y;
    yy += y * y;
    x1 += x;
    y1 += y;
  }
  const double determinant = xx * yy - xy * xy;
  // Attention's bytes and operations grow alike; embeddings have no operations.
  const bool alike = determinant < 1e-3 * xx * yy;
  if (yy == 0) return {x1 / xx, 0};
  const Rates rates{(x1 * yy - y1 * xy) / determinant, (y1 * xx - x1 * xy) / determinant};
  if (alike || rates.byte < 0) return {0, y1 / yy};
  if (rates.flop < 0) return {x1 / xx, 0};
  return rates;
}

using RatesByComponent = std::map<std::string, Rates>;

RatesByComponent fit_all(const std::vector<Comparison>& comparisons) {
  RatesByComponent rates;
  for (const auto& [name, component] : comparisons.front().plain.components) {
    if (component.cost.bytes > 0) rates[name] = fit(comparisons, name);
  }
  return rates;
}

double attained(const RatesByComponent& rates, const Comparison& of) {
  double plain = 0;
  double both = 0;
  for (const auto& [name, rate] : rates) {
    plain += rate.seconds(of.plain.component(name).cost);
    both +=
        rate.seconds(of.verify.component(name).cost) + rate.seconds(of.draft.component(name).cost);
  }
  return both / plain;
}

class SpeculationCase {
 public:
  SpeculationCase(const std::filesystem::path& folder, int threads)
      : session_(folder, session_options(threads)),
        limits_(measure_limits(
            threads,
            std::min(kMemoryBytes, static_cast<std::size_t>(session_.source().data_bytes())))),
        probe_(session_.config().layers_with_cache(), session_.config().n_routed_experts) {
    std::cout << "\none draft a sequence, context " << kContext << ", " << threads
              << " threads; limits with a buffer of the model's size "
              << number(limits_.read_bytes_per_s / 1e9, 1) << " GB/s read, "
              << number(limits_.flops_per_s / 1e9, 1) << " GFLOP/s FMA\n";
  }

  void run() {
    if (session_.weights().draft == nullptr) {
      std::cout << "the model has no draft layer\n";
      return;
    }
    fill_cache();
    std::vector<Comparison> comparisons;
    for (const std::int32_t batch : kBatches) {
      Comparison& made = comparisons.emplace_back();
      made.batch = batch;
      expect(made);
    }
    const RatesByComponent rates = fit_all(comparisons);
    print_predictions(comparisons, rates);
    for (Comparison& of : comparisons) measure(of);
    print_times(comparisons, rates);
    print_components(comparisons, rates);
  }

 private:
  std::vector<std::int32_t> ids(std::int32_t count) {
    std::vector<std::int32_t> made(static_cast<std::size_t>(count));
    const auto vocab = static_cast<std::uint32_t>(session_.config().vocab_size);
    for (std::int32_t& id : made) id = static_cast<std::int32_t>(random_() % vocab);
    return made;
  }

  // A prompt of random tokens for all sequences, in the draft layer's cache too.
  void fill_cache() {
    const std::vector<std::int32_t> prompt = ids(kContext + 1);
    static_assert(kContext % kPromptChunk == 0);
    for (std::int32_t first = 0; first < kContext; first += kPromptChunk) {
      const auto at = static_cast<std::size_t>(first);
      session_.prefill(0, std::span(prompt).subspan(at, kPromptChunk), first);
      session_.draft(std::span(prompt).subspan(at + 1, kPromptChunk));
    }
    session_.copy_first_sequence();
  }

  // The tokens of a step, always the same for a batch size and number.
  struct StepIds {
    std::vector<std::int32_t> plain;
    std::vector<std::int32_t> verify;  // pairs: the plain step's token and a draft
    std::vector<std::int32_t> draft;   // pairs: the draft, and the token behind it
  };
  StepIds step_ids(std::int32_t batch, int step) {
    random_.seed(static_cast<std::uint32_t>(batch * 1000 + step));
    StepIds made;
    made.verify = ids(2 * batch);
    made.draft = ids(2 * batch);
    for (std::size_t row = 0; row < made.verify.size(); row += 2) {
      made.plain.push_back(made.verify[row]);
      made.draft[row] = made.verify[row + 1];
    }
    return made;
  }

  // Runs all steps to see which experts they hit, then times the plain ones.
  void expect(Comparison& of) {
    const config::ModelConfig& config = session_.config();
    const config::KvLayout& layout = session_.layout();
    const model::Weights& weights = session_.weights();
    for (int step = 0; step < kSteps; ++step) {
      const StepIds ids = step_ids(of.batch, step);
      const std::int32_t position = kContext + step;
      std::vector<std::int32_t> positions(ids.plain.size(), position);
      session_.decode(ids.plain, position, &probe_);
      of.plain.expect(step_parts(config, layout, weights, positions, of.batch, probe_), limits_);
      positions.insert(positions.end(), positions.size(), position + 1);
      session_.verify(ids.verify, position, &probe_);
      of.verify.expect(
          step_parts(config, layout, weights, positions, 2 * std::int64_t{of.batch}, probe_),
          limits_);
      session_.draft(ids.draft, &probe_);
      of.draft.expect(draft_parts(config, layout, weights, positions, of.batch, probe_), limits_);
    }
    repeat(of.batch, [&](const StepIds& ids, std::int32_t position) {
      time(of.plain, [&] { session_.decode(ids.plain, position); });
    });
  }

  template <class Round>
  void repeat(std::int32_t batch, const Round& round) {
    const double start = now_s();
    do {
      for (int step = 0; step < kSteps; ++step) round(step_ids(batch, step), kContext + step);
    } while (now_s() - start < kLeastSeconds);
  }

  template <class Step>
  void time(Kind& kind, const Step& step) {
    session_.clock().begin();
    const double start = now_s();
    step();
    kind.times.push_back(now_s() - start);
    for (const auto& [component, seconds] : session_.clock().seconds()) {
      kind.components[component].times.push_back(seconds);
    }
  }

  // The kinds of steps take turns, so that other work on the machine meets them alike.
  void measure(Comparison& of) {
    of.plain.forget_times();
    repeat(of.batch, [&](const StepIds& ids, std::int32_t position) {
      time(of.plain, [&] { session_.decode(ids.plain, position); });
      time(of.verify, [&] { session_.verify(ids.verify, position); });
      time(of.draft, [&] { session_.draft(ids.draft); });
      of.both.push_back(of.verify.times.back() + of.draft.times.back());
    });
  }

  static void print_predictions(const std::vector<Comparison>& comparisons,
                                const RatesByComponent& rates) {
    std::cout << "rates of plain steps:";
    for (const auto& [name, rate] : rates) {
      std::cout << "\n  " << name;
      if (rate.byte > 0) std::cout << ", " << number(1e-9 / rate.byte, 1) << " GB/s";
      if (rate.flop > 0) std::cout << ", " << number(1e-9 / rate.flop, 1) << " GFLOP/s";
    }
    std::cout << "\n\n";
    const Table table({{"predicted", 9},
                       {"plain: MB", 9},
                       {"GFLOP", 6},
                       {"floor", 8},
                       {"verify: MB", 10},
                       {"GFLOP", 6},
                       {"floor", 8},
                       {"draft: MB", 9},
                       {"GFLOP", 6},
                       {"floor", 8},
                       {"T2/T1, floor", 12},
                       {"rates", 6}});
    for (const Comparison& of : comparisons) {
      std::vector<std::string> cells{"batch " + std::to_string(of.batch)};
      for (const Kind* kind : {&of.plain, &of.verify, &of.draft}) {
        cells.push_back(number(kind->cost.bytes / 1e6, 1));
        cells.push_back(number(kind->cost.flops / 1e9, 2));
        cells.push_back(duration(kind->floor));
      }
      cells.push_back(number(of.floor(), 2));
      cells.push_back(number(attained(rates, of), 2));
      table.row(cells);
    }
    std::cout << "\n";
  }

  static void print_times(const std::vector<Comparison>& comparisons,
                          const RatesByComponent& rates) {
    const Table table({{"seen", 9},
                       {"plain, T1", 9},
                       {"verify", 8},
                       {"draft", 8},
                       {"T2", 8},
                       {"T2/T1", 6},
                       {"floor", 6},
                       {"off", 6},
                       {"rates", 6},
                       {"off", 6},
                       {"break-even", 10}});
    for (const Comparison& of : comparisons) {
      const double predicted = attained(rates, of);
      table.row({"batch " + std::to_string(of.batch), duration(median(of.plain.times)),
                 duration(median(of.verify.times)), duration(median(of.draft.times)),
                 duration(median(of.both)), number(of.seen(), 2), number(of.floor(), 2),
                 percent(of.seen() / of.floor() - 1), number(predicted, 2),
                 percent(of.seen() / predicted - 1), percent(of.seen() - 1)});
    }
    std::cout << "\n";
  }

  static void print_components(const std::vector<Comparison>& comparisons,
                               const RatesByComponent& rates) {
    const Table table({{"component", 32},
                       {"T1", 8},
                       {"floor", 8},
                       {"T2", 8},
                       {"floor", 8},
                       {"T2/T1", 6},
                       {"floor", 6},
                       {"rates", 6}});
    for (const Comparison& of : comparisons) {
      for (const auto& [name, verify] : of.verify.components) {
        const Component plain = of.plain.component(name);
        const Component draft = of.draft.component(name);
        const double t1 = median(plain.times);
        const double t2 = median(verify.times) + median(draft.times);
        if (t2 < kSmallComponent * median(of.both)) continue;
        const double floor = verify.floor + draft.floor;
        std::vector<std::string> cells{"batch " + std::to_string(of.batch) + ", " + name,
                                       duration(t1),
                                       duration(plain.floor),
                                       duration(t2),
                                       duration(floor),
                                       number(t2 / t1, 2),
                                       "",
                                       ""};
        if (plain.floor > 0) {
          cells[6] = number(floor / plain.floor, 2);
          cells[7] = number(attained({{name, rates.at(name)}}, of), 2);
        }
        table.row(cells);
      }
    }
    std::cout << "\n";
  }

  ModelSession session_;
  Limits limits_;
  RoutingProbe probe_;
  std::mt19937 random_{1};
};

}  // namespace

void compare_speculation(const std::filesystem::path& folder, int threads) {
  SpeculationCase(folder, threads).run();
}

}  // namespace fathom::bench
