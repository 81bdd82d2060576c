#pragma once

#include <string>
#include <string_view>

namespace fathom::text {

// The markers of DeepSeek-V3.2's chat form. The bars are U+FF5C, the low lines U+2581.
constexpr std::string_view kBeginOfSentence = "<｜begin▁of▁sentence｜>";
constexpr std::string_view kEndOfSentence = "<｜end▁of▁sentence｜>";
constexpr std::string_view kUser = "<｜User｜>";
constexpr std::string_view kAssistant = "<｜Assistant｜>";
constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";

constexpr std::string_view kUsersMessage = "\n\n# The user's message is: ";
constexpr std::string_view kResponseFormatIntroduction =
    "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n";

// Appends the text that tells the model how to call tools, with one line for each in `schemas`.
// `official`: with the blank lines of DeepSeek's own.
void append_tools_block(std::string& out, std::string_view schemas, bool official);

}  // namespace fathom::text
