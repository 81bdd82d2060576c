#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "wire/messages.h"

// What the two processes of serve_bench agree on: the server's and the clients'.
namespace fathom::bench {

// A way to ask for a stream.
struct StreamForm {
  std::string name;
  std::string path;
  std::string body;         // of the request
  std::string mark;         // stands in front of an event's text, once
  bool cumulative = false;  // events carry all text so far
  bool incremental_streaming = false;
};

// What every stream answers: tokens of a text without characters that JSON escapes.
struct Script {
  std::vector<wire::TokenId> tokens;
  std::vector<std::size_t> ends;  // bytes of text up to and with each token
  std::string text;
};

inline constexpr std::size_t kMaxScriptTokens = 1024;

// What a client process has seen of one round: the answer of every stream, once.
struct ClientReport {
  std::int64_t events = 0;  // that carry text
  std::int64_t bytes = 0;   // as received, with all framing
};

// Of all tokens of all paced rounds, from the call that publishes one to the return of the client's
// recv().
struct Latencies {
  std::int64_t p50_ns = 0;
  std::int64_t p99_ns = 0;
  std::int64_t max_ns = 0;
};

// Memory that both processes map. The stamps are the server's to write, the rest the clients'.
struct Shared {
  std::array<std::atomic<std::int64_t>, kMaxScriptTokens> published_ns;  // of this round's tokens
  ClientReport round;
  Latencies latencies;
};

// The pair of sockets between the processes carries single bytes. The end of either process closes
// it, so that the other ends too.
enum class Signal : std::uint8_t {
  // To the clients: ask on every stream, and …
  kRoundBySteps,  // … tell when a token has come on all of them, but no latencies
  kPacedRound,    // … tell latencies alone
  // From them.
  kStepSeen,
  kRoundEnd,  // all streams have ended; `round` and `latencies` are right
};

}  // namespace fathom::bench
