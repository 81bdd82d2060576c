#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace fathom::text::jinja {

// A template and what it is rendered with.
struct Rendering {
  std::string source;
  Json variables;
};

// What Python's Jinja makes of each (tests/clients/render_templates.py): its text, or nothing where
// it refuses. Throws std::runtime_error when Python cannot be run.
std::vector<std::optional<std::string>> render_in_python(const std::vector<Rendering>& renderings);

// A file of the repository's tests/data/jinja/.
std::string test_file(const std::string& name);

}  // namespace fathom::text::jinja
