#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace fathom::observe {

// What of a request is logged.
struct RequestLogSettings {
  bool enabled = false;
  // 0: neither texts, token ids nor sampling parameters; 1: sampling parameters too; 2: everything,
  // texts and lists cut to about 2048; 3: everything.
  int level = 2;
  bool json = false;
};

// The lines of --log-requests: "Receive: obj=GenerateReqInput(rid='…', …)" when a request has been
// read, "Finish: obj=…, out={…}" when it has ended; as JSON objects on lines of their own with
// `timestamp`, `event` ("request.received", "request.finished"), `rid`, `obj` and `out`.
//
// Threads: any. Settings may change at any time; a line is written with one state of them.
class RequestLog {
 public:
  // `exceeded_ms`: requests that ended sooner get no Finish line; negative: all get one.
  explicit RequestLog(const RequestLogSettings& settings, std::int64_t exceeded_ms = -1);

  RequestLogSettings settings() const;
  void configure(const RequestLogSettings& settings);

  bool enabled() const { return settings().enabled; }
  // Whether lines show texts and token ids, which callers need not bring otherwise.
  bool shows_content() const { return enabled() && settings().level >= 2; }

  // `request` and `answer` are objects with all that the levels may show.
  void received(std::string_view rid, const Json& request) const;
  // With several samples `answer` is an array of such objects.
  void finished(std::string_view rid,
                const Json& request,
                const Json& answer,
                std::int64_t milliseconds) const;

  // The line that is written, without time and rank.
  static std::string line(const RequestLogSettings& settings,
                          std::string_view rid,
                          const Json& request,
                          const Json* answer,
                          std::string_view timestamp);

 private:
  void write(std::string_view rid, const Json& request, const Json* answer) const;

  std::atomic<std::uint32_t> packed_;  // the settings, so that readers need no lock
  const std::int64_t exceeded_ms_;
};

}  // namespace fathom::observe
