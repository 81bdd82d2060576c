#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Python's text functions on valid UTF-8: places and lengths are in characters.
namespace fathom::text::jinja {

// str.isspace() of one character.
bool is_space(char32_t character);

std::size_t character_count(std::string_view text);
// The byte at which character `index` begins; text.size() past the end.
std::size_t byte_of(std::string_view text, std::size_t index);

// Without the characters of `set` (white space when there is none) at the front or the back.
std::string_view strip(std::string_view text,
                       bool front,
                       bool back,
                       std::optional<std::string_view> set = std::nullopt);

// Case mapping is one character to one, but for ß, whose capital is SS.
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);  // str.capitalize()
std::string title(std::string_view text);       // str.title()

enum class TextClass : std::uint8_t { kAlnum, kAlpha, kDigit, kLower, kSpace, kUpper };
bool is_class(std::string_view text, TextClass wanted);  // str.isalnum() …

// str.split(): at white space without a separator. A negative `most` is no limit on the cuts.
// Requires separator != "".
std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator,
                                    std::int64_t most);
std::vector<std::string_view> split_from_right(std::string_view text,
                                               std::optional<std::string_view> separator,
                                               std::int64_t most);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);

// How often str.replace() would replace, and its result.
std::size_t count_of(std::string_view text, std::string_view part);
std::string replace(std::string_view text,
                    std::string_view old,
                    std::string_view by,
                    std::int64_t most);

// repr() of a text.
void append_quoted(std::string& out, std::string_view text);
// repr() of a number that is no integer.
void append_float(std::string& out, double value);

// int(text, base) and float(text): nothing when Python would raise ValueError; whole numbers past
// 64 bits count as such.
std::optional<std::int64_t> parse_int(std::string_view text, std::int64_t base = 10);
std::optional<double> parse_float(std::string_view text);

}  // namespace fathom::text::jinja
