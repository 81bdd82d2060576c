#include "app/generator.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "app/backends.h"
#include "app/loaded_model.h"
#include "cache/page_pool.h"

namespace fathom::app {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

struct Generator::State {
  GeneratorOptions options;
  std::unique_ptr<LoadedModel> loaded;
  std::unique_ptr<Stream> stream;
  std::vector<cache::PageId> pages;

  // Runs rows [first, first + ids) of the one sequence and gives the token after the last.
  Result<GeneratedToken> step(std::span<const std::int32_t> ids, std::int32_t first);
};

Result<GeneratedToken> Generator::State::step(std::span<const std::int32_t> ids,
                                              std::int32_t first) {
  const auto rows = static_cast<std::int64_t>(ids.size());
  std::vector<std::int32_t> tokens(ids.begin(), ids.end());
  std::vector<std::int32_t> positions(ids.size());
  std::vector<std::int32_t> sequences(ids.size(), 0);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    positions[i] = first + static_cast<std::int32_t>(i);
  }
  auto last_row = static_cast<std::int32_t>(rows - 1);
  model::Batch batch;
  batch.ids = {tokens.data(), DType::kI32, {rows}};
  batch.tokens.positions = {positions.data(), DType::kI32, {rows}};
  batch.tokens.sequences = {sequences.data(), DType::kI32, {rows}};
  batch.tokens.page_table = {
      pages.data(), DType::kI32, {1, static_cast<std::int64_t>(pages.size())}};
  batch.logit_rows = {&last_row, DType::kI32, {1}};
  batch.max_position = positions.back();
  const model::Segment segment{0, 0, static_cast<std::int32_t>(rows), batch.max_position + 1};
  batch.segments = {&segment, 1};
  const Result<model::StepOutput> output = loaded->model().forward(*stream, batch, loaded->store());
  FATHOM_RETURN_IF_ERROR(output.status());
  GeneratedToken token;
  float log_sum = 0;
  loaded->ops().argmax(*stream,
                       ops::ArgmaxArgs{output->logits, TensorView(&token.id, DType::kI32, {1}),
                                       TensorView(&log_sum, DType::kF32, {1})});
  FATHOM_RETURN_IF_ERROR(stream->synchronize());
  // Before anyone believes the numbers: were the weights still there?
  FATHOM_RETURN_IF_ERROR(loaded->health());
  // A certain token's two roundings may leave a little more than 0.
  token.logprob = std::min(output->logits.row<float>(0)[token.id] - log_sum, 0.0F);
  return token;
}

Result<std::unique_ptr<Generator>> Generator::create(const std::filesystem::path& folder,
                                                     const GeneratorOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  model::ModelOptions model_options;
  model_options.arithmetic = options.arithmetic;
  model_options.max_tokens = options.chunk_tokens;
  model_options.max_logit_rows = 1;
  model_options.max_positions = options.context_tokens;
  model_options.attention_form = options.attention_form;
  const auto pages =
      static_cast<std::int32_t>(ceil_div(options.context_tokens, config::kPageTokens));
  auto backend = open_backend(config::DeviceKind::kCpu, {}, options.threads);
  FATHOM_RETURN_IF_ERROR(backend.status());
  auto loaded = LoadedModel::load(folder, std::move(backend).value(), options.arithmetic);
  FATHOM_RETURN_IF_ERROR(loaded.status());
  FATHOM_RETURN_IF_ERROR((*loaded)->create_model(model_options));
  FATHOM_RETURN_IF_ERROR((*loaded)->create_caches(options.kv_cache_dtype,
                                                  (*loaded)->config().num_hidden_layers, pages));
  state->loaded = std::move(loaded).value();
  state->stream = state->loaded->device().create_stream();
  cache::PagePool pool(pages);
  state->pages = pool.take(pages).value();
  return std::unique_ptr<Generator>(new Generator(std::move(state)));
}

Generator::Generator(std::unique_ptr<State> state) : state_(std::move(state)) {}
Generator::~Generator() = default;

const config::ModelConfig& Generator::config() const { return state_->loaded->config(); }

Status Generator::generate(std::span<const std::int32_t> prompt,
                           std::int64_t max_new_tokens,
                           const std::function<bool(const GeneratedToken&)>& on_token,
                           GenerationTimes& times) {
  const std::int32_t context = state_->options.context_tokens;
  const auto length = static_cast<std::int64_t>(prompt.size());
  if (prompt.empty()) return invalid_argument("the prompt is empty, expected at least one token");
  for (const std::int32_t id : prompt) {
    if (id >= 0 && id < config().vocab_size) continue;
    return invalid_argument("token id " + std::to_string(id) + " is outside the vocabulary of " +
                            std::to_string(config().vocab_size));
  }
  if (length > context) {
    return invalid_argument("the prompt has " + std::to_string(length) + " tokens, the context " +
                            std::to_string(context));
  }
  if (max_new_tokens <= 0) return {};

  const auto chunk = static_cast<std::size_t>(state_->options.chunk_tokens);
  auto start = std::chrono::steady_clock::now();
  GeneratedToken token;
  for (std::size_t begin = 0; begin < prompt.size(); begin += chunk) {
    const auto ids = prompt.subspan(begin, std::min(chunk, prompt.size() - begin));
    const auto next = state_->step(ids, static_cast<std::int32_t>(begin));
    FATHOM_RETURN_IF_ERROR(next.status());
    token = *next;
  }
  times.prefill = seconds_since(start);
  start = std::chrono::steady_clock::now();
  auto position = static_cast<std::int32_t>(length);
  for (std::int64_t made = 1; on_token(token) && made < max_new_tokens && position < context;
       ++made, ++position) {
    const auto next = state_->step({&token.id, 1}, position);
    FATHOM_RETURN_IF_ERROR(next.status());
    token = *next;
  }
  times.decode = seconds_since(start);
  return {};
}

}  // namespace fathom::app
