#include "observe/http_metrics.h"

#include <algorithm>
#include <array>

namespace fathom::observe {

namespace {

constexpr std::string_view kOther = "other";

constexpr std::array<std::string_view, 7> kMethods = {"GET",   "POST",    "PUT", "DELETE",
                                                      "PATCH", "OPTIONS", "HEAD"};

std::string_view method_label(std::string_view method) {
  const auto* const found = std::find(kMethods.begin(), kMethods.end(), method);
  return found == kMethods.end() ? kOther : *found;
}

}  // namespace

HttpMetrics::Key HttpMetrics::key_of(std::string_view endpoint,
                                     std::string_view method,
                                     int status) {
  return {endpoint.empty() ? kOther : endpoint, method_label(method), status};
}

void HttpMetrics::count_request(std::string_view endpoint, std::string_view method) {
  const std::lock_guard lock(mutex_);
  ++requests_[key_of(endpoint, method, 0)];
}

void HttpMetrics::count_response(std::string_view endpoint, std::string_view method, int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[key_of(endpoint, method, status)];
}

void HttpMetrics::write(Exposition& out) const {
  // A copy: whoever counts does not wait for the text.
  std::map<Key, std::uint64_t> requests;
  std::map<Key, std::uint64_t> responses;
  {
    const std::lock_guard lock(mutex_);
    requests = requests_;
    responses = responses_;
  }
  out.begin("sglang:http_requests_total", MetricType::kCounter, "HTTP requests by endpoint.");
  for (const auto& [key, count] : requests) {
    const auto& [endpoint, method, status] = key;
    out.sample({{"endpoint", std::string(endpoint)}, {"method", std::string(method)}},
               static_cast<double>(count));
  }
  out.begin("sglang:http_responses_total", MetricType::kCounter,
            "HTTP answers by endpoint and status.");
  for (const auto& [key, count] : responses) {
    const auto& [endpoint, method, status] = key;
    out.sample({{"endpoint", std::string(endpoint)},
                {"status_code", std::to_string(status)},
                {"method", std::string(method)}},
               static_cast<double>(count));
  }
}

}  // namespace fathom::observe
