#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "api/call.h"
#include "api/request_events.h"
#include "wire/engine_link.h"

namespace fathom::api {

// The calls that the engine works on: sends their requests and leads outputs back to them.
//
// Threads: any.
class Registry {
 public:
  explicit Registry(wire::EngineClient& engine,
                    observe::Monitor* monitor = nullptr,
                    const text::Tokenizer* tokenizer = nullptr)
      : engine_(&engine), events_(monitor, tokenizer) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Sends all of a call's requests, or none of them and says why.
  std::optional<Refusal> submit(const std::shared_ptr<Call>& call, Prepared prepared);

  // Takes what the engine has published to the calls, each of which writes once. Returns whether
  // there was a sign of life among it: an output that is no abort.
  bool deliver();

  // Asks the engine to end the requests of this rid (and no other); unknown ones are ignored.
  void abort(const std::string& rid);
  // … of a call whose peer is gone.
  void abort(const Call& call);
  void abort_all();

  // Sends a request for one token whose output nobody reads, unless one is under way.
  Status submit_probe();
  void abort_probe();

  std::size_t in_flight() const;  // requests
  const RequestEvents& events() const { return events_; }

 private:
  // The requests [first, first + count) of one rid.
  struct Name {
    std::string rid;
    wire::RequestId first = 0;
    std::uint32_t count = 0;
    std::uint32_t left = 0;  // whose answer is not over
  };
  struct Entry {
    std::shared_ptr<Call> call;  // shared with the peer's side, which may end first
    std::shared_ptr<Name> name;  // shared by the samples of a prompt; null: released
    std::uint32_t index = 0;     // of the sample in the call
  };

  // Each requires mutex_.
  std::optional<Refusal> enter(const std::shared_ptr<Call>& call, const Prepared& prepared);
  // Sends what was received, or leaves it in `received`.
  std::optional<Refusal> send(const std::shared_ptr<Call>& call,
                              Prepared& prepared,
                              std::vector<RequestEvents::Entry>& received);
  std::shared_ptr<Call> leave(wire::RequestId id, bool last, std::uint32_t& index);
  void drop(wire::RequestId id);
  // Lets a rid be used again when this was the last of its requests.
  void release_name(wire::RequestId id);

  // Ends a request whose answer is over, so that its rid is free before the client knows.
  void abort_sample(wire::RequestId id, std::int32_t answer_tokens);
  void abort_ids(wire::RequestId first, std::uint32_t count);

  wire::EngineClient* engine_;
  RequestEvents events_;

  std::mutex delivering_;  // one delivery at a time, so that outputs keep their order

  mutable std::mutex mutex_;  // taken after a call's own
  wire::RequestId next_id_ = 1;
  wire::RequestId probe_id_ = 0;  // 0: none under way
  std::unordered_map<wire::RequestId, Entry> entries_;
  std::unordered_map<std::string, std::shared_ptr<Name>> names_;  // by rid
};

}  // namespace fathom::api
