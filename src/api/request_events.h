#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/call.h"
#include "base/json.h"
#include "observe/monitor.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::api {

// Tells the monitor what becomes of requests: counts and times of each sample, and lines and
// records of each rid. Does nothing without a monitor.
//
// Threads: any. One lock for each call, not for each token.
class RequestEvents {
 public:
  // Both may be null and must outlive it. With a tokenizer, what is logged has texts too.
  RequestEvents(observe::Monitor* monitor, const text::Tokenizer* tokenizer)
      : monitor_(monitor), tokenizer_(tokenizer) {}

  // What one rid asked for, and its samples.
  struct Named {
    std::string rid;
    std::int64_t received_ns = 0;  // of base now_ns()
    double received_unix_s = 0;
    bool wanted = false;  // in full: by the log or for a crash dump
    observe::LoggedRequest logged;
    std::string dumped;      // the request as JSON, for a crash dump; else empty
    Json::Array answers;     // of finished samples
    std::uint32_t left = 0;  // unfinished samples
    std::uint32_t samples = 0;
  };
  struct Entry {
    std::shared_ptr<Named> named;              // shared by the samples of a prompt
    observe::RequestSeries* series = nullptr;  // where it counts; null without metrics
    std::int64_t last_ns = 0;                  // of the last output with tokens; 0: none yet
    std::int64_t generated = 0;
    bool structured = false;
    bool complete = false;
    std::vector<wire::TokenId> tokens;  // kept when content is wanted
    bool keeps_tokens = false;
    std::int32_t prompt_tokens = 0;
  };

  // Looks at the requests of a call, whose prompts must still be there, and logs that they came.
  std::vector<Entry> receive(const Prepared& prepared) const;
  // They are about to be sent under the ids from `first` on.
  void on_submit(std::vector<Entry> received, wire::RequestId first);
  // … but were not after all: they are the caller's again.
  std::vector<Entry> take_back(wire::RequestId first, std::size_t count);
  // What was received is refused: its lines end. It counts as no request.
  void on_refused(const std::vector<Entry>& received, const Refusal& refusal) const;
  // The answer of a request was complete before the engine knew (a stop string): when the engine
  // ends it as aborted, it counts as finished.
  void on_complete(wire::RequestId id);
  void on_outputs(std::span<const wire::TokenOutput> outputs);

  // A line of JSON for each rid that has not finished, for a crash dump.
  std::vector<std::string> unfinished() const;

 private:
  void count(Entry& entry, const wire::TokenOutput& output, std::int64_t now) const;
  void count_stages(const wire::RequestTimes& times) const;
  void finish(const Entry& entry, const wire::TokenOutput& output, std::int64_t now) const;
  void tell_end(const Entry& entry, const wire::TokenOutput& output, std::int64_t now) const;
  Json shown_request(const Named& named, const wire::GenerateRequest& request, bool content) const;
  void log_times(const Entry& entry, const wire::TokenOutput& output) const;
  Json answer_of(const Entry& entry, const wire::TokenOutput& output, std::int64_t now) const;
  static std::string dump_line(const Named& named, const Json& answer);

  observe::Monitor* monitor_;
  const text::Tokenizer* tokenizer_;
  mutable std::mutex mutex_;
  std::unordered_map<wire::RequestId, Entry> entries_;
};

// A request's fields under SGLang's names, as lines of --log-requests show them. `tokenizer` null:
// without the prompt's text.
Json request_fields_of(const std::string& rid,
                       const wire::GenerateRequest& request,
                       std::uint32_t samples,
                       const text::Tokenizer* tokenizer);

}  // namespace fathom::api
