// A whole model: loading, memory, prefill and decode beside their floors, a step with a draft
// beside one without. The argument is a model folder; without one the mid-size random model is
// made, once. With --speculation only the last part runs.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "bench/machine.h"
#include "bench/median.h"
#include "bench/model_cost.h"
#include "bench/model_session.h"
#include "bench/process_memory.h"
#include "bench/speculation_case.h"
#include "bench/table.h"
#include "make_checkpoint/presets.h"
#include "make_checkpoint/random_checkpoint.h"

namespace fathom::bench {

namespace {

constexpr std::int32_t kLongPrompt = 2048;
constexpr int kDecodeSteps = 16;

std::filesystem::path made_model(int threads) {
  std::filesystem::path folder = std::filesystem::path(FATHOM_BENCH_DATA) / "mid";
  if (std::filesystem::exists(folder)) return folder;
  std::cout << "making the model in " << folder.string() << "\n";
  // Under its name only when it is complete.
  std::filesystem::path unfinished = folder;
  unfinished += ".unfinished";
  make_checkpoint::RandomCheckpointOptions options;
  options.threads = threads;
  const Status written = make_checkpoint::write_random_checkpoint(
      make_checkpoint::preset("mid").value(), options, unfinished);
  FATHOM_CHECK_MSG(written.ok(), written.message());
  std::filesystem::rename(unfinished, folder);
  return folder;
}

std::string mib(double bytes) { return number(bytes / (1 << 20), 0); }

class ModelBench {
 public:
  ModelBench(std::filesystem::path folder, int threads)
      : folder_(std::move(folder)), limits_(measure_limits(threads)) {
    options_.threads = threads;
  }

  void run() {
    std::cout << describe_machine() << "; " << options_.threads << " threads; limits "
              << number(limits_.read_bytes_per_s / 1e9, 1) << " GB/s read, "
              << number(limits_.flops_per_s / 1e9, 1) << " GFLOP/s FMA\n"
              << "model " << folder_.string() << "\n\n";
    load();
    probe_.emplace(session_->config().num_hidden_layers, session_->config().n_routed_experts);
    prefill_and_decode();
  }

 private:
  std::vector<std::int32_t> ids(std::size_t count) {
    std::vector<std::int32_t> made(count);
    const auto vocab = static_cast<std::uint32_t>(session_->config().vocab_size);
    for (std::int32_t& id : made) id = static_cast<std::int32_t>(random_() % vocab);
    return made;
  }

  void load() {
    const double cached = drop_from_page_cache(folder_);
    const Table table({{"start", 22},
                       {"headers", 9},
                       {"weights", 9},
                       {"model", 9},
                       {"load", 9},
                       {"first token", 11},
                       {"second", 9},
                       {"file MiB", 9},
                       {"other MiB", 9},
                       {"after: file", 11},
                       {"other", 6}});
    load_once("cold (" + percent(cached) + " cached)", table);
    session_.reset();
    load_once("warm", table);
    std::cout << "\ncheckpoint " << mib(static_cast<double>(session_->source().data_bytes()))
              << " MiB, workspace " << mib(static_cast<double>(session_->workspace_bytes()))
              << " MiB; \"after\" the second token\n\n";
  }

  void load_once(const std::string& name, const Table& table) {
    session_.emplace(folder_, options_);
    const LoadTimes& times = session_->load_times();
    const ResidentMemory loaded = resident_memory();
    const double start = now_s();
    session_->decode(ids(1), 0);
    const double first = now_s();
    session_->decode(ids(1), 1);
    const double second = now_s();
    const ResidentMemory used = resident_memory();
    table.row({name, duration(times.open), duration(times.weights), duration(times.model),
               duration(times.all()), duration(first - start), duration(second - first),
               mib(loaded.file_bytes), mib(loaded.anonymous_bytes), mib(used.file_bytes),
               mib(used.anonymous_bytes)});
  }

  void prefill_and_decode() {
    const Table table({{"step", 34},
                       {"tokens/s", 9},
                       {"step time", 9},
                       {"MB", 6},
                       {"GFLOP", 6},
                       {"read floor", 10},
                       {"FMA floor", 9},
                       {"of floor", 8}});
    prefill(512, table);
    prefill(kLongPrompt, table);
    session_->copy_first_sequence();
    for (const std::int32_t context : {256, kLongPrompt}) {
      for (const std::size_t batch : {1U, 2U, 4U, 8U}) decode(batch, context, table);
    }
  }

  // All chunks of one prompt: times and costs are sums.
  void prefill(std::int32_t tokens, const Table& table) {
    const std::vector<std::int32_t> prompt = ids(static_cast<std::size_t>(tokens));
    Cost cost;
    double time = 0;
    for (std::int32_t first = 0; first < tokens; first += options_.chunk) {
      const double start = now_s();
      session_->prefill(0,
                        std::span(prompt).subspan(static_cast<std::size_t>(first),
                                                  static_cast<std::size_t>(options_.chunk)),
                        first, &*probe_);
      time += now_s() - start;
      std::vector<std::int32_t> positions(static_cast<std::size_t>(options_.chunk));
      std::iota(positions.begin(), positions.end(), first);
      const Cost step = cost_of(positions, 1);
      cost.bytes += step.bytes;
      cost.flops += step.flops;
    }
    print("prefill " + std::to_string(tokens) + " in chunks of " + std::to_string(options_.chunk),
          tokens, time, cost, table);
  }

  void decode(std::size_t batch, std::int32_t context, const Table& table) {
    std::vector<double> times;
    Cost cost;
    for (int i = 0; i < kDecodeSteps; ++i) {
      const std::vector<std::int32_t> next = ids(batch);
      const double start = now_s();
      session_->decode(next, context + i, &*probe_);
      times.push_back(now_s() - start);
      const std::vector<std::int32_t> positions(batch, context + i);
      const Cost step = cost_of(positions, static_cast<std::int64_t>(batch));
      cost.bytes += step.bytes / kDecodeSteps;
      cost.flops += step.flops / kDecodeSteps;
    }
    print("decode, batch " + std::to_string(batch) + ", context " + std::to_string(context),
          static_cast<double>(batch), median(times), cost, table);
  }

  Cost cost_of(const std::vector<std::int32_t>& positions, std::int64_t logit_rows) const {
    return step_cost(session_->config(), session_->layout(), session_->weights(), positions,
                     logit_rows, *probe_);
  }

  void print(const std::string& name,
             double tokens,
             double time,
             const Cost& cost,
             const Table& table) const {
    table.row({name, number(tokens / time, 1), duration(time), number(cost.bytes / 1e6, 0),
               number(cost.flops / 1e9, 1), duration(cost.bandwidth_s(limits_)),
               duration(cost.compute_s(limits_)), percent(cost.floor_s(limits_) / time)});
  }

  std::filesystem::path folder_;
  Limits limits_;
  SessionOptions options_;
  std::optional<ModelSession> session_;
  std::optional<RoutingProbe> probe_;
  std::mt19937 random_{1};
};

int run(const std::vector<std::string>& args) {
  const int threads = available_processors();
  // Flags are for the benchmarks beside this one.
  const auto folder =
      std::ranges::find_if(args, [](const std::string& arg) { return arg.substr(0, 2) != "--"; });
  const auto model = folder == args.end() ? made_model(threads) : std::filesystem::path(*folder);
  if (std::ranges::find(args, "--speculation") == args.end()) ModelBench(model, threads).run();
  compare_speculation(model, threads);
  return 0;
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) { return fathom::bench::run({argv + 1, argv + argc}); }
