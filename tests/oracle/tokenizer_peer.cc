#include "oracle/tokenizer_peer.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <simdjson.h>

#include "base/check.h"
#include "system/process.h"
#include "text/test_tokenizer.h"

namespace fathom::text {
namespace {

using simdjson::dom::element;

std::vector<TokenId> ids_of(const element& list) {
  std::vector<TokenId> ids;
  for (const element id : list.get_array()) ids.push_back(static_cast<TokenId>(std::int64_t(id)));
  return ids;
}

std::vector<std::string> strings_of(const element& list) {
  std::vector<std::string> strings;
  for (const element text : list.get_array()) strings.emplace_back(std::string_view(text));
  return strings;
}

void write(const PeerQuestion& question, std::ofstream& out) {
  const bool is_json = question.tokenizer.starts_with('{');
  out << (is_json ? R"({"tokenizer":)" : R"({"file":)") << json_string(question.tokenizer)
      << R"(,"special":)" << (question.special ? "true" : "false") << R"(,"texts":[)";
  for (std::size_t i = 0; i < question.texts.size(); ++i) {
    out << (i > 0 ? "," : "") << json_string(question.texts[i]);
  }
  out << R"(],"ids":[)";
  for (std::size_t i = 0; i < question.ids.size(); ++i) {
    out << (i > 0 ? ",[" : "[");
    for (std::size_t k = 0; k < question.ids[i].size(); ++k) {
      out << (k > 0 ? "," : "") << question.ids[i][k];
    }
    out << "]";
  }
  out << "]}\n";
}

PeerAnswer read(const element& line) {
  PeerAnswer answer;
  std::string_view refused;
  if (line["refused"].get(refused) == simdjson::SUCCESS) {
    answer.refused = refused;
    return answer;
  }
  for (const element list : line["encoded"].get_array()) answer.encoded.push_back(ids_of(list));
  answer.decoded = strings_of(line["decoded"]);
  answer.skipped = strings_of(line["skipped"]);
  return answer;
}

}  // namespace

std::vector<PeerAnswer> ask_peer(const std::vector<PeerQuestion>& questions) {
  FATHOM_CHECK_MSG(std::filesystem::exists(FATHOM_PYTHON),
                   "no " FATHOM_PYTHON ": tools/run/python.sh makes it");
  const std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                       ("fathom_tokenizer_peer_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::string asked = folder / "questions.jsonl";
  const std::string answered = folder / "answers.jsonl";
  {
    std::ofstream out(asked, std::ios::binary);
    for (const PeerQuestion& question : questions) write(question, out);
  }
  const system_test::ProcessResult result = system_test::run_process(
      FATHOM_PYTHON, {FATHOM_CLIENTS "/tokenizer_peer.py", asked, answered}, /*timeout_s=*/500);
  FATHOM_CHECK_MSG(result.exit_code == 0, result.err);
  std::vector<PeerAnswer> answers;
  std::ifstream in(answered, std::ios::binary);
  simdjson::dom::parser parser;
  for (std::string line; std::getline(in, line);) answers.push_back(read(parser.parse(line)));
  std::filesystem::remove_all(folder);
  FATHOM_CHECK(answers.size() == questions.size());
  return answers;
}

}  // namespace fathom::text
