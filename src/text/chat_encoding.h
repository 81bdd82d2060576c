#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace fathom::text {

// The two texts in which the tools of a prompt are introduced.
enum class ToolsBlock : std::uint8_t {
  kOfficial,  // DeepSeek's own, with blank lines
  kCompact,   // without them, as other servers have it
};

struct ChatEncodingOptions {
  bool thinking = false;  // the answer begins with the model's thoughts
  bool begin = true;      // the beginning-of-sequence marker comes first
  // Messages before this one are not rendered; they count for the places of the others. With any,
  // there is no marker.
  std::size_t first_message = 0;
  // Tools of the whole request, which belong to the system's message that comes first, with or
  // without text, and replace that message's own. Null or empty: none. Outlives the call.
  const Json::Array* tools = nullptr;
  ToolsBlock tools_block = ToolsBlock::kOfficial;
};

// The prompt that DeepSeek-V3.2 was trained to see for a conversation: OpenAI's messages (role,
// content, tool_calls), assistants' with `reasoning_content`, system and developer ones with
// `tools` and `response_format`. Source: DeepSeek's encoder that comes with the model.
//
// - Content is a text, null, or an array of text parts, which are joined by a blank.
// - Reasoning is rendered in thinking mode behind the last message of a user or developer alone;
// what was
//   thought before is history without thoughts.
// - Tool results are told apart by their order, not by their ids.
//
// The text holds the model's markers as text; encode it with added tokens matched and no special
// tokens added. What users wrote is not escaped: a marker in it is a marker.
//
// kInvalidArgument names the message: "messages[3].role: …".
Result<std::string> encode_chat(std::span<const Json> messages,
                                const ChatEncodingOptions& options = {});

// The text of one message, as encode_chat() reads its content. kInvalidArgument: "content: …".
Result<std::string> message_text(const Json& message);

}  // namespace fathom::text
