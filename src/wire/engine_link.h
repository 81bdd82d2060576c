#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "wire/messages.h"

namespace fathom::wire {

// The node process's end of the way to one engine.
//
// A request that submit() took has exactly one last output (Finish other than kNone), whatever
// becomes of the engine.
//
// Threads: any, at once. A request's outputs keep their order when one thread at a time takes them.
class EngineClient {
 public:
  virtual ~EngineClient() = default;

  // Never waits. kResourceExhausted when the link holds as many requests as it may, kUnavailable
  // when the engine is gone or going; nothing is sent then. Requires an id that was never used.
  virtual Status submit(GenerateRequest request) = 0;

  // Ends a request within a step: its last output has Finish::kAbort, unless it has already
  // finished. Never refused; ids that are not known, have finished or are being aborted are
  // ignored.
  virtual void abort(const AbortRequest& request) = 0;

  // Empties the prefix cache after what was sent before. Never refused.
  virtual void flush_cache() = 0;

  // Everything the engine has told since the last call, at most one output per request: what came
  // in several steps is put together. Never waits.
  virtual std::vector<TokenOutput> take_outputs() = 0;

  // As of the engine's last step; kept when the engine is gone.
  virtual EngineLoad load() const = 0;
};

// The engine's end.
//
// Threads: the engine's thread alone.
class EnginePort {
 public:
  virtual ~EnginePort() = default;

  // What the node process has sent since the last call, in the order in which it came. With
  // `wait`, sleeps until there is something, the waker was called or the link is closed.
  // `deadline_ns` (of now_ns(); 0: none) bounds the sleep.
  virtual std::vector<ToEngine> receive(bool wait, std::int64_t deadline_ns) = 0;

  // Whether the node process wants the engine to end.
  virtual bool closed() const = 0;

  // Hands the outputs of a step over; never waits, never loses. May be empty. Requires requests
  // that were received and have had no last output.
  virtual void publish(std::vector<TokenOutput> outputs) = 0;

  virtual void publish_load(const EngineLoad& load) = 0;

  // What makes a receive() that waits return, or the next one that would. It may be called from any
  // thread and at any time, also when the link is gone.
  virtual std::function<void()> waker() = 0;

  // The engine's last word, whatever ended it: requests that have had no last output, received or
  // not, end with Finish::kAbort and `why`, and submit() is refused with `why`'s message. Nothing
  // may be published afterwards. Of these requests' counts only those that wait in an output are
  // told, so an engine that still can publishes the last outputs of what it knows first. Requires
  // !why.ok().
  virtual void end(const Status& why) = 0;
};

// Both ends in one process.
//
// The link holds at most `max_unfinished` requests: those whose last output the node process has
// not taken yet. That bounds both ways. To the engine go one request and one abort of each at most,
// and one flush between any two of those; back comes one output of each, since what has not been
// taken is put together.
class InprocLink {
 public:
  // `on_output` is called from the engine's thread, without a lock, whenever outputs came to an
  // empty way back: it should wake whoever calls take_outputs(), and not do the work itself.
  // Requires max_unfinished > 0.
  InprocLink(std::size_t max_unfinished, std::function<void()> on_output);
  ~InprocLink();
  InprocLink(const InprocLink&) = delete;
  InprocLink& operator=(const InprocLink&) = delete;

  EngineClient& client();
  EnginePort& port();

  // Makes closed() true and wakes a waiting receive(); submit() is refused from now on.
  void close();

 private:
  struct State;
  std::shared_ptr<State> state_;  // wakers hold it, too
};

}  // namespace fathom::wire
