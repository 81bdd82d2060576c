#include "text/stop_regex.h"

#include <array>
#include <string>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

constexpr std::uint32_t kMatchLimit = 200'000;
constexpr std::uint32_t kHeapLimitKib = 8192;
constexpr std::uint32_t kNestLimit = 100;
constexpr std::size_t kMaxLookbehind = 1024;  // characters
constexpr std::size_t kMaxCharacterBytes = 4;

template <auto Function>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Function(object);
  }
};

PCRE2_SPTR bytes_of(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data() != nullptr ? text.data() : "");
}

// Where the character that the byte `at` belongs to begins.
std::size_t character_begin(std::string_view text, std::size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

// What is PCRE2's own and would make a match depend on where the search began: \G, \K and verbs
// such as (*SKIP). Takes a class that looks like a verb for one.
bool has_foreign_syntax(std::string_view pattern) {
  for (std::size_t at = 0; at + 1 < pattern.size(); ++at) {
    if (pattern[at] == '\\') {
      ++at;
      if (pattern[at] == 'G' || pattern[at] == 'K') return true;
    } else if (pattern[at] == '(' && pattern[at + 1] == '*') {
      return true;
    }
  }
  return false;
}

std::size_t count_lookbehinds(std::string_view pattern) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = pattern.find("(?<", at)) != std::string_view::npos; ++at) ++count;
  return count;
}

}  // namespace

void StopRegex::Free::operator()(void* code) const {
  pcre2_code_free(static_cast<pcre2_code*>(code));
}

StopRegex::StopRegex(void* code, std::size_t lookbehinds) : code_(code) {
  std::uint32_t characters = 1;  // for ^
  pcre2_pattern_info(static_cast<const pcre2_code*>(code), PCRE2_INFO_MAXLOOKBEHIND, &characters);
  // PCRE2 tells the longest; those within each other can look back further.
  lookbehind_bytes_ = kMaxCharacterBytes * ((lookbehinds + 1) * characters + 1);
}

Result<StopRegex> StopRegex::create(std::string_view pattern) {
  if (pattern.empty() || pattern.size() > kMaxPatternBytes) {
    return invalid_argument("a pattern has 1 to " + std::to_string(kMaxPatternBytes) +
                            " bytes, this one has " + std::to_string(pattern.size()));
  }
  if (has_foreign_syntax(pattern)) {
    return invalid_argument("\\G, \\K and verbs, (*…), are not supported");
  }
  const std::unique_ptr<pcre2_compile_context, Freer<&pcre2_compile_context_free>> context(
      pcre2_compile_context_create(nullptr));
  FATHOM_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), kNestLimit);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* const code = pcre2_compile(bytes_of(pattern), pattern.size(),
                                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error,
                                         &offset, context.get());
  if (code == nullptr) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    return invalid_argument("at byte " + std::to_string(offset) + ": " +
                            reinterpret_cast<const char*>(message.data()));
  }
  StopRegex regex(code, count_lookbehinds(pattern));
  if (regex.lookbehind_bytes_ > kMaxCharacterBytes * (kMaxLookbehind + 1)) {
    return invalid_argument("a lookbehind of more than " + std::to_string(kMaxLookbehind) +
                            " characters");
  }
  return regex;
}

// PCRE2's outcome, and where it was.
int StopRegex::match(std::string_view text,
                     std::size_t from,
                     std::uint32_t options,
                     Found& found) const {
  const auto* const code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_context, Freer<&pcre2_match_context_free>> context(
      pcre2_match_context_create(nullptr));
  const std::unique_ptr<pcre2_match_data, Freer<&pcre2_match_data_free>> data(
      pcre2_match_data_create(1, nullptr));
  FATHOM_CHECK(context != nullptr && data != nullptr);
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_heap_limit(context.get(), kHeapLimitKib);
  const int outcome =
      pcre2_match(code, bytes_of(text), text.size(), from,
                  options | PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data.get(), context.get());
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(data.get());
  found = {bounds[0], bounds[1]};
  return outcome;
}

// A match that may begin at a place sees no more than kMaxMatchBytes from there, however much text
// there is, so that what is found does not depend on how much that was.
std::optional<StopRegex::Found> StopRegex::find(std::string_view text,
                                                bool at_end,
                                                std::size_t& from) const {
  while (from < text.size()) {
    const bool full = text.size() - from >= kMaxMatchBytes;
    const std::size_t end = full ? character_begin(text, from + kMaxMatchBytes) : text.size();
    const std::string_view window = text.substr(0, end);
    const bool is_last = at_end && end == text.size();
    Found found;
    int outcome = match(window, from, is_last ? 0 : PCRE2_PARTIAL_HARD, found);
    if (outcome == PCRE2_ERROR_NOMATCH) {
      from = end;
      continue;
    }
    if (outcome == PCRE2_ERROR_PARTIAL && found.begin > from) {
      from = found.begin;
      if (end == text.size()) break;
      continue;
    }
    if (outcome == PCRE2_ERROR_PARTIAL) {
      if (!full) break;
      outcome = match(window, from, PCRE2_ANCHORED, found);
      if (outcome == PCRE2_ERROR_NOMATCH) {
        from += decode_trusted(text.data() + from).size;
        continue;
      }
    }
    if (outcome >= 0 && found.begin >= from && found.begin < found.end) return found;
    from = kGivenUp;
  }
  return std::nullopt;
}

}  // namespace fathom::text
