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
  clock_.emplace(*ops_);
  stream_ = device_->create_stream();
  const auto arithmetic = config::Arithmetic::kDeployed;
  weights_ = checked(model::Weights::load(config_, checkpoint_, arithmetic, *device_));
  times_.weights = lap();
  model::ModelOptions model_options;
  model_options.arithmetic = arithmetic;
  model_options.max_tokens = options.chunk;
  model_options.max_logit_rows = options.sequences * options.logit_rows_each;
  model_options.max_positions = options.max_positions;
  model_ = checked(model::Model::create(config_, *weights_, *clock_, *device_, model_options));
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

model::Batch ModelSession::batch_of(std::span<const std::int32_t> ids) const {
  model::Batch batch;
  batch.ids = view_of(ids);
  batch.tokens.positions = view_of(rows_.positions);
  batch.tokens.sequences = view_of(rows_.sequences);
  batch.tokens.page_table =
      view_of(page_table_)
          .reshape({options_.sequences,
                    static_cast<std::int64_t>(page_table_.size()) / options_.sequences});
  batch.logit_rows = view_of(rows_.logit_rows);
  batch.max_position = rows_.positions.back();
  return batch;
}

void ModelSession::forward(std::span<const std::int32_t> ids, model::Probe* probe) {
  hidden_ = checked(model_->forward(*stream_, batch_of(ids), *store_, probe)).hidden;
  FATHOM_CHECK(stream_->synchronize().ok());
}

void ModelSession::prefill(std::int32_t sequence,
                           std::span<const std::int32_t> ids,
                           std::int32_t first,
                           model::Probe* probe) {
  rows_.sequences.assign(ids.size(), sequence);
  rows_.positions.resize(ids.size());
  std::iota(rows_.positions.begin(), rows_.positions.end(), first);
  rows_.logit_rows = {static_cast<std::int32_t>(ids.size() - 1)};
  forward(ids, probe);
}

void ModelSession::decode(std::span<const std::int32_t> ids,
                          std::int32_t position,
                          model::Probe* probe) {
  rows_.sequences.resize(ids.size());
  std::iota(rows_.sequences.begin(), rows_.sequences.end(), 0);
  rows_.positions.assign(ids.size(), position);
  rows_.logit_rows = rows_.sequences;
  forward(ids, probe);
}

void ModelSession::verify(std::span<const std::int32_t> ids,
                          std::int32_t position,
                          model::Probe* probe) {
  rows_ = {};
  for (std::int32_t row = 0; row < static_cast<std::int32_t>(ids.size()); ++row) {
    rows_.sequences.push_back(row / 2);
    rows_.positions.push_back(position + row % 2);
    rows_.logit_rows.push_back(row);
  }
  forward(ids, probe);
}

void ModelSession::draft(std::span<const std::int32_t> ids, model::Probe* probe) {
  rows_.logit_rows.clear();
  for (std::size_t row = 0; row < ids.size(); ++row) {
    const bool last = row + 1 == ids.size() || rows_.sequences[row + 1] != rows_.sequences[row];
    if (last) rows_.logit_rows.push_back(static_cast<std::int32_t>(row));
  }
  checked(model_->draft(*stream_, batch_of(ids), hidden_, *store_, probe));
  FATHOM_CHECK(stream_->synchronize().ok());
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
