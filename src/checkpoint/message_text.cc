#include "checkpoint/message_text.h"

namespace fathom::checkpoint {
namespace {

constexpr std::size_t kLongestName = 160;

}  // namespace

std::string in_quotes(std::string_view name) {
  std::string text = "'";
  for (const char character : name.substr(0, kLongestName)) {
    const bool control = static_cast<unsigned char>(character) < 0x20 || character == 0x7F;
    text += control ? '?' : character;
  }
  if (name.size() > kLongestName) text += "…";
  return text + "'";
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(size);
  }
  return text + "]";
}

}  // namespace fathom::checkpoint
