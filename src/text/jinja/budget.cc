#include "text/jinja/budget.h"

namespace fathom::text::jinja {

namespace {

constexpr std::size_t kBytesPerOperation = 256;  // what copying costs, compared with a step

}  // namespace

bool Budget::fail(std::string_view message) {
  if (failure_.ok()) {
    failure_ = invalid_argument("line " + std::to_string(line_) + ": " + std::string(message));
  }
  return false;
}

bool Budget::spend(std::size_t operations) {
  if (operations > limits_.max_operations - operations_) {
    return fail("the template takes more than " + std::to_string(limits_.max_operations) +
                " steps");
  }
  operations_ += operations;
  return ok();
}

bool Budget::take(std::size_t bytes) {
  if (bytes > limits_.max_memory_bytes - bytes_) {
    return fail("the template takes more than " + std::to_string(limits_.max_memory_bytes) +
                " bytes of memory");
  }
  bytes_ += bytes;
  return spend(bytes / kBytesPerOperation);
}

bool Budget::take_text(std::size_t bytes) {
  if (bytes > limits_.max_output_bytes) {
    return fail("a text gets longer than " + std::to_string(limits_.max_output_bytes) + " bytes");
  }
  return take(bytes);
}

bool Budget::spend_search(std::size_t text_bytes, std::size_t part_bytes) {
  return spend((1 + text_bytes / 64) * (1 + part_bytes / 64));
}

bool Budget::descend() {
  ++depth_;
  if (depth_ > limits_.max_depth) {
    return fail("more than " + std::to_string(limits_.max_depth) +
                " expressions and calls inside each other");
  }
  return ok();
}

}  // namespace fathom::text::jinja
