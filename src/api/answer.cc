#include "api/answer.h"

#include <string_view>

#include "api/core.h"

namespace fathom::api {

void WholeAnswer::add(const AnswerDelta& delta) {
  for (const AnswerEvent& event : delta.events) {
    switch (event.kind) {
      case AnswerEvent::Kind::kReasoning:
        reasoning += event.text;
        break;
      case AnswerEvent::Kind::kContent:
        content += event.text;
        break;
      case AnswerEvent::Kind::kCallBegin:
        calls.push_back({event.id, event.text, {}});
        break;
      case AnswerEvent::Kind::kCallArguments:
        calls[static_cast<std::size_t>(event.call)].arguments += event.text;
        break;
      case AnswerEvent::Kind::kCallEnd:
        break;
    }
  }
  logprobs.insert(logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
  prompt_logprobs.insert(prompt_logprobs.end(), delta.prompt_logprobs.begin(),
                         delta.prompt_logprobs.end());
}

std::string tool_call_id() {
  constexpr std::size_t kDigits = 24;
  return "call_" + random_id().substr(0, kDigits);
}

}  // namespace fathom::api
