#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/answer.h"
#include "api/request_fields.h"
#include "api/service.h"
#include "wire/messages.h"

namespace fathom::api {

// Members of every generating request, beside its sampling.
struct RequestFields {
  std::int32_t priority = 0;
  std::string cache_namespace;  // of cache_salt and extra_key, for wire::GenerateRequest
};

// What a request says about how its tokens are drawn and shown.
struct SamplingFields {
  wire::SamplingParams params;  // without seed, sample and max_new_tokens
  std::uint32_t samples = 1;    // n
  std::optional<std::uint64_t> seed;
  std::optional<std::int32_t> max_new_tokens;  // none: as many as fit
  std::int32_t stream_interval = 1;
  wire::Constraint constraint;
  bool skip_special_tokens = true;
  bool keep_stop = false;  // no_stop_trim: what ended it, token or text, is part of the answer
  std::shared_ptr<const text::StopRules> stops;  // of stop and stop_regex; null: neither
  std::vector<std::string> stop_patterns;        // stop_regex
  RequestFields request;

  // What the answer needs to know of it. `rid` names it in the log.
  AnswerOptions answer_options(const std::string& rid) const;
};

// What a request may bring.
inline constexpr std::size_t kMaxLogitBiases = 1024;
inline constexpr std::size_t kMaxStopStrings = 64;
inline constexpr std::size_t kMaxStopPatterns = 16;
inline constexpr std::size_t kMaxStopBytes = 1024;  // each

// The two families of request bodies name some fields differently.
enum class SamplingDialect : std::uint8_t { kOpenAi, kNative };

// Reads and checks them. What is wrong, or asks for what does not exist yet, is told to `fields`.
// max_new_tokens is read for kNative only, whose default is 128; the OpenAI endpoints have rules of
// their own. The constraint's begins_after is left alone.
SamplingFields read_sampling(FieldReader& fields,
                             SamplingDialect dialect,
                             const SamplingDefaults& defaults,
                             const ServiceOptions& options);

// Those that would change the answer and whose feature does not exist yet are refused. There is one
// data-parallel rank: 0.
RequestFields read_request_fields(FieldReader& fields);
// All of that but cache_salt and extra_key, and these two alone.
std::int32_t read_priority(FieldReader& fields);
std::string read_cache_namespace(FieldReader& fields);

}  // namespace fathom::api
