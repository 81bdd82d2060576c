#pragma once

#include <filesystem>

#include "api/service.h"
#include "base/status.h"

namespace fathom::app {

// The sampling fields of `folder`/generation_config.json: what the model's makers recommend. Those
// that it does not have, or has as null, keep their defaults; all of them when there is no such
// file. kInvalidArgument names the field.
Result<api::SamplingDefaults> read_sampling_defaults(const std::filesystem::path& folder);

}  // namespace fathom::app
