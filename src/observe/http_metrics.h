#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>

#include "observe/exposition.h"

namespace fathom::observe {

// Counts HTTP requests and the statuses of their answers.
//
// Labels are bounded: an endpoint is a path of the route table or "other", a method is one of seven
// or "other", a status is one of ours.
//
// Threads: any. One short lock for each request and each answer.
class HttpMetrics {
 public:
  // `endpoint` is a text of the route table, or empty for a path that is none.
  void count_request(std::string_view endpoint, std::string_view method);
  // The head of an answer: a stream that breaks off later has the status it began with.
  void count_response(std::string_view endpoint, std::string_view method, int status);

  // sglang:http_requests_total and sglang:http_responses_total.
  void write(Exposition& out) const;

 private:
  using Key = std::tuple<std::string_view, std::string_view, int>;  // of static texts
  static Key key_of(std::string_view endpoint, std::string_view method, int status);

  mutable std::mutex mutex_;
  std::map<Key, std::uint64_t> requests_;
  std::map<Key, std::uint64_t> responses_;
};

}  // namespace fathom::observe
