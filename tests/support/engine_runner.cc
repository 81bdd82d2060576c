#include "support/engine_runner.h"

#include <algorithm>
#include <utility>

#include "backend/cpu/cpu_ops.h"
#include "model/tensor_table.h"

namespace fathom::test_support {

namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

EngineRunner::EngineRunner(const std::filesystem::path& folder, const EngineRunnerOptions& options)
    : EngineRunner(folder,
                   options,
                   std::make_unique<cpu::CpuDevice>(options.threads),
                   cpu::make_cpu_ops()) {}

EngineRunner::EngineRunner(const std::filesystem::path& folder,
                           const EngineRunnerOptions& options,
                           std::unique_ptr<Device> device,
                           std::unique_ptr<ops::OpSet> ops)
    : config_(config::load_model_config(folder).value()),
      checkpoint_(checkpoint::Checkpoint::open(folder, model::expected_tensors(config_)).value()),
      device_(std::move(device)),
      ops_(std::move(ops)),
      weights_(model::Weights::load(config_, checkpoint_, options.arithmetic, *device_).value()) {
  model::ModelOptions model_options;
  model_options.arithmetic = options.arithmetic;
  model_options.max_tokens = options.engine.max_rows();
  model_options.max_logit_rows = options.engine.max_logit_rows();
  model_options.max_positions = options.engine.context_tokens;
  model_ = model::Model::create(config_, *weights_, *ops_, *device_, model_options).value();
  const config::KvLayout layout =
      config::make_kv_layout(config_, options.arithmetic, options.kv_cache_dtype).value();
  store_ = std::make_unique<cache::KvStore>(
      cache::KvStore::create(*device_, layout, config_.layers_with_cache(), options.pages).value());
  engine_ =
      engine::Engine::create(config_, *model_, *store_, *ops_, *device_, options.engine).value();
  const Status captured = engine_->capture_graphs();
  FATHOM_CHECK_MSG(captured.ok(), captured.message());
  link_ = std::make_unique<wire::InprocLink>(options.max_unfinished, [this] {
    pump();
    came_.notify_all();
  });
  thread_ = std::thread([this] { ended_ = engine_->run(link_->port()); });
}

EngineRunner::~EngineRunner() { static_cast<void>(stop()); }

Status EngineRunner::stop() {
  link_->close();
  if (thread_.joinable()) thread_.join();
  pump();
  return ended_;
}

Status EngineRunner::try_submit(wire::GenerateRequest request) {
  request.id = next_id_;
  Status sent = link_->client().submit(std::move(request));
  if (sent.ok()) ++next_id_;
  return sent;
}

wire::RequestId EngineRunner::submit(wire::GenerateRequest request) {
  const Status sent = try_submit(std::move(request));
  FATHOM_CHECK_MSG(sent.ok(), sent.message());
  return next_id_ - 1;
}

void EngineRunner::pump() {
  const std::lock_guard lock(mutex_);
  for (wire::TokenOutput& output : link_->client().take_outputs()) {
    told_[output.id].push_back({output.tokens.size(), output.drafts});
    wire::TokenOutput& all = results_[output.id];
    append(all.tokens, std::move(output.tokens));
    append(all.prompt_logprobs, std::move(output.prompt_logprobs));
    append(all.logprobs, std::move(output.logprobs));
    all.id = output.id;
    all.finish = output.finish;
    all.stop_token = output.stop_token;
    all.error = output.error;
    all.prompt_tokens = output.prompt_tokens;
    all.generated_tokens = output.generated_tokens;
    all.cached_tokens = output.cached_tokens;
    all.retractions = output.retractions;
    all.times = output.times;
    all.drafts = output.drafts;
  }
}

template <class Done>
std::unique_lock<std::mutex> EngineRunner::wait_until(Done done) {
  std::unique_lock lock(mutex_);
  came_.wait(lock, done);
  return lock;
}

void EngineRunner::wait_for_tokens(wire::RequestId id, std::size_t tokens) {
  wait_until([&] { return results_[id].tokens.size() >= tokens || finished(id); });
}

wire::TokenOutput EngineRunner::wait(wire::RequestId id) {
  const auto lock = wait_until([&] { return finished(id); });
  return results_[id];
}

std::vector<EngineRunner::Told> EngineRunner::told(wire::RequestId id) {
  const std::lock_guard lock(mutex_);
  return told_[id];
}

void EngineRunner::wait_for_any(std::span<const wire::RequestId> ids) {
  FATHOM_CHECK(!ids.empty());
  wait_until([&] {
    return std::any_of(ids.begin(), ids.end(), [this](wire::RequestId id) { return finished(id); });
  });
}

std::vector<std::byte> EngineRunner::page_bytes(std::int32_t layer, cache::PageId page) const {
  const auto stream = device_->create_stream();
  std::vector<std::byte> bytes;
  for (const TensorView& pages : {store_->latent(layer), store_->index(layer)}) {
    const TensorView its = pages.rows(page, 1);
    const auto size = static_cast<std::size_t>(its.elements());
    const std::size_t before = bytes.size();
    bytes.resize(before + size);
    device_->copy_to_host(*stream, bytes.data() + before, its.data, size);
    FATHOM_CHECK(stream->synchronize().ok());
  }
  return bytes;
}

}  // namespace fathom::test_support
