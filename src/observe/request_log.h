#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace fathom::observe {

// What of a request is logged.
struct RequestLogSettings {
  bool enabled = false;
  // 0: neither texts, token ids nor sampling parameters; 1: sampling parameters too; 2: everything,
  // texts and lists cut to about 2048; 3: everything.
  int level = 2;
  bool json = false;
};

// A request whose arrival was logged: its lines are written with the settings of that moment.
struct LoggedRequest {
  RequestLogSettings settings;
  std::string rid;
  std::string shown;  // as the lines show it; short where they are
};

// The lines of --log-requests: "Receive: obj=GenerateReqInput(rid='…', …)" when a request has been
// read, "Finish: obj=…, out={…}" when it has ended; as JSON objects on lines of their own with
// `timestamp`, `event` ("request.received", "request.finished"), `rid`, `obj` and `out`.
//
// Threads: any. Settings may change at any time.
class RequestLog {
 public:
  // `exceeded_ms`: requests that ended sooner get no Finish line; negative: all get one.
  explicit RequestLog(const RequestLogSettings& settings, std::int64_t exceeded_ms = -1);

  RequestLogSettings settings() const;
  void configure(const RequestLogSettings& settings);

  bool enabled() const { return settings().enabled; }
  // Whether lines show texts and token ids, which callers need not bring otherwise.
  bool shows_content() const { return enabled() && settings().level >= 2; }

  // Writes that a request came. `request` is an object with all that the levels may show.
  LoggedRequest received(std::string_view rid, const Json& request) const;
  // … and that it has ended, unless logging was off then or is now. `answer` is an object; with
  // several samples, an array of them.
  void finished(const LoggedRequest& request, const Json& answer, std::int64_t milliseconds) const;

  // The request as lines show it, and a line without the log's time; a null `answer` for arrival.
  static std::string show(const RequestLogSettings& settings, const Json& request);
  static std::string line(const LoggedRequest& request,
                          const Json* answer,
                          std::string_view timestamp);

 private:
  static void write(const LoggedRequest& request, const Json* answer);

  std::atomic<std::uint32_t> packed_;  // the settings, so that readers need no lock
  const std::int64_t exceeded_ms_;
};

}  // namespace fathom::observe
