#include "api/core.h"

namespace fathom::api {

std::optional<Refusal> prepare_chat(Core& /*core*/, const Json& /*body*/, Prepared& /*out*/) {
  return Refusal::of(501, "not built yet: chat completions");
}

}  // namespace fathom::api
