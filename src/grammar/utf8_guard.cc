#include "grammar/utf8_guard.h"

#include <algorithm>

namespace fathom::grammar {

namespace {

using Byte = unsigned char;

Utf8State state_after(Byte byte) {
  switch (byte) {
    case 0xE0:
      return Utf8State::kAfterE0;
    case 0xED:
      return Utf8State::kAfterEd;
    case 0xF0:
      return Utf8State::kAfterF0;
    case 0xF4:
      return Utf8State::kAfterF4;
    default:
      return Utf8State::kAny;
  }
}

// Whether `byte` is one that no UTF-8 has, or has after `state`. That it continues a character at
// all where one is open is the library's part.
bool wrong(Utf8State state, Byte byte) {
  switch (state) {
    case Utf8State::kAfterE0:
      if (byte < 0xA0) return true;
      break;
    case Utf8State::kAfterF0:
      if (byte < 0x90) return true;
      break;
    case Utf8State::kAfterEd:
      if (byte > 0x9F) return true;
      break;
    case Utf8State::kAfterF4:
      if (byte > 0x8F) return true;
      break;
    case Utf8State::kAny:
      break;
  }
  return byte == 0xC0 || byte == 0xC1 || byte > 0xF4;
}

bool wrong_inside(std::string_view bytes) {
  Utf8State state = Utf8State::kAny;
  for (const char c : bytes) {
    const auto byte = static_cast<Byte>(c);
    if (wrong(state, byte)) return true;
    state = state_after(byte);
  }
  return false;
}

void clear(const std::vector<std::int32_t>& tokens, std::span<std::uint32_t> mask) {
  for (const std::int32_t token : tokens) {
    mask[static_cast<std::size_t>(token) / 32] &= ~(1U << (static_cast<std::uint32_t>(token) % 32));
  }
}

}  // namespace

Utf8Guard::Utf8Guard(const std::vector<std::string>& vocabulary) {
  after_.assign(vocabulary.size(), Utf8State::kAny);
  for (std::size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& bytes = vocabulary[id];
    if (bytes.empty()) continue;
    const auto token = static_cast<std::int32_t>(id);
    after_[id] = state_after(static_cast<Byte>(bytes.back()));
    if (wrong_inside(bytes)) {
      refused_[0].push_back(token);
      continue;
    }
    for (std::size_t state = 1; state < kStates; ++state) {
      const auto first = static_cast<Byte>(bytes[0]);
      // Others than continuations the library refuses itself; those lists would be long.
      const bool continuation = first >= 0x80 && first < 0xC0;
      if (continuation && wrong(static_cast<Utf8State>(state), first)) {
        refused_[state].push_back(token);
      }
    }
  }
}

void Utf8Guard::narrow(Utf8State state, std::span<std::uint32_t> mask) const {
  clear(refused_[0], mask);
  if (state != Utf8State::kAny) clear(refused_[static_cast<std::size_t>(state)], mask);
}

bool Utf8Guard::refuses(Utf8State state, std::int32_t token) const {
  const auto in = [token](const std::vector<std::int32_t>& tokens) {
    return std::binary_search(tokens.begin(), tokens.end(), token);
  };
  return in(refused_[0]) || in(refused_[static_cast<std::size_t>(state)]);
}

Utf8State Utf8Guard::after(std::int32_t token) const {
  const auto id = static_cast<std::size_t>(token);
  return token >= 0 && id < after_.size() ? after_[id] : Utf8State::kAny;
}

}  // namespace fathom::grammar
