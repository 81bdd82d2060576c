#include "text/utf8.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace fathom::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What a lead byte allows: the character's size (0 when it can start none) and the range of the
// byte after it, which is where overlong forms, surrogates and values past U+10FFFF are refused.
struct Lead {
  std::uint32_t size = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
};

Lead lead_of(unsigned byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

std::size_t ascii_prefix(std::string_view bytes) {
  std::size_t at = 0;
  while (at + 8 <= bytes.size()) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    if ((word & 0x8080808080808080U) != 0) break;
    at += 8;
  }
  while (at < bytes.size() && static_cast<unsigned char>(bytes[at]) < 0x80) ++at;
  return at;
}

}  // namespace

Utf8Front utf8_front(std::string_view bytes) {
  const Lead lead = lead_of(static_cast<unsigned char>(bytes[0]));
  if (lead.size == 0) return {Utf8Kind::kBroken, 1};
  for (std::uint32_t i = 1; i < lead.size; ++i) {
    if (i == bytes.size()) return {Utf8Kind::kIncomplete, i};
    const unsigned byte = static_cast<unsigned char>(bytes[i]);
    const bool fits = i == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0) == 0x80;
    if (!fits) return {Utf8Kind::kBroken, i};
  }
  return {Utf8Kind::kWhole, lead.size};
}

std::size_t valid_utf8_prefix(std::string_view bytes) {
  std::size_t at = 0;
  while (true) {
    at += ascii_prefix(bytes.substr(at));
    if (at == bytes.size()) return at;
    const Utf8Front front = utf8_front(bytes.substr(at));
    if (front.kind != Utf8Kind::kWhole) return at;
    at += front.size;
  }
}

void append_utf8(char32_t value, std::string& out) {
  FATHOM_CHECK(value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF));
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  const auto tail = [value](unsigned shift) { return 0x80 | ((value >> shift) & 0x3F); };
  if (value < 0x80) return put(value);
  if (value < 0x800) {
    put(0xC0 | value >> 6);
    return put(tail(0));
  }
  if (value < 0x10000) {
    put(0xE0 | value >> 12);
  } else {
    put(0xF0 | value >> 18);
    put(tail(12));
  }
  put(tail(6));
  put(tail(0));
}

// Feeds `bytes` one at a time to the waiting character until it is settled or they run out.
void Utf8Repair::push_through_pending(std::string_view& bytes, std::string& out) {
  while (pending_size_ > 0 && !bytes.empty()) {
    pending_[pending_size_] = bytes[0];
    const Utf8Front front = utf8_front({pending_, pending_size_ + 1});
    if (front.kind == Utf8Kind::kBroken) {  // the new byte is not part of it and stays in `bytes`
      out += kReplacement;
      pending_size_ = 0;
      return;
    }
    bytes.remove_prefix(1);
    ++pending_size_;
    if (front.kind == Utf8Kind::kWhole) {
      out.append(pending_, pending_size_);
      pending_size_ = 0;
    }
  }
}

void Utf8Repair::push(std::string_view bytes, std::string& out) {
  push_through_pending(bytes, out);
  while (!bytes.empty()) {
    const std::size_t valid = valid_utf8_prefix(bytes);
    out += bytes.substr(0, valid);
    bytes.remove_prefix(valid);
    if (bytes.empty()) return;
    const Utf8Front front = utf8_front(bytes);
    if (front.kind == Utf8Kind::kIncomplete) {
      std::copy_n(bytes.data(), front.size, pending_);
      pending_size_ = front.size;
      return;
    }
    out += kReplacement;
    bytes.remove_prefix(front.size);
  }
}

void Utf8Repair::flush(std::string& out) {
  if (pending_size_ > 0) out += kReplacement;
  pending_size_ = 0;
}

}  // namespace fathom::text
