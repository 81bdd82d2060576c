#include "text/test_tokenizer.h"

#include <array>
#include <cstdio>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/pattern_scanner.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Code points that Unicode 15.0 assigned.
constexpr Range kNewRanges[] = {
    {0x0CF3, 0x0CF3},   {0x0ECE, 0x0ECE},   {0x10EFD, 0x10EFF}, {0x1123F, 0x11241},
    {0x11B00, 0x11B09}, {0x11F00, 0x11F10}, {0x11F12, 0x11F3A}, {0x11F3E, 0x11F59},
    {0x1342F, 0x1342F}, {0x13439, 0x13455}, {0x1B132, 0x1B132}, {0x1B155, 0x1B155},
    {0x1D2C0, 0x1D2D3}, {0x1DF25, 0x1DF2A}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F},
    {0x1E4D0, 0x1E4F9}, {0x1F6DC, 0x1F6DC}, {0x1F774, 0x1F776}, {0x1F77B, 0x1F77F},
    {0x1F7D9, 0x1F7D9}, {0x1FA75, 0x1FA77}, {0x1FA87, 0x1FA88}, {0x1FAAD, 0x1FAAF},
    {0x1FABB, 0x1FABD}, {0x1FABF, 0x1FABF}, {0x1FACE, 0x1FACF}, {0x1FADA, 0x1FADB},
    {0x1FAE8, 0x1FAE8}, {0x1FAF7, 0x1FAF8}, {0x2B739, 0x2B739}, {0x31350, 0x323AF}};

// Where random text comes from: each range is as likely as any other.
constexpr Range kTextRanges[] = {
    {'a', 'z'},         {'A', 'Z'},         {'0', '9'},         {' ', ' '},
    {' ', ' '},         {'\n', '\n'},       {'\r', '\r'},       {'\t', '\r'},
    {0x21, 0x2F},       {0x3A, 0x40},       {0x00, 0x1F},       {0x7F, 0xA0},
    {0xA0, 0x17F},      {0x300, 0x36F},     {0x370, 0x52F},     {0x590, 0x6FF},
    {0x900, 0x97F},     {0xE00, 0xE7F},     {0x1100, 0x11FF},   {0x2000, 0x206F},
    {0x2070, 0x218F},   {0x2460, 0x24FF},   {0x3000, 0x303F},   {0x3040, 0x309F},
    {0x30A0, 0x30FF},   {0x4E00, 0x9FFF},   {0x9FA0, 0x9FAF},   {0xAC00, 0xD7A3},
    {0xF900, 0xFAFF},   {0xFE00, 0xFE0F},   {0xFF00, 0xFFEF},   {0x1D400, 0x1D7FF},
    {0x1F300, 0x1F64F}, {0x200D, 0x200D},   {0x1F3FB, 0x1F3FF}, {0x20000, 0x2A6DF},
    {0xE0100, 0xE01EF}, {0x10000, 0x10FFF}, {0x0, 0x10FFFF}};

}  // namespace

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> escape{};
      static_cast<void>(std::snprintf(escape.data(), escape.size(), "\\u%04x", c));
      json += escape.data();
    } else {
      if (c == '"' || c == '\\') json += '\\';
      json += c;
    }
  }
  return json + '"';
}

std::string json_of(const TestTokenizer& parts) {
  std::string vocab;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte > 0) vocab += ',';
    vocab += json_string(spell_byte(static_cast<unsigned char>(byte))) + ":" + std::to_string(byte);
  }
  std::string merges;
  int id = 256;
  for (const auto& [left, right] : parts.merges) {
    if (!merges.empty()) merges += ',';
    if (parts.paired_merges) {
      merges += '[' + json_string(left) + ',' + json_string(right) + ']';
    } else {
      std::string spaced = left;
      spaced += ' ';
      spaced += right;
      merges += json_string(spaced);
    }
    std::string entry = json_string(left + right);
    entry += ':';
    if (vocab.find(entry) != std::string::npos) continue;
    vocab += ',';
    vocab += entry;
    vocab += std::to_string(id++);
  }
  return R"({"version":"1.0","truncation":null,"padding":null,"normalizer":)" + parts.normalizer +
         R"(,"pre_tokenizer":)" + parts.pre_tokenizer + R"(,"post_processor":)" +
         parts.post_processor + R"(,"decoder":)" + parts.decoder + R"(,"model":{)" +
         parts.model_settings + R"("vocab":{)" + vocab + parts.more_vocab + R"(},"merges":[)" +
         merges + R"(]},"added_tokens":)" + parts.added_tokens + "}";
}

std::unique_ptr<Tokenizer> make_tokenizer(const TestTokenizer& parts) {
  const std::string json = json_of(parts);
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::from_json({.tokenizer = json});
  FATHOM_CHECK_MSG(tokenizer.ok(), tokenizer.status().message());
  return std::move(*tokenizer);
}

std::string deepseek_pre_tokenizer() {
  std::string steps;
  for (const std::string_view pattern : {kDeepSeekNumbers, kDeepSeekHanKana, kDeepSeekWords}) {
    steps += R"({"type":"Split","pattern":{"Regex":)" + json_string(pattern) +
             R"(},"behavior":"Isolated","invert":false},)";
  }
  return R"({"type":"Sequence","pretokenizers":[)" + steps +
         R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,)"
         R"("use_regex":false}]})";
}

std::string bytes_of(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string bytes;
  for (const TokenId id : ids) bytes += tokenizer.token_bytes(id);
  return bytes;
}

bool is_new_in_unicode_15(char32_t code_point) {
  for (const Range& range : kNewRanges) {
    if (code_point >= range.first && code_point <= range.last) return true;
  }
  return false;
}

std::string random_text(std::mt19937& random, int most) {
  std::string text;
  const int wanted = std::uniform_int_distribution<int>(0, most)(random);
  for (int written = 0; written < wanted;) {
    const std::size_t kind =
        std::uniform_int_distribution<std::size_t>(0, std::size(kTextRanges) - 1)(random);
    const Range range = kTextRanges[kind];
    int run = std::uniform_int_distribution<int>(1, 4)(random);
    for (; run > 0 && written < wanted; --run, ++written) {
      char32_t c = 0;
      do {
        c = std::uniform_int_distribution<char32_t>(range.first, range.last)(random);
      } while ((c >= 0xD800 && c <= 0xDFFF) || is_new_in_unicode_15(c));
      append_utf8(c, text);
    }
  }
  return text;
}

}  // namespace fathom::text
