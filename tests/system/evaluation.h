#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace fathom::system_test {

// One case of an eval.jsonl (models/fathom-tiny/README.md): a chat and what its reply must be.
struct EvaluationCase {
  std::size_t number = 0;  // line of the file, from 0
  std::string task;
  Json messages;
  Json tools;  // null: none
  bool thinking = false;
  std::string kind;  // exact, contains, prefix, json, tool_calls
  Json expected;
};

// A file that cannot be read, or a line that is no case, ends the test program.
std::vector<EvaluationCase> read_evaluation(const std::filesystem::path& path);

// The body of a greedy chat completion that asks the case's question.
std::string chat_request(const EvaluationCase& evaluation);

// Asks all cases of the server at `port` of this machine, several at a time; each reply's content,
// or why there is none.
std::vector<std::string> ask_all(std::uint16_t port, const std::vector<EvaluationCase>& cases);

struct Verdict {
  std::size_t right = 0;
  std::string misses;  // a paragraph for each task, for people
};
Verdict judge(const std::vector<EvaluationCase>& cases, const std::vector<std::string>& replies);

// Whether a reply is right. `content` is what the server gives without any parser of reasoning or
// tool calls: what stands before "</think>" is not judged, and tool calls are read from their raw
// form.
bool is_right(const EvaluationCase& evaluation, std::string_view content);

}  // namespace fathom::system_test
