#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/channel.h"
#include "api/refusal.h"
#include "wire/messages.h"

namespace fathom::api {

// Turns the outputs of one call into the text of its answer: one class for each endpoint.
//
// Threads: one at a time.
class Reply {
 public:
  virtual ~Reply() = default;
  // The next output of the sample `index`, counted over prompts first. A stream appends its events
  // to `events`. Returns whether the sample's answer is over; that may be before the engine says
  // so, and nothing more is taken for it.
  virtual bool take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) = 0;
  // Tokens of the sample's answer so far.
  virtual std::int32_t answer_tokens(std::uint32_t index) const = 0;
  // After the last output of every sample: the events that end a stream.
  virtual void close(std::string& events) = 0;
  // The same moment of an answer that is no stream: its body.
  virtual std::string body() = 0;
  // The media type of a stream.
  virtual std::string_view stream_type() const { return kEventStream; }
  // Something failed when a stream had begun: the events that end it. As the form has it.
  virtual void fail(const Refusal& refusal, ErrorForm form, std::string& events);
};

// A call that is understood: what goes to the engine, and what makes an answer of what comes back.
struct Prepared {
  std::vector<std::string> rids;  // names of the call, or of each prompt: equal shares of requests
  std::vector<wire::GenerateRequest> requests;  // all samples of the first prompt, then the next
  std::size_t prompt_tokens = 0;                // of all requests together
  bool stream = false;
  std::int64_t received_ns = 0;  // when the call came, of base now_ns(); 0: just now
  // Values of the monitor's custom labels, by their order; empty: none.
  std::vector<std::string> custom_labels;
  std::unique_ptr<Reply> reply;
};

// One HTTP request that generates, from its arrival until the engine has told the last of it.
//
// Threads: any. Outputs and their writing are serialised by a lock of its own.
class Call {
 public:
  // `open` counts the calls that exist.
  Call(Channel channel, ErrorForm form, std::atomic<std::size_t>& open);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Answers with a refusal, unless there is an answer already.
  void refuse(const Refusal& refusal);

  // Holds back outputs while the requests are being sent, so that all of them are out, or none is,
  // before the answer begins.
  std::unique_lock<std::mutex> hold() { return std::unique_lock(mutex_); }
  // Requires the lock of hold().
  void begin(Prepared& prepared);
  void set_ids(wire::RequestId first, std::uint32_t count);

  // The peer is gone; from now on nothing is formatted.
  void set_gone() { gone_ = true; }
  bool gone() const { return gone_; }
  // The requests of the call are [first_id(), first_id() + id_count()); 0 and 0 before they are
  // sent.
  wire::RequestId first_id() const { return first_id_; }
  std::uint32_t id_count() const { return id_count_; }

  enum class Next : std::uint8_t {
    kGoOn,
    kAbortRest,    // nobody wants what may still come
    kAbortSample,  // … of this sample: its answer is over
  };
  // One output of the sample `index`. Its text is kept until flush().
  Next take(std::uint32_t index, const wire::TokenOutput& output);
  // Tokens of that sample's answer so far; -1 when nobody counts them any more.
  std::int32_t answer_tokens(std::uint32_t index);
  // Writes what take() left, in one write; ends the answer after the last output.
  Next flush();

 private:
  void fail(const Refusal& refusal);
  void end();

  std::mutex mutex_;
  Channel channel_;
  const ErrorForm form_;
  std::unique_ptr<Reply> reply_;
  std::string pending_;        // events that wait for flush()
  std::vector<bool> over_;     // by sample: its answer is
  std::uint32_t waiting_ = 0;  // samples whose answer is not over
  bool stream_ = false;
  bool started_ = false;   // headers are out
  bool answered_ = false;  // nothing more is written

  std::atomic<bool> gone_ = false;
  std::atomic<wire::RequestId> first_id_ = 0;
  std::atomic<std::uint32_t> id_count_ = 0;
  std::atomic<std::size_t>& open_;
};

}  // namespace fathom::api
