#include "text/unicode_class.h"

#include <cstddef>
#include <map>

#include "base/check.h"
#include "text/unicode_ranges.h"

namespace fathom::text {
namespace {

constexpr std::size_t kCodePoints = 0x110000;

void mark_han_kana(std::vector<std::uint8_t>& flat, std::size_t first, std::size_t last) {
  for (std::size_t c = first; c <= last; ++c) {
    flat[c] = static_cast<std::uint8_t>(flat[c] | kHanKana);
  }
}

std::vector<std::uint8_t> expand() {
  std::vector<std::uint8_t> flat;
  flat.reserve(kCodePoints);
  for (const std::uint32_t run : kUnicodeRuns) {
    flat.insert(flat.end(), run >> 7, static_cast<std::uint8_t>(run & 0x7F));
  }
  FATHOM_CHECK(flat.size() == kCodePoints);
  mark_han_kana(flat, 0x3040, 0x30FF);
  mark_han_kana(flat, 0x4E00, 0x9FA5);
  return flat;
}

}  // namespace

UnicodeClasses::UnicodeClasses() {
  const std::vector<std::uint8_t> flat = expand();
  std::map<std::array<std::uint8_t, 256>, std::uint16_t> known;
  for (std::size_t block = 0; block < block_of_.size(); ++block) {
    std::array<std::uint8_t, 256> content{};
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = flat[block * 256 + i];
    const auto [at, is_new] = known.emplace(content, static_cast<std::uint16_t>(blocks_.size()));
    if (is_new) blocks_.push_back(content);
    block_of_[block] = at->second;
  }
}

const UnicodeClasses& unicode_classes() {
  static const UnicodeClasses classes;
  return classes;
}

}  // namespace fathom::text
