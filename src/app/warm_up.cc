#include "app/warm_up.h"

#include <string_view>

#include "http/client.h"
#include "http/url.h"

namespace fathom::app {

namespace {

constexpr const char* kBody =
    R"({"input_ids":[10,11,12,13],"sampling_params":{"temperature":0,"max_new_tokens":8,)"
    R"("ignore_eos":true}})";

}  // namespace

std::string own_address(const std::string& address) {
  constexpr std::string_view kAnyV4 = "0.0.0.0:";
  constexpr std::string_view kAnyV6 = "[::]:";
  if (address.starts_with(kAnyV4)) return "127.0.0.1:" + address.substr(kAnyV4.size());
  if (address.starts_with(kAnyV6)) return "[::1]:" + address.substr(kAnyV6.size());
  return address;
}

Status warm_up(const WarmUpTarget& target,
               std::chrono::milliseconds timeout,
               const std::atomic<bool>& cancel) {
  const Result<http::Url> url =
      http::parse_url((target.secure ? "https://" : "http://") + target.address);
  FATHOM_RETURN_IF_ERROR(url.status());
  http::ClientOptions options;
  options.read_timeout = timeout;
  options.cancel = &cancel;
  options.trust = target.trust;
  http::Client client(*url, options);
  http::Request request;
  request.method = "POST";
  request.target = "/generate";
  request.headers.add("Content-Type", "application/json");
  if (!target.api_key.empty()) request.headers.add("Authorization", "Bearer " + target.api_key);
  request.body = kBody;
  const Result<http::Response> response = client.send(request);
  FATHOM_RETURN_IF_ERROR(response.status());
  if (response->status == 200) return {};
  return {Code::kInternal,
          "answered " + std::to_string(response->status) + ": " + response->body.substr(0, 400)};
}

}  // namespace fathom::app
