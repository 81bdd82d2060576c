#include "bench/speculation_case.h"

#include <algorithm>
#include <iostream>
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
constexpr int kSteps = 24;
constexpr std::int32_t kSequences = 16;
constexpr std::int32_t kBatches[] = {1, 4, 16};  // NOLINT(*-avoid-c-arrays)

SessionOptions session_options(int threads) {
  SessionOptions options;
  options.threads = threads;
  options.sequences = kSequences;
  options.logit_rows_each = 2;
  options.max_positions = kContext + kSteps + 1;
  return options;
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// What the parts of a step cost, or took: seconds.
struct StepTimes {
  double plain = 0;
  double verify = 0;
  double draft = 0;
  double both = 0;  // verify and draft of one step
  double ratio() const { return both / plain; }
};

struct Prediction {
  StepTimes floor;  // mean of the steps
  Cost plain;       // sums of the steps
  Cost verify;
  Cost draft;
};

class SpeculationCase {
 public:
  SpeculationCase(const std::filesystem::path& folder, int threads)
      : session_(folder, session_options(threads)),
        limits_(measure_limits(
            threads,
            std::min<std::size_t>(kMemoryBytes,
                                  static_cast<std::size_t>(session_.source().data_bytes())))),
        probe_(session_.config().layers_with_cache(), session_.config().n_routed_experts) {}

  void run(int threads) {
    std::cout << "\none draft a sequence, context " << kContext << ", " << threads
              << " threads; limits with a buffer of the model's size "
              << number(limits_.read_bytes_per_s / 1e9, 1) << " GB/s read, "
              << number(limits_.flops_per_s / 1e9, 1) << " GFLOP/s FMA\n\n";
    fill_cache();
    std::vector<Prediction> predictions;
    const Table expected({{"predicted", 10},
                          {"plain", 18},
                          {"verify", 18},
                          {"draft", 18},
                          {"plain", 8},
                          {"verify", 8},
                          {"draft", 8},
                          {"T2/T1", 6}});
    for (const std::int32_t batch : kBatches) {
      predictions.push_back(predict(batch));
      print(batch, predictions.back(), expected);
    }
    std::cout << "\n";
    const Table seen({{"measured", 10},
                      {"plain T1", 8},
                      {"verify", 8},
                      {"draft", 8},
                      {"T2", 8},
                      {"T2/T1", 6},
                      {"predicted", 9},
                      {"off", 6},
                      {"break-even", 10}});
    for (std::size_t i = 0; i < predictions.size(); ++i) {
      const StepTimes times = measure(kBatches[i]);
      const double predicted = predictions[i].floor.ratio();
      seen.row({"batch " + std::to_string(kBatches[i]), duration(times.plain),
                duration(times.verify), duration(times.draft), duration(times.both),
                number(times.ratio(), 2), number(predicted, 2),
                percent(times.ratio() / predicted - 1), percent(times.ratio() - 1)});
    }
    std::cout << "\n";
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
    constexpr std::int32_t kChunk = 256;
    static_assert(kContext % kChunk == 0);
    for (std::int32_t first = 0; first < kContext; first += kChunk) {
      const auto at = static_cast<std::size_t>(first);
      session_.prefill(0, std::span(prompt).subspan(at, kChunk), first);
      session_.draft(std::span(prompt).subspan(at + 1, kChunk));
    }
    session_.copy_first_sequence();
  }

  // The tokens of a step: the first of each pair is the plain step's. The same for each call.
  struct StepIds {
    std::vector<std::int32_t> plain;
    std::vector<std::int32_t> verify;
    std::vector<std::int32_t> draft;
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

  // Runs the steps to see which experts they hit; also their warm-up.
  Prediction predict(std::int32_t batch) {
    Prediction made;
    const auto add = [&](const std::vector<Cost>& parts, Cost& cost, double& floor) {
      const Cost all = sum(parts);
      cost.bytes += all.bytes;
      cost.flops += all.flops;
      floor += serial_s(parts, limits_) / kSteps;
    };
    const config::ModelConfig& config = session_.config();
    const config::KvLayout& layout = session_.layout();
    const model::Weights& weights = session_.weights();
    for (int step = 0; step < kSteps; ++step) {
      const StepIds ids = step_ids(batch, step);
      const std::int32_t position = kContext + step;
      std::vector<std::int32_t> positions(static_cast<std::size_t>(batch), position);
      session_.decode(ids.plain, position, &probe_);
      add(step_parts(config, layout, weights, positions, batch, probe_), made.plain,
          made.floor.plain);
      positions.insert(positions.end(), positions.size(), position + 1);
      session_.verify(ids.verify, position, &probe_);
      add(step_parts(config, layout, weights, positions, 2 * std::int64_t{batch}, probe_),
          made.verify, made.floor.verify);
      session_.draft(ids.draft, &probe_);
      add(draft_parts(config, layout, weights, positions, batch, probe_), made.draft,
          made.floor.draft);
    }
    made.floor.both = made.floor.verify + made.floor.draft;
    return made;
  }

  // Medians; the kinds of steps take turns, so that other work on the machine meets them alike.
  StepTimes measure(std::int32_t batch) {
    std::vector<double> plain;
    std::vector<double> verify;
    std::vector<double> draft;
    std::vector<double> both;
    for (int step = 0; step < kSteps; ++step) {
      const StepIds ids = step_ids(batch, step);
      const double start = now_s();
      session_.decode(ids.plain, kContext + step);
      const double decoded = now_s();
      session_.verify(ids.verify, kContext + step);
      const double verified = now_s();
      session_.draft(ids.draft);
      const double drafted = now_s();
      plain.push_back(decoded - start);
      verify.push_back(verified - decoded);
      draft.push_back(drafted - verified);
      both.push_back(drafted - decoded);
    }
    return {median(plain), median(verify), median(draft), median(both)};
  }

  static void print(std::int32_t batch, const Prediction& made, const Table& table) {
    const auto counts = [](const Cost& cost) {
      return number(cost.bytes / kSteps / 1e6, 1) + " MB, " + number(cost.flops / kSteps / 1e9, 3) +
             " GF";
    };
    table.row({"batch " + std::to_string(batch), counts(made.plain), counts(made.verify),
               counts(made.draft), duration(made.floor.plain), duration(made.floor.verify),
               duration(made.floor.draft), number(made.floor.ratio(), 2)});
  }

  ModelSession session_;
  Limits limits_;
  RoutingProbe probe_;
  std::mt19937 random_{1};
};

}  // namespace

int compare_speculation(const std::filesystem::path& folder, int threads) {
  SpeculationCase(folder, threads).run(threads);
  return 0;
}

}  // namespace fathom::bench
