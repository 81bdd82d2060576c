#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "config/attention_form.h"
#include "config/kv_layout.h"
#include "config/model_config.h"

namespace fathom::app {

struct GeneratorOptions {
  config::Arithmetic arithmetic = config::Arithmetic::kDeployed;
  config::KvCacheDType kv_cache_dtype = config::KvCacheDType::kAuto;
  config::AttentionForm attention_form = config::AttentionForm::kAbsorbed;
  int threads = 1;
  std::int32_t chunk_tokens = 256;     // prompt tokens of one step
  std::int32_t context_tokens = 4096;  // prompt and continuation together
};

struct GeneratedToken {
  std::int32_t id = 0;
  float logprob = 0;
};

// What one generation took, in seconds.
struct GenerationTimes {
  double prefill = 0;  // the prompt's steps, up to the first token
  double decode = 0;   // the steps after it
};

// A model on the CPU that continues one prompt at a time, greedily.
//
// Threads: one at a time.
class Generator {
 public:
  // Loads `folder`. A failure names the file, tensor or option.
  static Result<std::unique_ptr<Generator>> create(const std::filesystem::path& folder,
                                                   const GeneratorOptions& options);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Continues `prompt` by up to `max_new_tokens`, telling each token as it comes; `on_token`
  // returns whether to go on. kInvalidArgument when the prompt is empty, holds an id outside the
  // vocabulary, or does not fit the context; kUnavailable when the checkpoint became unreadable.
  Status generate(std::span<const std::int32_t> prompt,
                  std::int64_t max_new_tokens,
                  const std::function<bool(const GeneratedToken&)>& on_token,
                  GenerationTimes& times);

  const config::ModelConfig& config() const;

 private:
  struct State;
  explicit Generator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fathom::app
