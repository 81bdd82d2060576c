// The first byte chooses an endpoint, the rest is the body of a request to it. Whatever the body,
// it is answered exactly once, and nothing is left behind.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "api/service_testing.h"
#include "base/check.h"

namespace {

using fathom::api::FakeExchange;
using fathom::api::ServiceRig;

// Their number divides 48, so that seeds begin with a digit or what follows the digits in ASCII.
constexpr std::array<std::string_view, 12> kPaths{"/generate",
                                                  "/v1/chat/completions",
                                                  "/v1/completions",
                                                  "/tokenize",
                                                  "/detokenize",
                                                  "/abort_request",
                                                  "/parse_function_call",
                                                  "/separate_reasoning",
                                                  "/v1/messages",
                                                  "/v1/messages/count_tokens",
                                                  "/api/chat",
                                                  "/api/generate"};

// A service whose model thinks and calls tools.
fathom::api::ServiceOptions options() {
  fathom::api::ServiceOptions options = ServiceRig::default_options();
  options.reasoning = fathom::text::ReasoningFormat::kDeepSeekV3;
  options.tool_calls = fathom::text::ToolCallFormat::kDeepSeekV32;
  options.context_tokens = 20000;
  options.max_prompt_tokens = 19990;
  return options;
}

// Everything the engine was asked for is answered in two outputs, the texts cut inside a character
// and behind the beginning of a call. An answer may end before the second.
void answer(ServiceRig& rig) {
  for (const auto& request : rig.engine.take_requests()) {
    FATHOM_CHECK(!request.prompt.empty() && request.prompt.size() < 20000);
    constexpr std::string_view kFirst = "a</think>\n\n<｜DSML｜function_calls><｜DSML｜inv\xC3";
    auto first = ServiceRig::piece(request, kFirst);
    auto second = ServiceRig::last(ServiceRig::piece(request, "\xA9\"", kFirst.size()),
                                   fathom::wire::Finish::kStop);
    if (request.logprobs.wanted) {
      first.logprobs = {{'a', -1, {}, {}}, {0xC3, -2, {{'b', -3}}, {{'c', -4}}}};
      first.prompt_logprobs = {{1, -1, {}, {}}};
    }
    if (request.stream) rig.publish(first);
    rig.publish(second);
  }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static ServiceRig rig(options());
  const std::string_view path = kPaths.at(data[0] % kPaths.size());
  const std::string body(reinterpret_cast<const char*>(data + 1), size - 1);  // NOLINT

  const std::shared_ptr<FakeExchange> exchange = rig.post(path, body);
  while (!exchange->complete()) {
    answer(rig);
    std::this_thread::yield();
  }
  answer(rig);
  rig.wait_idle();
  FATHOM_CHECK(exchange->response().status == 200 || exchange->response().status == 400 ||
               exchange->response().status == 501);
  return 0;
}
