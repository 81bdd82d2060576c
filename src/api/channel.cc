#include "api/channel.h"

#include "api/refusal.h"

namespace fathom::api {

Channel::Channel(std::shared_ptr<http::Exchange> exchange,
                 const http::Request& request,
                 ResponseCounts counts)
    : exchange_(std::move(exchange)), counts_(counts) {
  if (counts_.metrics != nullptr) method_ = request.method;
  if (const std::string* origin = request.headers.find("Origin")) origin_ = *origin;
}

void Channel::allow_origin(http::Response& response) const {
  if (origin_.empty()) return;
  // Named, not "*": browsers refuse that beside credentials.
  response.headers.add("Access-Control-Allow-Origin", origin_);
  response.headers.add("Access-Control-Allow-Credentials", "true");
  response.headers.add("Vary", "Origin");
}

void Channel::count(int status) const {
  if (counts_.metrics != nullptr) {
    counts_.metrics->count_response(counts_.endpoint, method_, status);
  }
}

void Channel::respond(http::Response response) {
  count(response.status);
  allow_origin(response);
  exchange_->respond(std::move(response));
}

void Channel::start(http::Response response) {
  count(response.status);
  allow_origin(response);
  exchange_->start(std::move(response));
}

void Channel::start_events(std::string events, std::string_view type) {
  http::Response response;
  response.headers.add("Content-Type", std::string(type));
  response.headers.add("Cache-Control", "no-cache");
  response.body = std::move(events);
  start(std::move(response));
}

http::Response preflight_response(const http::Request& request) {
  http::Response response = text_response(200, "OK");
  response.headers.add("Access-Control-Allow-Methods",
                       "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
  response.headers.add("Access-Control-Max-Age", "600");
  if (const std::string* wanted = request.headers.find("Access-Control-Request-Headers")) {
    response.headers.add("Access-Control-Allow-Headers", *wanted);
  }
  return response;
}

}  // namespace fathom::api
