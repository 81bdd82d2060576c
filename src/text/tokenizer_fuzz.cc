// Feeds the loader with bytes and the tokenizers with text. An input is tokenizer.json, a byte 0xFF
// (which no JSON holds) and a text; without that byte all of it is both. With more parts after it,
// each behind such a byte, these are the pre_tokenizer, the added_tokens and the post_processor of
// a file whose rest is sound: so the fuzzer need not find a vocabulary to reach them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/stream_decoder.h"
#include "text/test_tokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace fathom::text;  // NOLINT(google-build-using-namespace)

// Decoding gives valid UTF-8, whole or token by token.
void check_decoding(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  const std::string decoded = tokenizer.decode(ids);
  FATHOM_CHECK(valid_utf8_prefix(decoded) == decoded.size());
  StreamDecoder decoder(tokenizer);
  std::string streamed;
  for (const TokenId id : ids) decoder.push(id, streamed);
  decoder.flush(streamed);
  FATHOM_CHECK(streamed == decoded);
}

void check_loaded(std::string_view json, std::string_view text) {
  const auto alone = Tokenizer::from_json({.tokenizer = json});
  if (!alone.ok()) return;
  static_cast<void>(
      Tokenizer::from_json({json, /*tokenizer_config=*/text, /*generation_config=*/text}).ok());
  for (const bool match : {false, true}) {
    check_decoding(**alone, (*alone)->encode(text, {match, /*add_special_tokens=*/true}));
  }
}

void check_parts(std::string_view input, std::string_view text) {
  TestTokenizer parts{.merges = {{"a", "a"}, {"Ġ", "a"}, {"1", "2"}, {"ä", "¸"}}};
  for (std::string* part : {&parts.pre_tokenizer, &parts.added_tokens, &parts.post_processor}) {
    const std::size_t end = input.find('\xFF');
    if (!input.empty()) *part = input.substr(0, end);
    if (end == std::string_view::npos) break;
    input.remove_prefix(end + 1);
  }
  check_loaded(json_of(parts), text);
}

// Tokenizers that keep every byte.
std::vector<std::unique_ptr<Tokenizer>> keepers() {
  TestTokenizer parts{.merges = {{"a", "a"}, {"aa", "aa"}, {"Ġ", "a"}, {"1", "2"}, {"ä", "¸"}},
                      .added_tokens = R"([{"id":300,"content":"<a>","special":true},)"
                                      R"({"id":301,"content":"<a><","normalized":true}])"};
  std::vector<std::unique_ptr<Tokenizer>> result;
  for (const std::string& pre_tokenizer :
       {deepseek_pre_tokenizer(), std::string(R"({"type":"ByteLevel"})"),
        std::string(R"({"type":"Sequence","pretokenizers":[{"type":"Punctuation"},)"
                    R"({"type":"Digits"},{"type":"ByteLevel","use_regex":false}]})")}) {
    parts.pre_tokenizer = pre_tokenizer;
    result.push_back(make_tokenizer(parts));
  }
  return result;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::unique_ptr<Tokenizer>> byte_keepers = keepers();
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.find('\xFF');
  const std::string_view text = cut == std::string_view::npos ? input : input.substr(cut + 1);
  check_loaded(input.substr(0, cut), text);
  const std::size_t parts = text.find('\xFF');
  if (cut != std::string_view::npos && parts != std::string_view::npos) {
    check_parts(text.substr(parts + 1), text.substr(0, parts));
  }
  for (const auto& tokenizer : byte_keepers) {
    const std::vector<TokenId> ids = tokenizer->encode(text);
    FATHOM_CHECK(bytes_of(*tokenizer, ids) == text);
    check_decoding(*tokenizer, ids);
  }
  return 0;
}
