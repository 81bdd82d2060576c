#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "wire/messages.h"

// What a request may ask of an engine.
namespace fathom::engine {

// kInvalidArgument: what no engine with these options and this pool can serve.
Status admissible(const wire::GenerateRequest& request,
                  std::int32_t vocab_size,
                  const EngineOptions& options,
                  std::int32_t pages);

// The tokens below vocab_size that would end the request's answer, ascending.
std::vector<wire::TokenId> end_tokens_of(const wire::GenerateRequest& request,
                                         std::int32_t vocab_size,
                                         const EngineOptions& options);

}  // namespace fathom::engine
