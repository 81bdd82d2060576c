#include "app/loading.h"

#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/backends.h"
#include "app/host_threads.h"
#include "base/clock.h"
#include "base/log.h"

namespace fathom::app {

namespace {

double seconds_since(std::int64_t begin_ns) {
  return static_cast<double>(now_ns() - begin_ns) / 1e9;
}

sched::OrderOptions order_options(const config::InstancePlan& plan) {
  sched::OrderOptions options;
  if (plan.limits.schedule_policy == "lof") options.policy = sched::Policy::kLongestOutput;
  if (plan.limits.schedule_policy == "lpm") options.policy = sched::Policy::kLongestPrefix;
  if (plan.limits.schedule_policy == "random") options.policy = sched::Policy::kRandom;
  options.by_priority = plan.limits.priorities;
  options.low_priorities_first = plan.limits.low_priorities_first;
  options.seed = plan.random_seed;
  return options;
}

}  // namespace

engine::EngineOptions engine_options(const config::InstancePlan& plan) {
  engine::EngineOptions options;
  options.context_tokens = plan.limits.context_tokens;
  options.max_running = plan.limits.max_running;
  options.chunk_tokens = plan.limits.chunk_tokens;
  options.max_prefill_tokens = plan.limits.max_prefill_tokens;
  options.max_prefill_requests = plan.limits.prefill_max_requests;
  options.reserve_ratio = plan.limits.reserve_ratio;
  options.reserve_clip = plan.limits.reserve_clip;
  options.order = order_options(plan);
  options.prefix_cache = plan.cache.prefix_cache;
  options.eviction = plan.cache.evicts_least_used ? cache::Eviction::kLfu : cache::Eviction::kLru;
  options.drafts = plan.speculation.drafts();
  options.accept_threshold_single = static_cast<float>(plan.speculation.accept_threshold_single);
  options.accept_threshold_acc = static_cast<float>(plan.speculation.accept_threshold_acc);
  if (plan.speculation.off_switch) options.draft_switch.emplace();
  options.overlap = plan.overlap_schedule;
  options.mask_threads = mask_threads(plan);
  if (plan.graphs.enabled) options.graph_batches = plan.graphs.batches_up_to(options.max_running);
  options.pad_graphs = plan.graphs.pads;
  return options;
}

Status Loading::load_weights() {
  auto backend =
      open_backend(plan_.device, {plan_.layout.first_device, plan_.deterministic}, plan_.threads);
  FATHOM_RETURN_IF_ERROR(backend.status());
  if (const std::string kernels = (*backend)->kernels(); !kernels.empty()) {
    log_info(std::string((*backend)->device().name()) + ": " + kernels);
  }
  own_memory_ = !(*backend)->device().uses_host_memory();
  const std::int64_t begin = now_ns();
  start_ = (*backend)->memory();
  log_info("Load weight begin." + available());
  auto loaded = LoadedModel::load(plan_.model_path, std::move(backend).value(), plan_.arithmetic);
  FATHOM_RETURN_IF_ERROR(loaded.status());
  model_ = std::move(loaded).value();
  memory_.total = start_.total_bytes;
  memory_.taken_before = start_.total_bytes - start_.free_bytes;
  memory_.weights = taken_since(start_.free_bytes);
  log_info(
      fmt::format("Load weight end. type={}, dtype={}, mem usage={:.2f} GB, elapsed={:.2f} s{}",
                  model_->config().architecture, model_->config().torch_dtype,
                  gigabytes(model_->weight_bytes()), seconds_since(begin), available()));
  return {};
}

Status Loading::take_memory() {
  if (own_memory_) FATHOM_RETURN_IF_ERROR(size_pool());
  const engine::EngineOptions engine = engine_options(plan_);
  model::ModelOptions options;
  options.arithmetic = plan_.arithmetic;
  options.max_tokens = engine.max_rows();
  options.max_logit_rows = engine.max_logit_rows();
  options.max_positions = plan_.limits.context_tokens;
  const std::int64_t before = free_now();
  FATHOM_RETURN_IF_ERROR(model_->create_model(options));
  memory_.workspace = taken_since(before);
  if (own_memory_) {
    FATHOM_RETURN_IF_ERROR(check_fit(plan_.cache.pool_bytes(), memory_.workspace, free_now()));
  }
  const std::int64_t before_caches = free_now();
  FATHOM_RETURN_IF_ERROR(
      model_->create_caches(plan_.cache.dtype, plan_.cache.layers, plan_.cache.pages));
  memory_.caches = taken_since(before_caches);
  log_info(fmt::format("KV Cache is allocated. #tokens: {}, KV size: {:.2f} GB",
                       plan_.cache.pool_tokens(), gigabytes(plan_.cache.pool_bytes())));
  log_info(fmt::format(
      "max_total_num_tokens={}, chunked_prefill_size={}, max_prefill_tokens={}, "
      "max_running_requests={}, context_len={}{}",
      plan_.cache.pool_tokens(), plan_.limits.chunk_tokens, plan_.limits.max_prefill_tokens,
      plan_.limits.max_running, plan_.limits.context_tokens, available()));
  return {};
}

Result<std::unique_ptr<engine::Engine>> Loading::create_engine(
    const engine::EngineOptions& options) {
  const std::int64_t before = free_now();
  auto engine = engine::Engine::create(model_->config(), model_->model(), model_->store(),
                                       model_->ops(), model_->device(), options);
  FATHOM_RETURN_IF_ERROR(engine.status());
  memory_.step_buffers = taken_since(before);
  if (!options.graph_batches.empty()) {
    const std::int64_t begin = now_ns();
    const std::int64_t before_graphs = free_now();
    log_info(fmt::format("Capture cuda graph begin.{} bs {}", available(),
                         fmt::join(options.graph_batches, " ")));
    FATHOM_RETURN_IF_ERROR((*engine)->capture_graphs());
    memory_.graphs = taken_since(before_graphs);
    log_info(fmt::format("Capture cuda graph end. Time elapsed: {:.2f} s. mem usage={:.2f} GB.{}",
                         seconds_since(begin), gigabytes(memory_.graphs), available()));
  }
  if (own_memory_) {
    log_info("Memory of " + std::string(model_->device().name()) + ":\n" + memory_table(memory_));
  }
  return engine;
}

std::int64_t Loading::free_now() const {
  return model_ == nullptr ? start_.free_bytes : model_->backend().memory().free_bytes;
}

std::string Loading::available() const {
  return own_memory_ ? fmt::format(" avail mem={:.2f} GB", gigabytes(free_now())) : "";
}

Status Loading::size_pool() {
  PoolSize size;
  size.memory_fraction = plan_.cache.memory_fraction;
  size.free_at_start = start_.free_bytes;
  size.weights = memory_.weights;
  size.bytes_per_token = plan_.cache.bytes_per_token;
  size.max_tokens = plan_.cache.max_tokens;
  const Result<std::int32_t> pages = pages_of_pool(size);
  FATHOM_RETURN_IF_ERROR(pages.status());
  plan_.cache.pages = *pages;
  if (plan_.cache.pool_tokens() < plan_.cache.max_tokens) {
    log_warning(fmt::format("--mem-fraction-static {:g} leaves room for {} tokens instead of {}",
                            plan_.cache.memory_fraction, plan_.cache.pool_tokens(),
                            plan_.cache.max_tokens));
  }
  if (plan_.cache.pool_tokens() < plan_.limits.context_tokens) {
    log_warning(fmt::format(
        "the pool holds {} tokens, fewer than a context of {}: a request can "
        "have {}",
        plan_.cache.pool_tokens(), plan_.limits.context_tokens, plan_.cache.pool_tokens() - 1));
  }
  if (plan_.limits.max_running == 0) plan_.limits.max_running = default_max_running(*pages);
  return {};
}

}  // namespace fathom::app
