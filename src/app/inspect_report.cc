#include "app/inspect_report.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "config/kv_layout.h"
#include "model/tensor_table.h"

namespace fathom::app {
namespace {

using config::Arithmetic;
using config::KvCacheDType;

std::vector<InspectReport::CacheBytes> cache_bytes(const config::ModelConfig& config) {
  struct Choice {
    const char* name;
    Arithmetic arithmetic;
    KvCacheDType dtype;
  };
  constexpr Choice kChoices[] = {
      {"bf16", Arithmetic::kDeployed, KvCacheDType::kBF16},
      {"fp8_e4m3", Arithmetic::kDeployed, KvCacheDType::kF8E4M3},
      {"exact", Arithmetic::kExact, KvCacheDType::kAuto},
  };
  std::vector<InspectReport::CacheBytes> caches;
  for (const Choice& choice : kChoices) {
    const auto layout = config::make_kv_layout(config, choice.arithmetic, choice.dtype);
    FATHOM_CHECK(layout.ok());
    caches.push_back({choice.name, layout->latent_record_bytes(), layout->index_record_bytes()});
  }
  return caches;
}

std::vector<InspectReport::RankGroup> group_ranks(const config::ModelConfig& config,
                                                  const std::vector<model::ModelTensor>& tensors,
                                                  const model::StoredDType& dtype_of,
                                                  const model::Layout& layout) {
  std::vector<InspectReport::RankGroup> groups;
  for (std::int32_t rank = 0; rank < layout.tensor_parallel_size; ++rank) {
    const std::int32_t experts = model::experts_of(config, layout, rank).count;
    model::PartSums sums = model::sum_rank(config, tensors, dtype_of, layout, rank);
    if (!groups.empty() && groups.back().sums == sums && groups.back().experts == experts) {
      groups.back().last = rank;
    } else {
      groups.push_back({rank, rank, experts, sums});
    }
  }
  return groups;
}

InspectReport make_report(std::string source,
                          const config::ModelConfig& config,
                          const model::Layout& layout,
                          const std::vector<model::ModelTensor>& tensors,
                          const model::StoredDType& dtype_of) {
  InspectReport report;
  report.source = std::move(source);
  report.config = config;
  for (std::int32_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (config.is_moe_layer(layer)) ++report.moe_layers;
  }
  report.sums = model::sum_checkpoint(tensors, dtype_of);
  report.activated = model::activated_parameters(config, report.sums);
  report.caches = cache_bytes(config);
  report.layout = layout;
  report.ranks = group_ranks(config, tensors, dtype_of, layout);
  return report;
}

}  // namespace

InspectReport inspect_config(std::string source,
                             const config::ModelConfig& config,
                             const model::Layout& layout) {
  return make_report(std::move(source), config, layout, model::model_tensors(config),
                     model::published_dtypes(config));
}

Result<InspectReport> inspect_checkpoint(const std::filesystem::path& folder,
                                         const config::ModelConfig& config,
                                         const model::Layout& layout,
                                         bool verify,
                                         int threads) {
  auto opened = checkpoint::Checkpoint::open(folder, model::expected_tensors(config));
  if (!opened.ok()) return opened.status();
  const checkpoint::Checkpoint& files = **opened;
  if (verify) {
    ThreadPool pool(threads);
    FATHOM_RETURN_IF_ERROR(files.verify_values(pool));
  }
  std::vector<model::ModelTensor> tensors = model::model_tensors(config);
  std::erase_if(tensors, [&](const model::ModelTensor& tensor) {
    return tensor.spec.optional && !files.has(tensor.spec.name);
  });
  InspectReport report = make_report(
      folder.string(), config, layout, tensors,
      [&](const checkpoint::TensorSpec& spec) { return files.weight(spec.name).values.dtype; });
  report.files = {files.files(), files.stored_tensors(), files.data_bytes()};
  return report;
}

}  // namespace fathom::app
