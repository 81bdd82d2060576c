#pragma once

#include <cstddef>

namespace fathom::text::jinja {

// What a template and its rendering may cost. Beyond any of these is kInvalidArgument, naming the
// limit.
struct Limits {
  std::size_t max_source_bytes = std::size_t{1} << 20;
  int max_nesting = 200;  // brackets and blocks inside each other in the source
  int max_depth = 400;    // expressions, blocks and calls that run inside each other
  std::size_t max_operations = 20'000'000;               // steps; long texts and lists cost more
  std::size_t max_output_bytes = std::size_t{64} << 20;  // of any one text, the prompt included
  // All memory that a rendering asks for, whether or not it gives some back.
  std::size_t max_memory_bytes = std::size_t{512} << 20;
  std::size_t max_range = 100'000;  // numbers in one range()
};

}  // namespace fathom::text::jinja
