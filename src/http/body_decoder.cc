#include "http/body_decoder.h"

#include <algorithm>

namespace fathom::http {

namespace {

constexpr int kMaxSizeDigits = 16;
constexpr std::size_t kMaxSkippedBytes = 64 << 10;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

BodyDecoder BodyDecoder::of_length(std::uint64_t bytes) {
  BodyDecoder decoder(Part::kLength);
  decoder.remaining_ = bytes;
  if (bytes == 0) decoder.state_ = State::kDone;
  return decoder;
}

BodyDecoder BodyDecoder::chunked(std::uint64_t max_bytes) {
  BodyDecoder decoder(Part::kSize);
  decoder.chunked_ = true;
  decoder.room_ = max_bytes;
  return decoder;
}

BodyDecoder BodyDecoder::until_end() { return BodyDecoder(Part::kUntilEnd); }

std::size_t BodyDecoder::push(std::string_view bytes, std::string& body) {
  std::size_t used = 0;
  while (used < bytes.size() && state_ == State::kMore) {
    if (part_ == Part::kUntilEnd) {
      body += bytes.substr(used);
      return bytes.size();
    }
    if (part_ != Part::kLength) {
      push_framing(bytes[used++]);
      continue;
    }
    const std::size_t count =
        static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size() - used));
    body += bytes.substr(used, count);
    used += count;
    remaining_ -= count;
    if (remaining_ != 0) continue;
    if (chunked_) {
      part_ = Part::kDataCr;
    } else {
      state_ = State::kDone;
    }
  }
  return used;
}

void BodyDecoder::end() {
  if (state_ != State::kMore) return;
  state_ = part_ == Part::kUntilEnd ? State::kDone : State::kMalformed;
}

void BodyDecoder::expect(bool as_expected, Part next) {
  part_ = next;
  if (!as_expected) state_ = State::kMalformed;
}

void BodyDecoder::push_framing(char c) {
  switch (part_) {
    case Part::kSize:
      return push_size(c);
    case Part::kExtension:
      return skip(c, '\r', Part::kSizeEnd);
    case Part::kSizeEnd:
      expect(c == '\n', Part::kLength);
      return end_size();
    case Part::kDataCr:
      return expect(c == '\r', Part::kDataLf);
    case Part::kDataLf:
      return expect(c == '\n', Part::kSize);
    default:
      return push_trailer(c);
  }
}

void BodyDecoder::push_size(char c) {
  const int digit = hex_digit(c);
  if (digit < 0) {
    // A size without digits is none; bytes before ';' or the line end are not allowed.
    expect(digits_ > 0 && (c == ';' || c == '\r'), c == ';' ? Part::kExtension : Part::kSizeEnd);
    return;
  }
  if (++digits_ > kMaxSizeDigits) state_ = State::kMalformed;
  remaining_ = remaining_ << 4 | static_cast<std::uint64_t>(digit);
}

void BodyDecoder::end_size() {
  if (state_ != State::kMore) return;
  digits_ = 0;
  if (remaining_ == 0) {
    part_ = Part::kTrailerStart;
  } else if (remaining_ > room_) {
    state_ = State::kTooLarge;
  } else {
    room_ -= remaining_;
  }
}

void BodyDecoder::push_trailer(char c) {
  switch (part_) {
    case Part::kTrailerStart:
      if (c == '\r') return expect(true, Part::kLastLf);
      part_ = Part::kTrailer;
      return skip(c, '\r', Part::kTrailerLf);
    case Part::kTrailer:
      return skip(c, '\r', Part::kTrailerLf);
    case Part::kTrailerLf:
      return expect(c == '\n', Part::kTrailerStart);
    default:
      state_ = c == '\n' ? State::kDone : State::kMalformed;
      return;
  }
}

void BodyDecoder::skip(char c, char end, Part next) {
  if (c == end) {
    part_ = next;
  } else if (c == '\n' || ++skipped_ > kMaxSkippedBytes) {
    state_ = State::kMalformed;
  }
}

}  // namespace fathom::http
