#pragma once

#include <string>

#include "config/model_config.h"

namespace fathom::make_checkpoint {

// A config.json from which parse_model_config() reads `model` again.
std::string config_json(const config::ModelConfig& model);

}  // namespace fathom::make_checkpoint
