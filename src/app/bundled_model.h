#pragma once

#include <filesystem>

#include "base/status.h"

namespace fathom::app {

// The folder of the bundled model, fathom-tiny: $FATHOM_HOME/models/fathom-tiny when that variable
// is set; else beside the program: ../share/fathom/models (installed) or the nearest folder above
// it with models/fathom-tiny (a source tree). kUnavailable lists the places tried.
Result<std::filesystem::path> bundled_model_folder();

// `given`, or the bundled model when it is empty.
Result<std::filesystem::path> model_folder(const std::string& given);

}  // namespace fathom::app
