// Outputs under random JSON Schemas, judged by an independent validator (Python's jsonschema).

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "base/json.h"
#include "grammar/grammar_testing.h"
#include "text/tokenizer.h"

namespace fathom::grammar {
namespace {

const std::string kScript = std::string(FATHOM_CLIENTS) + "/grammar_schemas.py";

// What a command prints; its exit status is left in `status`.
std::string output_of(const std::string& command, int& status) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) {
    status = -1;
    return out;
  }
  std::array<char, 4096> buffer{};
  while (const std::size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) {
    out.append(buffer.data(), size);
  }
  status = pclose(pipe);
  return out;
}

CompilerOptions vocabulary_of(const std::string& path, std::int32_t vocab_size) {
  const auto tokenizer = std::move(text::Tokenizer::load(path)).value();
  CompilerOptions options;
  for (text::TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
    options.token_bytes.emplace_back(tokenizer->is_added(id) ? "" : tokenizer->token_bytes(id));
  }
  options.vocab_size = std::max(vocab_size, tokenizer->vocab_size());
  // The end token of both tokenizers.
  options.stop_tokens = {*tokenizer->find_token("<｜end▁of▁sentence｜>")};
  return options;
}

// Walks under each schema; all must be valid.
void judge(const CompilerOptions& options, int seed, int count, int walks) {
  int status = 0;
  const std::string python = std::string(FATHOM_PYTHON) + " " + kScript;
  std::istringstream schemas(
      output_of(python + " make " + std::to_string(seed) + " " + std::to_string(count), status));
  ASSERT_EQ(status, 0);
  const auto compiler = std::move(Compiler::create(options)).value();
  const std::string path = testing::TempDir() + "grammar-" + std::to_string(getpid()) + "-" +
                           std::to_string(seed) + ".jsonl";
  std::ofstream file(path);
  std::mt19937 random(static_cast<unsigned>(seed));
  int taken = 0;
  int written = 0;
  for (std::string schema; std::getline(schemas, schema);) {
    const auto grammar = compile_now(*compiler, {Kind::kJsonSchema, schema});
    if (!grammar.ok()) {
      std::printf("refused: %s\n  %s\n", grammar.status().message().c_str(), schema.c_str());
      continue;
    }
    ++taken;
    for (int walk = 0; walk < walks; ++walk) {
      const auto matcher = (*grammar)->new_matcher();
      const auto text = random_walk(*matcher, options, random, 60);
      if (!text) continue;
      ++written;
      std::string line = R"({"schema":)" + schema + R"(,"output":)";
      append_json_string(line, *text);
      file << line << "}\n";
    }
  }
  file.close();
  // The generator makes few schemas that nothing satisfies.
  EXPECT_GE(taken, count * 9 / 10);
  EXPECT_GE(written, taken * walks * 9 / 10);
  const std::string wrong = output_of(python + " check " + path, status);
  EXPECT_EQ(status, 0) << wrong;
  std::remove(path.c_str());
}

// The judge can find fault.
TEST(JsonSchemas, AWrongOutputIsNoticed) {
  const std::string path = testing::TempDir() + "grammar-" + std::to_string(getpid()) + ".jsonl";
  std::ofstream(path) << R"({"schema":{"type":"string","format":"date"},"output":"\"2025-02-30\""})"
                      << "\n";
  int status = 0;
  const std::string told =
      output_of(std::string(FATHOM_PYTHON) + " " + kScript + " check " + path, status);
  EXPECT_NE(status, 0);
  EXPECT_NE(told.find("2025-02-30"), std::string::npos);
  std::remove(path.c_str());
}

// NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables here
bool all() { return std::getenv("FATHOM_TEST_ALL") != nullptr; }

TEST(JsonSchemas, OutputsAreValidWithTheBundledTokenizer) {
  judge(vocabulary_of(std::string(FATHOM_SOURCE_DIR) + "/models/fathom-tiny", 0), 1,
        all() ? 500 : 50, 3);
}

TEST(JsonSchemas, OutputsAreValidWithDeepSeeksTokenizer) {
  judge(vocabulary_of(std::string(FATHOM_TEST_DATA) + "/text/tokenizer/deepseek_v32_tokenizer.json",
                      129280),
        2, all() ? 100 : 5, 1);
}

}  // namespace
}  // namespace fathom::grammar
