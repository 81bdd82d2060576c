#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "checkpoint/checkpoint_state.h"
#include "checkpoint/message_text.h"
#include "checkpoint/shard_index.h"

namespace fathom::checkpoint {
namespace {

constexpr std::int64_t kMaxIndexBytes = std::int64_t{256} << 20;
constexpr std::string_view kScaleSuffix = "_scale_inv";

using Kind = TensorSpec::Kind;

// A name found in the files, and whether the expectation covers it.
struct Found {
  std::size_t shard = 0;
  std::size_t tensor = 0;
  bool accounted = false;
};
using FoundByName = std::unordered_map<std::string_view, Found>;

std::string scales_name(std::string_view matrix) {
  return std::string(matrix).append(kScaleSuffix);
}

Status check_dtype(const StoredTensor& tensor, Kind kind) {
  const bool is_float =
      tensor.dtype == DType::kF32 || tensor.dtype == DType::kBF16 || tensor.dtype == DType::kF16;
  if (is_float || (kind == Kind::kMatrix && tensor.dtype == DType::kF8E4M3)) return {};
  return invalid_argument("dtype is " + std::string(dtype_name(tensor.dtype)) + ", expected f32, " +
                          (kind == Kind::kMatrix ? "bf16, f16 or f8_e4m3" : "bf16 or f16"));
}

Status check_shape(const StoredTensor& tensor, const std::vector<std::int64_t>& wanted) {
  if (tensor.shape == wanted) return {};
  return invalid_argument("shape is " + shape_text(tensor.shape) + ", expected " +
                          shape_text(wanted));
}

Status check_scales_tensor(const StoredTensor& scales, const std::vector<std::int64_t>& matrix) {
  if (scales.dtype != DType::kF32) {
    return invalid_argument("dtype is " + std::string(dtype_name(scales.dtype)) + ", expected f32");
  }
  return check_shape(scales, {ceil_div(matrix[0], kScaleBlock), ceil_div(matrix[1], kScaleBlock)});
}

// "tensor 'a' is missing", or "3 tensors are missing, the first of them 'a'".
std::string of_tensors(const std::vector<std::string_view>& names,
                       const char* one,
                       const char* many) {
  const auto first = std::min_element(names.begin(), names.end());
  if (names.size() == 1) return "tensor " + in_quotes(*first) + " " + one;
  return std::to_string(names.size()) + " tensors " + many + ", the first of them " +
         in_quotes(*first);
}

Status check_index(const ShardIndex::Shard& listed, const SafetensorsHeader& header) {
  std::vector<std::string_view> stored;
  for (const StoredTensor& tensor : header.tensors) stored.emplace_back(tensor.name);
  std::sort(stored.begin(), stored.end());
  std::vector<std::string_view> missing;
  std::set_difference(listed.tensors.begin(), listed.tensors.end(), stored.begin(), stored.end(),
                      std::back_inserter(missing));
  if (!missing.empty()) {
    return invalid_argument(of_tensors(missing, "is not in this file, where the index places it",
                                       "are not in this file, where the index places them"));
  }
  std::vector<std::string_view> unlisted;
  std::set_difference(stored.begin(), stored.end(), listed.tensors.begin(), listed.tensors.end(),
                      std::back_inserter(unlisted));
  if (!unlisted.empty()) {
    return invalid_argument(of_tensors(unlisted,
                                       "is in this file, but the index does not place it here",
                                       "are in this file, but the index does not place them here"));
  }
  return {};
}

// Steps of Checkpoint::open(), in order.
class Opening {
 public:
  explicit Opening(std::filesystem::path folder) : folder_(std::move(folder)) {}

  Status open_files() {
    std::error_code error;
    if (!std::filesystem::is_directory(folder_, error)) {
      return invalid_argument(folder_.string() + ": there is no such folder");
    }
    const std::filesystem::path index_path = folder_ / "model.safetensors.index.json";
    if (!std::filesystem::exists(index_path, error)) {
      if (!std::filesystem::exists(folder_ / "model.safetensors", error)) {
        return invalid_argument(folder_.string() +
                                ": has neither model.safetensors.index.json nor model.safetensors");
      }
      return open_shard("model.safetensors", nullptr);
    }
    const Result<std::string> text = read_small_file(index_path, kMaxIndexBytes);
    if (!text.ok()) return text.status().in(index_path.string());
    const Result<ShardIndex> index = parse_shard_index(*text);
    if (!index.ok()) return index.status().in(index_path.string());
    for (const ShardIndex::Shard& shard : index->shards) {
      FATHOM_RETURN_IF_ERROR(open_shard(shard.file, &shard));
    }
    return {};
  }

  Status account(const std::vector<TensorSpec>& expected) {
    FoundByName found;
    for (std::size_t i = 0; i < state_->shards.size(); ++i) {
      const auto& tensors = state_->shards[i].header.tensors;
      for (std::size_t j = 0; j < tensors.size(); ++j) found[tensors[j].name] = {i, j, false};
    }
    std::vector<std::string_view> missing;
    for (const TensorSpec& spec : expected) {
      const auto at = found.find(spec.name);
      if (at == found.end()) {
        if (!spec.optional) missing.emplace_back(spec.name);
        continue;
      }
      FATHOM_RETURN_IF_ERROR(add(spec, at->second, found));
    }
    if (!missing.empty()) {
      return invalid_argument(folder_.string() + ": " +
                              of_tensors(missing, "is missing", "are missing"));
    }
    return refuse_unexpected(found);
  }

  std::unique_ptr<CheckpointState> take_state() { return std::move(state_); }

 private:
  Status open_shard(const std::string& name, const ShardIndex::Shard* listed) {
    CheckpointState::Shard shard;
    shard.path = (folder_ / name).string();
    Result<std::unique_ptr<MappedFile>> file = MappedFile::open(shard.path);
    if (!file.ok()) return file.status().in(shard.path);
    shard.file = std::move(*file);
    Result<SafetensorsHeader> header = parse_safetensors_header(shard.file->bytes());
    if (!header.ok()) return header.status().in(shard.path);
    shard.header = std::move(*header);
    if (listed != nullptr) {
      FATHOM_RETURN_IF_ERROR(check_index(*listed, shard.header).in(shard.path));
    }
    state_->shards.push_back(std::move(shard));
    return {};
  }

  CheckpointState::Place place(Found& found) {
    found.accounted = true;
    const CheckpointState::Shard& shard = state_->shards[found.shard];
    return {&shard, &shard.header.tensors[found.tensor]};
  }

  Status add(const TensorSpec& spec, Found& found, FoundByName& all) {
    CheckpointState::Entry entry;
    entry.values = place(found);
    const StoredTensor& tensor = *entry.values.tensor;
    const std::string where = entry.values.shard->path + ": tensor " + in_quotes(spec.name);
    FATHOM_RETURN_IF_ERROR(check_shape(tensor, spec.shape).in(where));
    FATHOM_RETURN_IF_ERROR(check_dtype(tensor, spec.kind).in(where));
    entry.view.values = state_->view_of(entry.values);

    const auto scales = spec.kind == Kind::kMatrix ? all.find(scales_name(spec.name)) : all.end();
    if (tensor.dtype == DType::kF8E4M3) {
      if (scales == all.end()) {
        return invalid_argument(where + ": dtype is f8_e4m3, but " +
                                in_quotes(scales_name(spec.name)) + " is missing");
      }
      entry.scales = place(scales->second);
      FATHOM_RETURN_IF_ERROR(
          check_scales_tensor(*entry.scales.tensor, spec.shape)
              .in(entry.scales.shard->path + ": tensor " + in_quotes(scales->first)));
      entry.view.scales = state_->view_of(entry.scales);
    } else if (scales != all.end()) {
      return invalid_argument(where + ": dtype is " + std::string(dtype_name(tensor.dtype)) +
                              ", but there is " + in_quotes(scales->first));
    }
    state_->entries.emplace(tensor.name, entry);
    return {};
  }

  Status refuse_unexpected(const FoundByName& found) const {
    std::vector<std::string_view> unexpected;
    for (const auto& [name, place] : found) {
      if (!place.accounted) unexpected.push_back(name);
    }
    if (unexpected.empty()) return {};
    const auto first = std::min_element(unexpected.begin(), unexpected.end());
    const std::string& path = state_->shards[found.at(*first).shard].path;
    return invalid_argument(
        path + ": " +
        of_tensors(unexpected, "is not a part of this model", "are not a part of this model"));
  }

  std::filesystem::path folder_;
  std::unique_ptr<CheckpointState> state_ = std::make_unique<CheckpointState>();
};

}  // namespace

TensorView CheckpointState::view_of(const Place& place) {
  const StoredTensor& tensor = *place.tensor;
  const std::byte* data = place.shard->file->bytes().data() + tensor.begin;
  if (reinterpret_cast<std::uintptr_t>(data) % size_of(tensor.dtype) != 0) {
    const auto bytes = static_cast<std::size_t>(tensor.end - tensor.begin);
    aligned_copies.push_back(std::make_unique<std::uint64_t[]>(bytes / 8 + 1));
    std::memcpy(aligned_copies.back().get(), data, bytes);
    data = reinterpret_cast<const std::byte*>(aligned_copies.back().get());
  }
  // A view is mutable by type; the pages are not, so writing through it ends the process.
  auto* bytes = const_cast<std::byte*>(data);
  if (tensor.shape.size() == 1) return {bytes, tensor.dtype, {tensor.shape[0]}};
  FATHOM_CHECK(tensor.shape.size() == 2);
  return {bytes, tensor.dtype, {tensor.shape[0], tensor.shape[1]}};
}

const CheckpointState::Entry& CheckpointState::at(std::string_view name) const {
  const auto found = entries.find(name);
  FATHOM_CHECK_MSG(found != entries.end(), in_quotes(name));
  return found->second;
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::filesystem::path& folder,
                                                     const std::vector<TensorSpec>& expected) {
  Opening opening(folder);
  FATHOM_RETURN_IF_ERROR(opening.open_files());
  FATHOM_RETURN_IF_ERROR(opening.account(expected));
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(opening.take_state()));
  FATHOM_RETURN_IF_ERROR(checkpoint->health());
  return checkpoint;
}

Checkpoint::Checkpoint(std::unique_ptr<CheckpointState> state) : state_(std::move(state)) {}
Checkpoint::~Checkpoint() = default;

WeightView Checkpoint::weight(std::string_view name) const { return state_->at(name).view; }

bool Checkpoint::has(std::string_view name) const { return state_->entries.count(name) != 0; }

void Checkpoint::prefetch(std::string_view name) const {
  const CheckpointState::Entry& entry = state_->at(name);
  for (const CheckpointState::Place& place : {entry.values, entry.scales}) {
    if (place.shard == nullptr) continue;
    place.shard->file->prefetch(place.tensor->begin, place.tensor->end);
  }
}

std::int64_t Checkpoint::data_bytes() const {
  std::int64_t bytes = 0;
  for (const CheckpointState::Shard& shard : state_->shards) {
    bytes += static_cast<std::int64_t>(shard.file->bytes().size()) - shard.header.data_begin;
  }
  return bytes;
}

std::int64_t Checkpoint::stored_tensors() const {
  std::int64_t count = 0;
  for (const CheckpointState::Shard& shard : state_->shards) {
    count += static_cast<std::int64_t>(shard.header.tensors.size());
  }
  return count;
}

std::int64_t Checkpoint::files() const { return static_cast<std::int64_t>(state_->shards.size()); }

Status Checkpoint::health() const {
  for (const CheckpointState::Shard& shard : state_->shards) {
    const auto lost = shard.file->first_damage();
    if (!lost) continue;
    const auto& tensors = shard.header.tensors;
    const auto hit = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const StoredTensor& tensor) { return tensor.end > *lost; });
    const std::string what = hit == tensors.end() ? "the file" : "tensor " + in_quotes(hit->name);
    return {Code::kUnavailable, shard.path + ": " + what + " can no longer be read from byte " +
                                    std::to_string(*lost) +
                                    " on: the file was cut short or its disk failed"};
  }
  return {};
}

}  // namespace fathom::checkpoint
