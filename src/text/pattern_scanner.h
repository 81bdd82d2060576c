#pragma once

#include <string_view>
#include <vector>

namespace fathom::text {

// The regexes that have a scanner of their own, as tokenizer.json spells them.
inline constexpr std::string_view kDeepSeekNumbers = "\\p{N}{1,3}";
inline constexpr std::string_view kDeepSeekHanKana = "[一-龥぀-ゟ゠-ヿ]+";
inline constexpr std::string_view kDeepSeekWords =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]"
    "+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kGpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
// GPT-4's family as Llama 3 (numbers of up to three digits) and Qwen (single digits) write it.
inline constexpr std::string_view kLlama3Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
    "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kQwenPattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
    "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

// Each appends the pieces of `text` to `pieces`, in order; together they are `text` and none is
// empty. The cut is the one that Split steps with behaviour Isolated make: DeepSeek's three regexes
// above one after the other, GPT-2's one, Llama 3's or (digits == 1) Qwen's. Linear in text.size().
//
// Pieces point into `text`. Requires valid UTF-8.
void scan_deepseek(std::string_view text, std::vector<std::string_view>& pieces);
void scan_gpt2(std::string_view text, std::vector<std::string_view>& pieces);
void scan_llama3(std::string_view text, int digits, std::vector<std::string_view>& pieces);

}  // namespace fathom::text
