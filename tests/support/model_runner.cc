#include "support/model_runner.h"

#include <algorithm>
#include <array>
#include <utility>

#include "backend/cpu/cpu_ops.h"
#include "model/tensor_table.h"

namespace fathom::test_support {

// One step's rows as the model wants them.
struct ModelRunner::Inputs {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> sequences;
  std::vector<std::int32_t> page_table;
  std::vector<std::int32_t> logit_rows;
  std::vector<model::Segment> segments;
  model::Batch batch;

  Inputs(std::span<const Piece> pieces,
         const std::vector<std::vector<cache::PageId>>& tables,
         std::int64_t width) {
    for (const Piece& piece : pieces) {
      const auto row = static_cast<std::int32_t>(page_table.size()) / static_cast<int>(width);
      const auto& pages = tables[static_cast<std::size_t>(piece.sequence)];
      page_table.insert(page_table.end(), pages.begin(), pages.end());
      page_table.resize(static_cast<std::size_t>((row + 1) * width), -1);
      const bool padding = piece.first_position < 0;
      if (!piece.ids.empty() && !padding) {
        const auto count = static_cast<std::int32_t>(piece.ids.size());
        segments.push_back(
            {row, static_cast<std::int32_t>(ids.size()), count, piece.first_position + count});
      }
      for (std::size_t i = 0; i < piece.ids.size(); ++i) {
        logit_rows.push_back(static_cast<std::int32_t>(ids.size()));
        ids.push_back(piece.ids[i]);
        positions.push_back(padding ? -1 : piece.first_position + static_cast<std::int32_t>(i));
        sequences.push_back(row);
      }
    }
    const auto rows = static_cast<std::int64_t>(ids.size());
    batch.ids = {ids.data(), DType::kI32, {rows}};
    batch.tokens.positions = {positions.data(), DType::kI32, {rows}};
    batch.tokens.sequences = {sequences.data(), DType::kI32, {rows}};
    batch.tokens.page_table = {page_table.data(),
                               DType::kI32,
                               {static_cast<std::int64_t>(page_table.size()) / width, width}};
    batch.logit_rows = {logit_rows.data(), DType::kI32, {rows}};
    batch.segments = segments;
    if (!positions.empty()) batch.max_position = std::max(std::ranges::max(positions), 0);
  }
};

ModelRunner::ModelRunner(const std::filesystem::path& folder, const RunnerOptions& options)
    : ModelRunner(folder,
                  options,
                  options.make_device ? options.make_device()
                                      : std::make_unique<cpu::CpuDevice>(options.threads),
                  options.make_ops ? options.make_ops() : cpu::make_cpu_ops()) {}

ModelRunner::ModelRunner(const std::filesystem::path& folder,
                         const RunnerOptions& options,
                         std::unique_ptr<Device> device,
                         std::unique_ptr<ops::OpSet> ops)
    : config_(config::load_model_config(folder).value()),
      options_(options),
      checkpoint_(checkpoint::Checkpoint::open(folder, model::expected_tensors(config_)).value()),
      device_(std::move(device)),
      ops_(std::move(ops)),
      stream_(device_->create_stream()) {
  weights_ =
      model::Weights::load(config_, checkpoint_, options.arithmetic, *device_, options.mutation)
          .value();
  model::ModelOptions model_options;
  model_options.arithmetic = options.arithmetic;
  model_options.max_tokens = options.max_tokens;
  model_options.max_logit_rows = options.max_tokens;
  model_options.max_positions = options.max_positions;
  model_options.mutation = options.mutation;
  model_options.attention_form = options.attention_form;
  model_ = model::Model::create(config_, *weights_, *ops_, *device_, model_options).value();
  const config::KvLayout layout =
      config::make_kv_layout(config_, options.arithmetic, options.kv_cache_dtype).value();
  store_.emplace(
      cache::KvStore::create(*device_, layout, config_.layers_with_cache(), options.pages).value());
  pool_.emplace(options.pages);
}

int ModelRunner::add_sequence() {
  sequences_.push_back(pool_->take(options_.max_positions / config::kPageTokens).value());
  return static_cast<int>(sequences_.size()) - 1;
}

int ModelRunner::fork_sequence(int other, std::int32_t tokens) {
  FATHOM_CHECK(tokens % config::kPageTokens == 0);
  const std::int32_t shared = tokens / config::kPageTokens;
  const auto& source = sequences_[static_cast<std::size_t>(other)];
  std::vector<cache::PageId> pages(source.begin(), source.begin() + shared);
  pool_->hold(pages);
  const std::vector<cache::PageId> own =
      pool_->take(options_.max_positions / config::kPageTokens - shared).value();
  pages.insert(pages.end(), own.begin(), own.end());
  sequences_.push_back(std::move(pages));
  return static_cast<int>(sequences_.size()) - 1;
}

void ModelRunner::drop_sequence(int sequence) {
  auto& pages = sequences_[static_cast<std::size_t>(sequence)];
  pool_->release(pages);
  pages.clear();
}

void ModelRunner::place(TensorView& view) {
  if (device_->uses_host_memory() || view.elements() == 0) return;
  const std::size_t bytes = static_cast<std::size_t>(view.elements()) * size_of(view.dtype);
  inputs_.push_back(device_->allocate(bytes).value());
  device_->copy_to_device(*stream_, inputs_.back().data(), view.data, bytes);
  view.data = inputs_.back().data();
}

void ModelRunner::place(model::Batch& batch) {
  for (TensorView* view : {&batch.ids, &batch.tokens.positions, &batch.tokens.sequences,
                           &batch.tokens.page_table, &batch.logit_rows}) {
    place(*view);
  }
}

std::vector<std::byte> ModelRunner::to_host(const TensorView& view) {
  FATHOM_CHECK(view.dense());
  std::vector<std::byte> bytes(static_cast<std::size_t>(view.elements()) * size_of(view.dtype));
  device_->copy_to_host(*stream_, bytes.data(), view.data, bytes.size());
  FATHOM_CHECK(stream_->synchronize().ok());
  return bytes;
}

ModelRunner::Step ModelRunner::collect(const Result<model::StepOutput>& output, std::int64_t rows) {
  FATHOM_CHECK_MSG(output.ok(), output.status().message());
  const Status done = stream_->synchronize();
  FATHOM_CHECK_MSG(done.ok(), done.message());
  inputs_.clear();
  std::vector<std::byte> logit_bytes = to_host(output->logits);
  std::vector<std::byte> hidden_bytes = to_host(output->hidden);
  TensorView all_logits = output->logits;
  TensorView hidden = output->hidden;
  all_logits.data = logit_bytes.data();
  hidden.data = hidden_bytes.data();
  Step step;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto* logits = all_logits.row<float>(row);
    step.logits.emplace_back(logits, logits + config_.vocab_size);
    for (std::int64_t i = 0; i < config_.hidden_size; ++i) {
      step.hidden.push_back(hidden.dtype == DType::kF32 ? hidden.row<float>(row)[i]
                                                        : to_float(hidden.row<BFloat16>(row)[i]));
    }
  }
  return step;
}

// Shows another probe copies in host memory.
class ModelRunner::HostProbe final : public model::Probe {
 public:
  HostProbe(ModelRunner& runner, model::Probe* shown) : runner_(runner), shown_(shown) {}
  // What a step is given: the probe itself where the device's memory is the host's.
  model::Probe* probe() {
    return shown_ == nullptr || runner_.device_->uses_host_memory() ? shown_ : this;
  }

  void residual(std::int32_t layer, const TensorView& hidden) override {
    shown_->residual(layer, copy(hidden, 0));
  }
  void selection(std::int32_t layer,
                 std::int64_t first_row,
                 const TensorView& selected,
                 const TensorView& count,
                 const TensorView& scores) override {
    shown_->selection(layer, first_row, copy(selected, 0), copy(count, 1), copy(scores, 2));
  }
  void experts(std::int32_t layer, const TensorView& experts, const TensorView& weights) override {
    shown_->experts(layer, copy(experts, 0), copy(weights, 1));
  }

 private:
  TensorView copy(const TensorView& view, std::size_t place) {
    if (!view.present()) return view;
    copies_.at(place) = runner_.to_host(view);
    TensorView copied = view;
    copied.data = copies_.at(place).data();
    return copied;
  }

  ModelRunner& runner_;
  model::Probe* shown_;
  std::array<std::vector<std::byte>, 3> copies_;
};

ModelRunner::Step ModelRunner::forward(std::span<const Piece> pieces,
                                       model::Probe* probe,
                                       model::Replay* replay) {
  Inputs inputs(pieces, sequences_, options_.max_positions / config::kPageTokens);
  place(inputs.batch);
  const auto rows = static_cast<std::int64_t>(inputs.ids.size());
  HostProbe host(*this, probe);
  return collect(model_->forward(*stream_, inputs.batch, *store_, host.probe(), replay), rows);
}

ModelRunner::Step ModelRunner::draft(std::span<const Piece> pieces,
                                     std::span<const float> hidden,
                                     model::Probe* probe) {
  Inputs inputs(pieces, sequences_, options_.max_positions / config::kPageTokens);
  place(inputs.batch);
  const auto rows = static_cast<std::int64_t>(inputs.ids.size());
  FATHOM_CHECK(static_cast<std::int64_t>(hidden.size()) == rows * config_.hidden_size);
  std::vector<float> wide(hidden.begin(), hidden.end());
  std::vector<BFloat16> narrow;
  TensorView view(wide.data(), DType::kF32, {rows, config_.hidden_size});
  if (options_.arithmetic == config::Arithmetic::kDeployed) {
    for (const float number : wide) narrow.push_back(to_bfloat16(number));
    view = TensorView(narrow.data(), DType::kBF16, {rows, config_.hidden_size});
  }
  place(view);
  HostProbe host(*this, probe);
  return collect(model_->draft(*stream_, inputs.batch, view, *store_, host.probe()), rows);
}

ModelRunner::Step ModelRunner::prefill(int sequence,
                                       std::span<const std::int32_t> ids,
                                       std::int32_t chunk,
                                       std::int32_t first_position) {
  if (chunk == 0) chunk = options_.max_tokens;
  Step all;
  for (std::size_t begin = 0; begin < ids.size(); begin += static_cast<std::size_t>(chunk)) {
    const std::size_t size = std::min(static_cast<std::size_t>(chunk), ids.size() - begin);
    Piece piece;
    piece.sequence = sequence;
    piece.first_position = first_position + static_cast<std::int32_t>(begin);
    piece.ids.assign(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                     ids.begin() + static_cast<std::ptrdiff_t>(begin + size));
    Step step = forward({&piece, 1});
    std::ranges::move(step.logits, std::back_inserter(all.logits));
    all.hidden.insert(all.hidden.end(), step.hidden.begin(), step.hidden.end());
  }
  return all;
}

std::int32_t argmax(std::span<const float> numbers) {
  return static_cast<std::int32_t>(std::ranges::max_element(numbers) - numbers.begin());
}

}  // namespace fathom::test_support
