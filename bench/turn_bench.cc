// A chat's turn of 4,096 tokens and a few new ones: the time to its first token when the prefix
// cache has the turn before, and when it does not. fathom-tiny on this CPU; the argument is a model
// folder.

#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "bench/machine.h"
#include "bench/median.h"
#include "bench/table.h"
#include "support/engine_runner.h"

namespace fathom::bench {
namespace {

using test_support::EngineRunner;
using test_support::EngineRunnerOptions;

constexpr std::int32_t kHistory = 4096;
constexpr std::int32_t kNew = 40;
constexpr int kRounds = 7;

// The turn number `round`: its history is its own.
wire::GenerateRequest turn(int round, std::int32_t tokens) {
  wire::GenerateRequest request;
  for (std::int32_t i = 0; i < tokens; ++i) request.prompt.push_back((i * 31 + round * 101) % 3000);
  request.sampling.temperature = 0;
  request.sampling.max_new_tokens = 1;
  return request;
}

double first_token_seconds(EngineRunner& engine, int round) {
  const wire::TokenOutput output = engine.wait(engine.submit(turn(round, kHistory + kNew)));
  return static_cast<double>(output.times.first_token_ns) * 1e-9;
}

int run(const std::string& folder) {
  EngineRunnerOptions options;
  options.threads = static_cast<int>(std::thread::hardware_concurrency());
  options.pages = 2 * kRounds * (kHistory + kNew) / config::kPageTokens + 64;
  options.engine.context_tokens = kHistory + 1024;
  options.engine.max_running = 1;
  options.engine.chunk_tokens = 2048;
  std::cout << describe_machine() << "; " << options.threads << " threads\n";
  const Table table({{"drafts", 6}, {"found", 6}, {"first token", 12}, {"times", 7}});
  for (const std::int32_t drafts : {0, 1}) {
    options.engine.drafts = drafts;
    EngineRunner engine(folder, options);
    std::vector<double> cold;
    std::vector<double> warm;
    for (int round = 0; round < kRounds; ++round) {
      cold.push_back(first_token_seconds(engine, 2 * round));
      engine.wait(engine.submit(turn(2 * round + 1, kHistory + 1)));  // the turn before
      warm.push_back(first_token_seconds(engine, 2 * round + 1));
    }
    table.row({std::to_string(drafts), "0", duration(median(cold)), "1"});
    table.row({std::to_string(drafts), std::to_string(kHistory), duration(median(warm)),
               number(median(cold) / median(warm), 1)});
  }
  return 0;
}

}  // namespace
}  // namespace fathom::bench

int main(int count, char** words) {
  return fathom::bench::run(count > 1 ? words[1] : FATHOM_BENCH_MODEL);
}
