#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "wire/messages.h"

namespace fathom::wire {

// The node process's end of the way to one engine.
//
// Threads: any, at once.
class EngineClient {
 public:
  virtual ~EngineClient() = default;

  // Never waits. kResourceExhausted when the engine's queue is full, kUnavailable when it is gone;
  // nothing is sent then.
  virtual Status submit(GenerateRequest request) = 0;

  // Ends a request within a step: its last output has Finish::kAbort, unless it has already
  // finished. Never refused, an id that is not known is ignored.
  virtual void abort(RequestId id) = 0;

  // Everything the engine has told since the last call, at most one output per request: what came
  // in several steps is put together. Never waits.
  virtual std::vector<TokenOutput> take_outputs() = 0;

  virtual EngineLoad load() const = 0;
};

// The engine's end.
//
// Threads: the engine's thread alone.
class EnginePort {
 public:
  virtual ~EnginePort() = default;

  // What the node process has sent since the last call, in order. With `wait`, sleeps until there
  // is something or the link is closed. `deadline_ns` (0: none) bounds the sleep.
  virtual std::vector<ToEngine> receive(bool wait, std::int64_t deadline_ns) = 0;

  // Whether the node process wants the engine to end.
  virtual bool closed() const = 0;

  // Hands the outputs of a step over; never waits, never loses. May be empty.
  virtual void publish(std::vector<TokenOutput> outputs) = 0;

  virtual void publish_load(const EngineLoad& load) = 0;
};

// Both ends in one process.
//
// The way to the engine holds at most `max_unfinished` requests: submit() counts those whose last
// output the engine has not published yet. The way back is bounded by that too, since outputs that
// the node process has not taken are put together per request. Aborts are one per request.
class InprocLink {
 public:
  // `on_output` is called from the engine's thread whenever outputs came to an empty way back: it
  // should wake whoever calls take_outputs(), and not do the work itself.
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
  std::unique_ptr<State> state_;
};

}  // namespace fathom::wire
