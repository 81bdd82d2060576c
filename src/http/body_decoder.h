#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace fathom::http {

// Takes the framing off a message's body, however its bytes are cut.
//
// Threads: an ordinary value.
class BodyDecoder {
 public:
  enum class State : std::uint8_t { kMore, kDone, kTooLarge, kMalformed };

  static BodyDecoder none() { return of_length(0); }
  static BodyDecoder of_length(std::uint64_t bytes);
  // `max_bytes`: of the decoded body. Extensions and trailers are skipped, and bounded too.
  static BodyDecoder chunked(std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max());
  // Until the peer closes.
  static BodyDecoder until_end();

  // Appends what `bytes` decode to and returns how many were used: all of them unless state() is
  // no longer kMore.
  std::size_t push(std::string_view bytes, std::string& body);
  // The peer sends no more.
  void end();

  State state() const { return state_; }

 private:
  enum class Part : std::uint8_t {
    kLength,  // of a body of known length, or of a chunk
    kUntilEnd,
    kSize,       // hexadecimal digits
    kExtension,  // up to '\r'
    kSizeEnd,    // the '\n' behind the size
    kDataCr,     // the line end behind a chunk's data
    kDataLf,
    kTrailerStart,  // of a line
    kTrailer,
    kTrailerLf,
    kLastLf,
  };

  explicit BodyDecoder(Part part) : part_(part) {}
  void push_framing(char c);
  void push_size(char c);
  void end_size();
  void push_trailer(char c);
  void skip(char c, char end, Part next);
  void expect(bool as_expected, Part next);

  Part part_;
  State state_ = State::kMore;
  bool chunked_ = false;
  int digits_ = 0;               // of the chunk's size so far
  std::uint64_t remaining_ = 0;  // bytes of this length or chunk
  std::uint64_t room_ = 0;       // decoded bytes that may still come
  std::size_t skipped_ = 0;      // bytes of extensions and trailers
};

}  // namespace fathom::http
