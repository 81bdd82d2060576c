#pragma once

#include <cstdint>
#include <optional>

#include "api/request_fields.h"
#include "api/service.h"
#include "wire/messages.h"

namespace fathom::api {

// What a request says about how its tokens are drawn and shown.
struct SamplingFields {
  wire::SamplingParams params;  // without seed, sample and max_new_tokens
  std::uint32_t samples = 1;    // n
  std::optional<std::uint64_t> seed;
  std::optional<std::int32_t> max_new_tokens;  // none: as many as fit
  std::int32_t stream_interval = 1;
  bool skip_special_tokens = true;
  bool keep_stop_token = false;  // no_stop_trim: the token that ended it has text
};

// The two families of request bodies name some fields differently.
enum class SamplingDialect : std::uint8_t { kOpenAi, kNative };

// Reads and checks them. What is wrong, or asks for what does not exist yet, is told to `fields`.
// max_new_tokens is read for kNative only, whose default is 128; the OpenAI endpoints have rules of
// their own.
SamplingFields read_sampling(FieldReader& fields,
                             SamplingDialect dialect,
                             const SamplingDefaults& defaults,
                             const ServiceOptions& options);

// Members of every generating request, beside its sampling, that would change the answer and whose
// feature does not exist yet. There is one data-parallel rank: 0.
void check_request_fields(FieldReader& fields);

// response_format of the OpenAI endpoints: {"type":"text"} is all there is so far.
void check_response_format(FieldReader& fields);

}  // namespace fathom::api
