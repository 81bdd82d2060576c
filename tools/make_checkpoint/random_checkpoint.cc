#include "make_checkpoint/random_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/thread_pool.h"
#include "checkpoint/writer.h"
#include "make_checkpoint/config_json.h"
#include "make_checkpoint/random_tensor.h"
#include "model/tensor_sums.h"
#include "model/tensor_table.h"
#include "tensor/tensor_view.h"

namespace fathom::make_checkpoint {
namespace {

using checkpoint::SafetensorsWriter;
using Kind = checkpoint::TensorSpec::Kind;

constexpr std::int64_t kBufferBytes = std::int64_t{32} << 20;

struct Planned {
  const model::ModelTensor* tensor = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 1;
  std::int64_t columns = 1;

  std::int64_t band_scales() const { return ceil_div(columns, kScaleBlock); }
  std::int64_t bytes() const {
    std::int64_t sum = rows * columns * static_cast<std::int64_t>(size_of(dtype));
    if (dtype == DType::kF8E4M3) sum += 4 * band_scales() * ceil_div(rows, kScaleBlock);
    return sum;
  }
};

bool ends_with(const std::string& text, std::string_view ending) {
  return text.size() >= ending.size() &&
         std::string_view(text).substr(text.size() - ending.size()) == ending;
}

Spread spread_of(const Planned& planned) {
  const checkpoint::TensorSpec& spec = planned.tensor->spec;
  if (spec.kind == Kind::kVector) {
    const bool bias = ends_with(spec.name, "bias");
    return bias ? Spread{false, 0, 0.1F} : Spread{false, 1, 0.5F};
  }
  if (ends_with(spec.name, "embed_tokens.weight")) return {true, 0, 1};
  return {true, 0, 1 / std::sqrt(static_cast<float>(planned.columns))};
}

// The name that the numbers are drawn under: a copy draws its original's.
std::string source_name(const model::ModelTensor& tensor) {
  if (tensor.part != model::Part::kDraftCopies) return tensor.spec.name;
  return ends_with(tensor.spec.name, "head.weight") ? "lm_head.weight"
                                                    : "model.embed_tokens.weight";
}

std::vector<Planned> plan(const std::vector<model::ModelTensor>& tensors,
                          const model::StoredDType& dtype_of,
                          bool draft_copies) {
  std::vector<Planned> planned;
  for (const model::ModelTensor& tensor : tensors) {
    if (tensor.part == model::Part::kDraftCopies && !draft_copies) continue;
    const auto& shape = tensor.spec.shape;
    const bool vector = shape.size() == 1;
    planned.push_back(
        {&tensor, dtype_of(tensor.spec), vector ? 1 : shape[0], vector ? shape[0] : shape[1]});
  }
  return planned;
}

std::vector<SafetensorsWriter::Tensor> announce(std::span<const Planned> part) {
  std::vector<SafetensorsWriter::Tensor> announced;
  for (const Planned& planned : part) {
    const checkpoint::TensorSpec& spec = planned.tensor->spec;
    announced.push_back({spec.name, planned.dtype, spec.shape});
    if (planned.dtype != DType::kF8E4M3) continue;
    announced.push_back({spec.name + "_scale_inv",
                         DType::kF32,
                         {ceil_div(planned.rows, kScaleBlock), planned.band_scales()}});
  }
  return announced;
}

// Writes one file. Tensors are made in steps of a few rows, each step by all threads.
class FileMaker {
 public:
  FileMaker(const RandomCheckpointOptions& options, ThreadPool& pool)
      : options_(options), pool_(pool) {}

  Status make(const std::filesystem::path& path, std::span<const Planned> part) {
    Result<SafetensorsWriter> writer = SafetensorsWriter::create(path, announce(part));
    if (!writer.ok()) return writer.status();
    for (const Planned& planned : part) {
      FATHOM_RETURN_IF_ERROR(planned.dtype == DType::kF8E4M3 ? write_quantised(planned, *writer)
                                                             : write_plain(planned, *writer));
    }
    return writer->finish();
  }

 private:
  Status write_plain(const Planned& planned, SafetensorsWriter& writer) {
    const RandomNumbers numbers(options_.seed, source_name(*planned.tensor));
    const Spread spread = spread_of(planned);
    const auto size = static_cast<std::int64_t>(size_of(planned.dtype));
    const std::int64_t elements = planned.rows * planned.columns;
    const std::int64_t step = kBufferBytes / size;
    for (std::int64_t first = 0; first < elements; first += step) {
      const std::int64_t count = std::min(step, elements - first);
      buffer_.resize(static_cast<std::size_t>(count * size));
      pool_.parallel_for(static_cast<std::size_t>(count), std::size_t{1} << 16,
                         [&](std::size_t begin, std::size_t end, int) {
                           const auto bytes = static_cast<std::size_t>(size);
                           fill(numbers, spread, planned.dtype,
                                first + static_cast<std::int64_t>(begin),
                                std::span(buffer_).subspan(begin * bytes, (end - begin) * bytes));
                         });
      FATHOM_RETURN_IF_ERROR(writer.write(buffer_));
    }
    return {};
  }

  Status write_quantised(const Planned& planned, SafetensorsWriter& writer) {
    const RandomNumbers numbers(options_.seed, source_name(*planned.tensor));
    const Spread spread = spread_of(planned);
    const std::int64_t bands = ceil_div(planned.rows, kScaleBlock);
    const auto band_scales = static_cast<std::size_t>(planned.band_scales());
    std::vector<float> scales(static_cast<std::size_t>(bands) * band_scales);
    const std::int64_t band_bytes = kScaleBlock * planned.columns;
    const std::int64_t step = std::max<std::int64_t>(1, kBufferBytes / band_bytes);
    for (std::int64_t first = 0; first < bands; first += step) {
      const std::int64_t count = std::min(step, bands - first);
      const std::int64_t first_row = first * kScaleBlock;
      const std::int64_t rows = std::min(count * kScaleBlock, planned.rows - first_row);
      buffer_.resize(static_cast<std::size_t>(rows * planned.columns));
      pool_.parallel_for(
          static_cast<std::size_t>(count), 1, [&](std::size_t begin, std::size_t end, int) {
            const auto band = static_cast<std::size_t>(band_bytes);
            const std::size_t from = begin * band;
            const std::size_t to = std::min(end * band, buffer_.size());
            fill_quantised(
                numbers, spread, planned.columns, options_.power_of_two_scales,
                first_row + static_cast<std::int64_t>(begin) * kScaleBlock,
                std::span(buffer_).subspan(from, to - from),
                std::span(scales).subspan((static_cast<std::size_t>(first) + begin) * band_scales,
                                          (end - begin) * band_scales));
          });
      FATHOM_RETURN_IF_ERROR(writer.write(buffer_));
    }
    return writer.write(std::as_bytes(std::span(scales)));
  }

  const RandomCheckpointOptions& options_;
  ThreadPool& pool_;
  std::vector<std::byte> buffer_;
};

Status write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (stream.good()) return {};
  return {Code::kUnavailable, path.string() + ": cannot be written"};
}

std::string shard_name(std::int32_t file, std::int32_t files) {
  std::array<char, 48> name{};
  std::snprintf(name.data(), name.size(), "model-%05d-of-%05d.safetensors", file + 1, files);
  return name.data();
}

}  // namespace

Status write_random_checkpoint(const config::ModelConfig& model,
                               const RandomCheckpointOptions& options,
                               const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return {Code::kUnavailable, folder.string() + ": cannot be made"};
  const std::vector<model::ModelTensor> tensors = model::model_tensors(model);
  const std::vector<Planned> planned =
      plan(tensors, model::published_dtypes(model), options.draft_copies);
  ThreadPool pool(options.threads);
  FileMaker maker(options, pool);
  if (options.files == 1) {
    FATHOM_RETURN_IF_ERROR(maker.make(folder / "model.safetensors", planned));
    return write_text(folder / "config.json", config_json(model));
  }
  if (options.files < 1 || static_cast<std::size_t>(options.files) > planned.size()) {
    return invalid_argument("files is " + std::to_string(options.files) + ", expected 1 to " +
                            std::to_string(planned.size()));
  }

  std::int64_t total = 0;
  for (const Planned& tensor : planned) total += tensor.bytes();
  std::vector<checkpoint::IndexEntry> index;
  std::size_t first = 0;
  std::int64_t before = 0;
  for (std::int32_t file = 0; file < options.files; ++file) {
    // Every file gets its share of the bytes, at least one tensor, and leaves one for each after.
    const std::int64_t until = total * (file + 1) / options.files;
    const std::size_t most = planned.size() - static_cast<std::size_t>(options.files - 1 - file);
    std::size_t last = first;
    while (last < most && (last == first || before < until)) before += planned[last++].bytes();
    if (file + 1 == options.files) last = planned.size();
    const auto part = std::span(planned).subspan(first, last - first);
    const std::string name = shard_name(file, options.files);
    FATHOM_RETURN_IF_ERROR(maker.make(folder / name, part));
    for (const auto& tensor : announce(part)) index.push_back({tensor.name, name});
    first = last;
  }
  FATHOM_RETURN_IF_ERROR(write_text(folder / "model.safetensors.index.json",
                                    checkpoint::shard_index_json(index, total)));
  return write_text(folder / "config.json", config_json(model));
}

}  // namespace fathom::make_checkpoint
