#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "api/chat_request.h"
#include "api/request_fields.h"
#include "base/json.h"
#include "text/answer_parser.h"
#include "wire/messages.h"

namespace fathom::api {

// The most tools of a request, those of its messages included.
inline constexpr std::size_t kMaxTools = 1024;

// Checks `tools` as far as the parser and the grammar rely on it: each has a function with a name,
// and parameters, when there are any, that are a schema, whose other names of types are replaced.
// kInvalidArgument: "tools[2].function.parameters: properties.city.type: was …".
Status check_tools(Json::Array& tools);

// All tools that the model hears of: those of the request, and those that system and developer
// messages bring, which are checked, too. kInvalidArgument when a name occurs in both places.
Result<Json::Array> all_tools(const ChatRequest& request);

// Whether the model may call what it likes, and only one of the tools; kInvalidArgument when the
// choice asks for a call of what is not there.
Status check_tool_choice(const ToolChoice& choice, const Json::Array& tools);

// The constraint that makes the answer a list of calls as ToolCallFormat::kJsonArray reads it: for
// models without a form of calls that a grammar knows. Requires a choice of kRequired or kNamed
// that check_tool_choice() likes.
Result<wire::Constraint> json_calls_constraint(const ToolChoice& choice,
                                               const Json::Array& tools,
                                               bool parallel);

// The constraint on the calls of a model that writes them in DSML: one of the tools is called where
// the choice asks for it, and strict tools as their schemas want. Requires a choice other than
// kNone that check_tool_choice() likes. kInvalidArgument: names that cannot stand in the mark-up.
Result<wire::Constraint> dsml_calls_constraint(const ToolChoice& choice,
                                               const Json::Array& tools,
                                               bool parallel);

// Whether a tool says that its arguments must satisfy its schema.
bool any_strict(const Json::Array& tools);

// The name of a tool that check_tools() likes.
const std::string& tool_name(const Json& tool);

}  // namespace fathom::api
