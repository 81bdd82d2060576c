#pragma once

#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace fathom::text {

// Parts of a small tokenizer.json; each is JSON text unless said otherwise.
struct TestTokenizer {
  std::string normalizer = "null";
  std::string pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";
  std::string post_processor = "null";
  std::string decoder = R"({"type":"ByteLevel"})";
  // Spelled pairs, in order of rank. Their results get the ids from 256 on.
  std::vector<std::pair<std::string, std::string>> merges = {};
  bool paired_merges = false;  // written as ["a","b"], not as "a b"
  // More members of "model", each ending in a comma.
  std::string model_settings = {};
  // Entries of "vocab" after the 256 bytes (id = value of the byte) and the merges' results, each
  // beginning with a comma.
  std::string more_vocab = {};
  std::string added_tokens = "[]";
};

std::string json_of(const TestTokenizer& parts);
std::string json_string(std::string_view text);

// Stops the test program when the parts are refused.
std::unique_ptr<Tokenizer> make_tokenizer(const TestTokenizer& parts);

// The pre_tokenizer of DeepSeek-V3.
std::string deepseek_pre_tokenizer();

// All bytes of `ids` in order.
std::string bytes_of(const Tokenizer& tokenizer, std::span<const TokenId> ids);

// Up to `most` characters of many scripts and kinds, assigned in Unicode 14 or not at all.
std::string random_text(std::mt19937& random, int most);

// Whether Unicode 15 gave the code point another class than Unicode 14 did.
bool is_new_in_unicode_15(char32_t code_point);

}  // namespace fathom::text
