#include "bench/model_session.h"

#include <cstring>
#include <numeric>
#include <utility>

#include "backend/cpu/cpu_ops.h"
#include "bench/machine.h"
#include "model/tensor_table.h"

namespace fathom::bench {

namespace {

template <class T>
T checked(Result<T> result) {
  FATHOM_CHECK_MSG(result.ok(), result.status().message());
  return std::move(result).value();
}

TensorView view_of(std::span<const std::int32_t> numbers) {
  return {const_cast<std::int32_t*>(numbers.data()),
          DType::kI32,
          {static_cast<std::int64_t>(numbers.size())}};
}

void copy_pages(const TensorView& cache, std::int64_t pages, std::int32_t sequence) {
  const auto bytes = static_cast<std::size_t>(pages * cache.stride[0]);
  std::memcpy(cache.row<std::byte>(sequence * pages), cache.row<std::byte>(0), bytes);
}

}  // namespace

ModelSession::ModelSession(const std::filesystem::path& folder, const SessionOptions& options)
    : options_(options) {
  double start = now_s();
  const auto lap = [&start] {
    const double begin = std::exchange(start, now_s());
    return start - begin;
  };
  config_ = checked(config::load_model_config(folder));
  checkpoint_ = checked(checkpoint::Checkpoint::open(folder, model::expected_tensors(config_)));
  times_.open = lap();
  device_ = std::make_unique<cpu::CpuDevice>(options.threads);
  ops_ = cpu::make_cpu_ops();
  stream_ = device_->create_stream();
  const auto arithmetic = config::Arithmetic::kDeployed;
  weights_ = checked(model::Weights::load(config_, checkpoint_, arithmetic, *device_));
  times_.weights = lap();
  model::ModelOptions model_options;
  model_options.arithmetic = arithmetic;
  model_options.max_tokens = options.chunk;
  model_options.max_logit_rows = options.sequences;
  model_options.max_positions = options.max_positions;
  model_ = checked(model::Model::create(config_, *weights_, *ops_, *device_, model_options));
  const config::KvLayout layout =
      checked(config::make_kv_layout(config_, arithmetic, config::KvCacheDType::kAuto));
  const auto pages = static_cast<std::int32_t>(
      options.sequences * ceil_div(options.max_positions, config::kPageTokens));
  store_.emplace(
      checked(cache::KvStore::create(*device_, layout, config_.layers_with_cache(), pages)));
  page_table_.resize(static_cast<std::size_t>(pages));
  std::iota(page_table_.begin(), page_table_.end(), 0);
  times_.model = lap();
}

void ModelSession::forward(std::span<const std::int32_t> ids,
                           std::span<const std::int32_t> sequences,
                           std::span<const std::int32_t> positions,
                           std::span<const std::int32_t> logit_rows,
                           model::Probe* probe) {
  model::Batch batch;
  batch.ids = view_of(ids);
  batch.tokens.positions = view_of(positions);
  batch.tokens.sequences = view_of(sequences);
  batch.tokens.page_table =
      view_of(page_table_)
          .reshape({options_.sequences,
                    static_cast<std::int64_t>(page_table_.size()) / options_.sequences});
  batch.logit_rows = view_of(logit_rows);
  batch.max_position = positions.back();
  checked(model_->forward(*stream_, batch, *store_, probe));
  FATHOM_CHECK(stream_->synchronize().ok());
}

void ModelSession::prefill(std::int32_t sequence,
                           std::span<const std::int32_t> ids,
                           std::int32_t first,
                           model::Probe* probe) {
  const std::vector<std::int32_t> sequences(ids.size(), sequence);
  std::vector<std::int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), first);
  const auto last = static_cast<std::int32_t>(ids.size() - 1);
  forward(ids, sequences, positions, {&last, 1}, probe);
}

void ModelSession::decode(std::span<const std::int32_t> ids,
                          std::int32_t position,
                          model::Probe* probe) {
  std::vector<std::int32_t> sequences(ids.size());
  std::iota(sequences.begin(), sequences.end(), 0);
  const std::vector<std::int32_t> positions(ids.size(), position);
  forward(ids, sequences, positions, sequences, probe);
}

void ModelSession::copy_first_sequence() {
  const std::int64_t pages = store_->pages() / options_.sequences;
  for (std::int32_t layer = 0; layer < store_->layers(); ++layer) {
    for (std::int32_t sequence = 1; sequence < options_.sequences; ++sequence) {
      copy_pages(store_->latent(layer), pages, sequence);
      copy_pages(store_->index(layer), pages, sequence);
    }
  }
}

}  // namespace fathom::bench
