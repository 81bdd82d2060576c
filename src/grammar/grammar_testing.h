#pragma once

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "grammar/compiler.h"

// Helpers of tests and benchmarks.
namespace fathom::grammar {

// Ids 0 to 255 are the bytes, then come `more`, then one token without text, then the stop token.
CompilerOptions byte_vocabulary(const std::vector<std::string>& more = {});

// Waits for the result.
Result<std::shared_ptr<const Grammar>> compile_now(Compiler& compiler, const Source& source);

// Stops the test program when the source is refused.
std::shared_ptr<const Grammar> compiled(Compiler& compiler, const Source& source);

std::vector<bool> allowed(Matcher& matcher, std::int32_t vocab_size);

// The text of a random walk over the masks: any allowed token, with a leaning towards the end that
// grows after `soft_limit` tokens. Nothing when it is not over after 50 times that.
std::optional<std::string> random_walk(Matcher& matcher,
                                       const CompilerOptions& options,
                                       std::mt19937& random,
                                       int soft_limit);

// Whether `grammar` takes exactly `text`, fed byte by byte; the vocabulary is byte_vocabulary()'s.
bool takes(const Grammar& grammar, const CompilerOptions& options, const std::string& text);

}  // namespace fathom::grammar
