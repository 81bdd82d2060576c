// fathom-tiny on this machine's GPU and CPU: tokens a second at batch 1, 16 and 64, what of a
// step's time is the host's with and without graphs, a step launched ahead and drafts, the rate at
// which weights reach the device, the time from exec to ready. $FATHOM_HOME names the folder of
// models/.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_ops.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/fast_products.h"
#include "bench/median.h"
#include "bench/table.h"
#include "model/tensor_table.h"
#include "model/weight_upload.h"
#include "support/engine_runner.h"
#include "system/server_process.h"

namespace fathom::bench {
namespace {

using Clock = std::chrono::steady_clock;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;

constexpr std::int32_t kContext = 2048;
constexpr std::int32_t kPrompt = 64;
constexpr std::int32_t kAnswer = 512;
constexpr int kCpuThreads = 16;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Setting {
  const char* name;
  bool gpu;
  bool overlap;
  bool graphs;
  bool deterministic;
  std::int32_t drafts;
};

struct Measured {
  double step_seconds = 0;  // of a decode step of the whole batch
  double tokens_per_second = 0;
  double accepted = 0;  // of the drafts
};

EngineRunnerOptions options_for(const Setting& setting, std::int32_t batch) {
  EngineRunnerOptions options;
  options.threads = kCpuThreads;
  options.kv_cache_dtype = config::KvCacheDType::kBF16;
  options.pages = batch * (kPrompt + kAnswer + 64) / config::kPageTokens + 64;
  options.engine.context_tokens = kContext;
  options.engine.max_running = batch;
  options.engine.chunk_tokens = 2048;
  options.engine.overlap = setting.overlap;
  options.engine.drafts = setting.drafts;
  if (setting.graphs) options.engine.graph_batches = {batch};
  return options;
}

std::unique_ptr<ops::OpSet> gpu_ops(bool deterministic) {
  if (deterministic) return cuda::make_cuda_ops();
  return cuda::make_cuda_ops(cuda::FastProducts::open().value());
}

// Decode steps of `batch` requests, all of the same lengths, as long as all of them go on: with
// drafts some get ahead, and the steps after their ends have fewer requests.
Measured measure(const std::string& folder, const Setting& setting, std::int32_t batch) {
  const EngineRunnerOptions options = options_for(setting, batch);
  std::unique_ptr<EngineRunner> engine;
  if (setting.gpu) {
    engine = std::make_unique<EngineRunner>(folder, options, cuda::CudaDevice::open(0).value(),
                                            gpu_ops(setting.deterministic));
  } else {
    engine = std::make_unique<EngineRunner>(folder, options);
  }
  // A CPU's step takes long enough to be timed by few of them.
  const int rounds = setting.gpu ? 4 : 2;
  const std::int32_t answer = setting.gpu ? kAnswer : kAnswer / 4;
  std::vector<double> step_seconds;
  std::vector<double> tokens_per_second;
  wire::DraftCounts drafts;
  for (int round = 0; round < rounds; ++round) {
    std::vector<wire::RequestId> ids;
    for (std::int32_t i = 0; i < batch; ++i) {
      wire::GenerateRequest request;
      for (std::int32_t j = 0; j < kPrompt; ++j) request.prompt.push_back((i * 31 + j * 7) % 3000);
      request.sampling.temperature = 0;
      request.sampling.ignore_eos = true;
      request.sampling.max_new_tokens = answer;
      request.stream = true;  // tells of the first token, and then of all
      request.stream_interval = answer;
      ids.push_back(engine->submit(std::move(request)));
    }
    // From the last prompt's end on every step decodes all of them.
    for (const wire::RequestId id : ids) engine->wait_for_tokens(id, 1);
    const wire::EngineLoad before = engine->load();
    const auto begin = Clock::now();
    engine->wait_for_any(ids);
    const wire::EngineLoad after = engine->load();
    const double seconds = seconds_since(begin);
    for (const wire::RequestId id : ids) {
      const wire::TokenOutput output = engine->wait(id);
      drafts.drafts += output.drafts.drafts;
      drafts.accepted += output.drafts.accepted;
    }
    if (round == 0) continue;
    step_seconds.push_back(seconds / static_cast<double>(after.steps - before.steps));
    tokens_per_second.push_back(
        static_cast<double>(after.generated_tokens - before.generated_tokens) / seconds);
  }
  Measured measured;
  measured.step_seconds = median(step_seconds);
  measured.tokens_per_second = median(tokens_per_second);
  if (drafts.drafts > 0) {
    measured.accepted = static_cast<double>(drafts.accepted) / static_cast<double>(drafts.drafts);
  }
  return measured;
}

// of(0), of(1), … of(count - 1).
template <class Of>
std::vector<std::int32_t> numbers(std::int32_t count, Of of) {
  std::vector<std::int32_t> made(static_cast<std::size_t>(count));
  for (std::int32_t i = 0; i < count; ++i) made[static_cast<std::size_t>(i)] = of(i);
  return made;
}

std::int32_t same(std::int32_t i) { return i; }

// Seconds of a decode step on the device alone, run again and again as a graph: the model over all
// rows, the draft layer over the same rows and then over one of each request for every further
// draft. Without the draws, and without what finds rows and guesses between those.
double device_seconds(const std::string& folder,
                      std::int32_t batch,
                      std::int32_t drafts,
                      bool deterministic) {
  const auto device = cuda::CudaDevice::open(0).value();
  const auto ops = gpu_ops(deterministic);
  const config::ModelConfig config = config::load_model_config(folder).value();
  const std::shared_ptr<const checkpoint::Checkpoint> checkpoint =
      checkpoint::Checkpoint::open(folder, model::expected_tensors(config)).value();
  const auto weights =
      model::Weights::load(config, checkpoint, config::Arithmetic::kDeployed, *device).value();
  model::ModelOptions options;
  const std::int32_t rows_of_each = 1 + drafts;
  const std::int32_t row_count = batch * rows_of_each;
  options.max_tokens = row_count;
  options.max_logit_rows = row_count;
  options.max_positions = kContext;
  const auto model = model::Model::create(config, *weights, *ops, *device, options).value();
  const config::KvLayout layout =
      config::make_kv_layout(config, config::Arithmetic::kDeployed, config::KvCacheDType::kBF16)
          .value();
  constexpr std::int32_t kPages = kContext / config::kPageTokens;
  cache::KvStore store =
      cache::KvStore::create(*device, layout, config.layers_with_cache(), batch * kPages).value();
  const auto stream = device->create_stream();
  std::vector<Buffer> buffers;
  const auto upload = [&](const std::vector<std::int32_t>& values) {
    buffers.push_back(device->allocate(values.size() * 4).value());
    device->copy_to_device(*stream, buffers.back().data(), values.data(), values.size() * 4);
    FATHOM_CHECK(stream->synchronize().ok());
    return TensorView(buffers.back().data(), DType::kI32,
                      {static_cast<std::int64_t>(values.size())});
  };
  const TensorView requests = upload(numbers(batch, same));
  const TensorView rows = upload(numbers(row_count, same));
  const TensorView last_rows =
      upload(numbers(batch, [&](std::int32_t i) { return i * rows_of_each + drafts; }));
  const TensorView page_table = upload(numbers(batch * kPages, same)).reshape({batch, kPages});
  const TensorView sequences =
      upload(numbers(row_count, [&](std::int32_t row) { return row / rows_of_each; }));
  // The positions that an answer goes through, some of them for all.
  constexpr int kPositions = 8;
  constexpr int kRuns = 100;
  double seconds = 0;
  for (int at = 0; at < kPositions; ++at) {
    const std::int32_t position = kPrompt + kAnswer * (2 * at + 1) / (2 * kPositions);
    const std::int32_t last = position + 2 * drafts;
    model::Batch step;
    step.ids = rows;
    step.tokens.positions =
        upload(numbers(row_count, [&](std::int32_t row) { return position + row % rows_of_each; }));
    step.tokens.sequences = sequences;
    step.tokens.page_table = page_table;
    step.logit_rows = rows;
    step.max_position = last < config.index_topk ? last : kContext - 1;  // as engines do
    model::Batch draft = step;
    draft.logit_rows = last_rows;
    std::vector<model::Batch> chain;  // of the drafts after the first
    for (std::int32_t k = 1; k < drafts; ++k) {
      model::Batch next = step;
      next.ids = requests;
      next.tokens.positions =
          upload(numbers(batch, [&](std::int32_t) { return position + drafts + k; }));
      next.tokens.sequences = requests;
      next.logit_rows = requests;
      chain.push_back(next);
    }
    const auto enqueue = [&]() -> Status {
      Result<model::StepOutput> output = model->forward(*stream, step, store);
      if (drafts == 0 || !output.ok()) return output.status();
      output = model->draft(*stream, draft, output->hidden, store);
      for (const model::Batch& next : chain) {
        if (!output.ok()) return output.status();
        output = model->draft(*stream, next, output->hidden.rows(0, batch), store);
      }
      return output.status();
    };
    FATHOM_CHECK(enqueue().ok() && stream->synchronize().ok());
    const auto graph = device->capture(*stream, enqueue).value();
    FATHOM_CHECK(stream->synchronize().ok());
    std::vector<double> rounds;
    for (int round = 0; round < 3; ++round) {
      const auto begin = Clock::now();
      for (int i = 0; i < kRuns; ++i) graph->launch(*stream);
      FATHOM_CHECK(stream->synchronize().ok());
      rounds.push_back(seconds_since(begin) / kRuns);
    }
    seconds += median(rounds) / kPositions;
  }
  return seconds;
}

void bench_steps(const std::string& folder) {
  constexpr Setting kSettings[] = {{"CPU, 16 threads", false, false, false, true, 0},
                                   {"CPU, a draft", false, false, false, true, 1},
                                   {"GPU, step by step", true, false, false, false, 0},
                                   {"GPU, a step ahead", true, true, false, false, 0},
                                   {"GPU, graphs", true, false, true, false, 0},
                                   {"GPU, graphs, a step ahead", true, true, true, false, 0},
                                   {"the same, deterministic", true, true, true, true, 0},
                                   {"GPU, graphs, a draft", true, false, true, false, 1},
                                   {"the same, a step ahead", true, true, true, false, 1},
                                   {"GPU, graphs, 3 drafts", true, false, true, false, 3},
                                   {"the same, a step ahead", true, true, true, false, 3}};
  const Table table({{"fathom-tiny", 26},
                     {"batch", 6},
                     {"step us", 9},
                     {"device us", 10},
                     {"host gap us", 12},
                     {"tokens/s", 9},
                     {"accepted", 9}});
  for (const std::int32_t batch : {1, 16, 64}) {
    std::map<std::pair<std::int32_t, bool>, double> device_times;  // by drafts and determinism
    for (const Setting& setting : kSettings) {
      const Measured measured = measure(folder, setting, batch);
      std::string device = "-";
      std::string gap = "-";
      if (setting.gpu) {
        double& seconds = device_times[{setting.drafts, setting.deterministic}];
        if (seconds == 0) {
          seconds = device_seconds(folder, batch, setting.drafts, setting.deterministic);
        }
        device = number(seconds * 1e6, 1);
        gap = number((measured.step_seconds - seconds) * 1e6, 1);
      }
      table.row({setting.name, std::to_string(batch), number(measured.step_seconds * 1e6, 1),
                 device, gap, number(measured.tokens_per_second, 0),
                 setting.drafts > 0 ? number(measured.accepted * 100, 1) + " %" : "-"});
    }
  }
}

// From files that are in the page cache.
void bench_load() {
  constexpr std::size_t kBytes = std::size_t{8} << 30;
  constexpr std::size_t kTensor = (std::size_t{14} << 20) + 256;
  const int file = memfd_create("weights", MFD_CLOEXEC);
  FATHOM_CHECK(file >= 0 && ftruncate(file, kBytes) == 0);
  void* const written = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  FATHOM_CHECK(written != MAP_FAILED);
  std::memset(written, 42, kBytes);
  munmap(written, kBytes);
  const auto device = cuda::CudaDevice::open(0).value();
  const Buffer memory = device->allocate(kBytes).value();
  std::vector<double> staged;
  std::vector<double> plain;
  for (int round = 0; round < 3; ++round) {
    for (const bool through_staging : {true, false}) {
      // Mapped anew: a first read takes its page faults.
      auto* const from =
          static_cast<std::byte*>(mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, file, 0));
      FATHOM_CHECK(from != MAP_FAILED);
      auto* const to = static_cast<std::byte*>(memory.data());
      const auto stream = device->create_stream();
      const auto upload = model::WeightUpload::create(*device).value();
      const auto begin = Clock::now();
      for (std::size_t at = 0; at + kTensor <= kBytes; at += kTensor) {
        if (through_staging) {
          upload->add(to + at, from + at, kTensor);
        } else {
          device->copy_to_device(*stream, to + at, from + at, kTensor);
        }
      }
      FATHOM_CHECK(upload->finish().ok() && stream->synchronize().ok());
      (through_staging ? staged : plain)
          .push_back(static_cast<double>(kBytes) / seconds_since(begin));
      munmap(from, kBytes);
    }
  }
  close(file);
  std::printf(
      "\nload, 8 GiB from the page cache: %.1f GB/s through pinned memory, %.1f GB/s by the "
      "driver's own copies\n",
      median(staged) / 1e9, median(plain) / 1e9);
}

void bench_start() {
  const std::string program =
      (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "fathom").string();
  for (const bool graphs : {true, false}) {
    std::vector<double> seconds;
    for (int i = 0; i < 5; ++i) {
      std::vector<std::string> args = {"--device", "cuda"};
      if (!graphs) args.emplace_back("--disable-cuda-graph");
      const auto begin = Clock::now();
      system_test::ServerProcess server(program, args);
      FATHOM_CHECK(server.wait_until_ready());
      seconds.push_back(seconds_since(begin));
    }
    std::printf("exec to ready, fathom-tiny, %s: %.2f s (median of 5)\n",
                graphs ? "default graphs" : "no graphs", median(seconds));
  }
}

int run() {
  const char* const home = std::getenv("FATHOM_HOME");  // NOLINT(concurrency-mt-unsafe)
  const auto device = cuda::CudaDevice::open(0);
  if (home == nullptr || !device.ok()) {
    std::fprintf(stderr, "cuda_engine_bench: %s\n",
                 home == nullptr ? "set FATHOM_HOME" : device.status().message().c_str());
    return 1;
  }
  std::printf("%s\n", std::string((*device)->name()).c_str());
  bench_load();
  bench_start();
  bench_steps(std::string(home) + "/models/fathom-tiny");
  return 0;
}

}  // namespace
}  // namespace fathom::bench

int main() { return fathom::bench::run(); }
