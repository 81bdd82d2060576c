#pragma once

#include <string>
#include <string_view>

namespace fathom::text {

// The byte-level alphabet: one printable character per byte, which is how the vocabulary of a
// byte-level tokenizer.json spells tokens (space is U+0120).

// Appends the bytes that `spelled` stands for to `bytes`. False, with `bytes` as it was, when a
// character is not of the alphabet. Requires valid UTF-8.
bool append_spelled_bytes(std::string_view spelled, std::string& bytes);

// The character of one byte, as UTF-8.
std::string spell_byte(unsigned char byte);

}  // namespace fathom::text
