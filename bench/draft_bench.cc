// Answers a second on this CPU with drafts, with drafts and the rule that turns them off where they
// lose, and without: conversations, of which nearly all drafts are right, and random prompts, of
// which many are wrong. The three take turns. The argument is a model folder with an evaluation
// set; fathom-tiny without one.

#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "bench/machine.h"
#include "bench/median.h"
#include "bench/table.h"
#include "support/engine_runner.h"
#include "text/chat_encoding.h"
#include "text/tokenizer.h"

namespace fathom::bench {
namespace {

using test_support::EngineRunner;
using test_support::EngineRunnerOptions;

using Prompts = std::vector<std::vector<wire::TokenId>>;

constexpr int kRounds = 9;
constexpr std::int32_t kContext = 2048;

struct Workload {
  const char* name;
  Prompts prompts;
  std::int32_t answer_tokens;
  bool to_the_end;  // an end token does not end the answer
};

// Those of the evaluation set that are short and have no tools; there may be no such set.
Workload conversations(const std::string& folder) {
  const auto tokenizer = text::Tokenizer::load(folder).value();
  Workload workload{"conversations", {}, 500, false};
  std::ifstream file(folder + "/eval.jsonl");
  for (std::string line; std::getline(file, line);) {
    const Json parsed = parse_json(line).value();
    if (const Json* tools = parsed.find("tools"); tools != nullptr && !tools->is_null()) continue;
    text::ChatEncodingOptions options;
    const Json* const thinking = parsed.find("thinking");
    options.thinking = thinking != nullptr && thinking->as_bool().value_or(false);
    const Result<std::string> text =
        text::encode_chat(*parsed.find("messages")->as_array(), options);
    if (!text.ok()) continue;
    std::vector<wire::TokenId> prompt = tokenizer->encode(*text);
    if (prompt.size() < 400) workload.prompts.push_back(std::move(prompt));
  }
  return workload;
}

Workload random_prompts() {
  Workload workload{"random prompts", {}, 300, true};
  for (std::int32_t i = 0; i < 64; ++i) {
    std::vector<wire::TokenId>& prompt = workload.prompts.emplace_back();
    for (std::int32_t j = 0; j < 64; ++j) prompt.push_back((i * 31 + j * (7 + i)) % 3000);
  }
  return workload;
}

struct Runner {
  std::unique_ptr<EngineRunner> engine;
  std::vector<double> tokens_per_second = {};  // of each round
  wire::DraftCounts drafts = {};
};

void run_round(Runner& runner, const Workload& workload, std::size_t first, std::size_t count) {
  const std::int64_t begin = now_ns();
  std::vector<wire::RequestId> ids;
  for (std::size_t i = 0; i < count; ++i) {
    wire::GenerateRequest request;
    request.prompt = workload.prompts[(first + i) % workload.prompts.size()];
    request.sampling.temperature = 0;
    request.sampling.max_new_tokens = workload.answer_tokens;
    request.sampling.ignore_eos = workload.to_the_end;
    ids.push_back(runner.engine->submit(std::move(request)));
  }
  std::int64_t tokens = 0;
  for (const wire::RequestId id : ids) {
    const wire::TokenOutput output = runner.engine->wait(id);
    tokens += output.generated_tokens;
    runner.drafts.drafts += output.drafts.drafts;
    runner.drafts.accepted += output.drafts.accepted;
  }
  runner.tokens_per_second.push_back(static_cast<double>(tokens) * 1e9 /
                                     static_cast<double>(now_ns() - begin));
}

// One without drafts, one with them, one with the rule.
std::vector<Runner> make_runners(const std::string& folder, std::int32_t batch) {
  EngineRunnerOptions options;
  options.threads = static_cast<int>(std::thread::hardware_concurrency());
  options.pages = batch * kContext / config::kPageTokens;
  options.engine.context_tokens = kContext;
  options.engine.max_running = batch;
  options.engine.chunk_tokens = 512;
  options.engine.end_tokens = {1};
  options.engine.prefix_cache = false;  // rounds repeat prompts
  std::vector<Runner> runners;
  runners.push_back({std::make_unique<EngineRunner>(folder, options)});
  options.engine.drafts = 1;
  runners.push_back({std::make_unique<EngineRunner>(folder, options)});
  options.engine.draft_switch.emplace();
  runners.push_back({std::make_unique<EngineRunner>(folder, options)});
  return runners;
}

// The first round warms up.
double median_ratio(const Runner& one, const Runner& other) {
  std::vector<double> ratios;
  for (std::size_t round = 1; round < kRounds; ++round) {
    ratios.push_back(one.tokens_per_second[round] / other.tokens_per_second[round]);
  }
  return median(ratios);
}

int run(const std::string& folder) {
  std::cout << describe_machine() << "; " << std::thread::hardware_concurrency()
            << " threads; median of " << kRounds - 1 << " rounds, \"times\" of their ratios\n";
  const Table table({{"workload", 14},
                     {"batch", 5},
                     {"right", 6},
                     {"without tok/s", 13},
                     {"with, times", 11},
                     {"with the rule, times", 20}});
  for (const Workload& workload : {conversations(folder), random_prompts()}) {
    if (workload.prompts.empty()) {
      std::cout << "no " << workload.name << ": " << folder << " has no eval.jsonl\n";
      continue;
    }
    for (const std::int32_t batch : {1, 4, 16}) {
      std::vector<Runner> runners = make_runners(folder, batch);
      const std::size_t requests = static_cast<std::size_t>(batch) * (workload.to_the_end ? 2 : 8);
      for (int round = 0; round < kRounds; ++round) {
        for (Runner& runner : runners) {
          run_round(runner, workload, static_cast<std::size_t>(round) * requests, requests);
        }
      }
      const double right = static_cast<double>(runners[1].drafts.accepted) /
                           static_cast<double>(runners[1].drafts.drafts);
      table.row({workload.name, std::to_string(batch), number(right * 100, 1) + " %",
                 number(median(runners[0].tokens_per_second), 0),
                 number(median_ratio(runners[1], runners[0]), 3),
                 number(median_ratio(runners[2], runners[0]), 3)});
    }
  }
  return 0;
}

}  // namespace
}  // namespace fathom::bench

int main(int count, char** words) {
  return fathom::bench::run(count > 1 ? words[1] : FATHOM_BENCH_MODEL);
}
