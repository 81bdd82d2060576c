#include "text/regex_split.h"

#include <algorithm>
#include <array>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "text/regex_dialect.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

constexpr std::size_t kMaxPatternBytes = 64 << 10;
constexpr std::uint32_t kMaxHeapKiB = 64 << 10;  // of one match; the library's own limit is 20 GB

std::string describe(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR bytes_of(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data() != nullptr ? text.data() : "");
}

}  // namespace

Result<std::unique_ptr<RegexSplit>> RegexSplit::create(const SplitStep& step) {
  if (step.pattern.empty() || step.pattern.size() > kMaxPatternBytes) {
    return invalid_argument("a pattern has 1 to " + std::to_string(kMaxPatternBytes) +
                            " bytes, this one has " + std::to_string(step.pattern.size()));
  }
  std::string pattern = step.pattern;
  if (!step.literal) {
    Result<std::string> translated = to_pcre2(step.pattern);
    if (!translated.ok()) return translated.status();
    pattern = std::move(*translated);
  }
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  FATHOM_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  const std::uint32_t options =
      step.literal ? PCRE2_UTF | PCRE2_LITERAL
                   : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(bytes_of(pattern), pattern.size(), options, &error, &offset, context.get());
  if (code == nullptr) {
    std::string message = "pattern: at byte " + std::to_string(offset);
    if (pattern != step.pattern) message += " of " + pattern;
    return invalid_argument(message + ": " + describe(error));
  }
  // Without JIT (no memory, no support for this machine) matching is slower and else the same.
  static_cast<void>(pcre2_jit_compile(code, PCRE2_JIT_COMPLETE));
  return std::unique_ptr<RegexSplit>(new RegexSplit(code, step.behavior, step.invert));
}

RegexSplit::RegexSplit(void* code, SplitBehavior behavior, bool invert)
    : code_(code),
      limits_(pcre2_match_context_create(nullptr)),
      behavior_(behavior),
      invert_(invert) {
  FATHOM_CHECK(limits_ != nullptr);
  pcre2_set_heap_limit(static_cast<pcre2_match_context*>(limits_), kMaxHeapKiB);
}

RegexSplit::~RegexSplit() {
  pcre2_match_context_free(static_cast<pcre2_match_context*>(limits_));
  pcre2_code_free(static_cast<pcre2_code*>(code_));
}

RegexSplit::Matcher::Matcher(const RegexSplit& split)
    : split_(split),
      match_data_(
          pcre2_match_data_create_from_pattern(static_cast<pcre2_code*>(split.code_), nullptr)) {
  FATHOM_CHECK(match_data_ != nullptr);
}

RegexSplit::Matcher::~Matcher() {
  pcre2_match_data_free(static_cast<pcre2_match_data*>(match_data_));
}

// The first match that starts at `from` or later.
bool RegexSplit::Matcher::find(std::string_view text, std::size_t from, Section& match) {
  const auto* code = static_cast<const pcre2_code*>(split_.code_);
  auto* data = static_cast<pcre2_match_data*>(match_data_);
  auto* limits = static_cast<pcre2_match_context*>(split_.limits_);
  int outcome =
      pcre2_match(code, bytes_of(text), text.size(), from, PCRE2_NO_UTF_CHECK, data, limits);
  if (outcome == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its state on the heap
    outcome = pcre2_match(code, bytes_of(text), text.size(), from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, limits);
  }
  if (outcome < 0) return false;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);
  match = {bounds[0], bounds[1], true};
  return match.begin >= from && match.end >= match.begin;  // \K in a look-around can undo either
}

// Matches and the text between them, in order. An empty match still ends the section before it,
// but not where the last match ended: there the search goes on one character later.
void RegexSplit::Matcher::find_sections(std::string_view text) {
  sections_.clear();
  std::size_t covered = 0;
  std::size_t from = 0;
  bool matched_before = false;
  Section match;
  while (from <= text.size() && find(text, from, match)) {
    if (matched_before && match.begin == covered && match.end == covered) {
      if (from == text.size()) break;
      from += decode_trusted(text.data() + from).size;
      continue;
    }
    if (match.begin > covered) sections_.push_back({covered, match.begin, false});
    sections_.push_back(match);
    covered = match.end;
    from = match.end;
    matched_before = true;
  }
  if (covered < text.size()) sections_.push_back({covered, text.size(), false});
  if (!split_.invert_) return;
  for (Section& section : sections_) section.is_match = !section.is_match;
}

// Merges neighbours as kContiguous and kMergedWithPrevious want it.
void RegexSplit::Matcher::merge_forward() {
  merged_.clear();
  bool previous_match = false;
  for (const Section& section : sections_) {
    const bool joins = split_.behavior_ == SplitBehavior::kContiguous
                           ? section.is_match == previous_match
                           : section.is_match && !previous_match;
    if (joins && !merged_.empty()) {
      merged_.back().end = section.end;
    } else {
      merged_.push_back(section);
    }
    previous_match = section.is_match;
  }
  sections_.swap(merged_);
}

void RegexSplit::Matcher::merge_backward() {
  merged_.clear();
  bool next_match = false;
  for (std::size_t i = sections_.size(); i-- > 0;) {
    const Section& section = sections_[i];
    if (section.is_match && !next_match && !merged_.empty()) {
      merged_.back().begin = section.begin;
    } else {
      merged_.push_back(section);
    }
    next_match = section.is_match;
  }
  std::reverse(merged_.begin(), merged_.end());
  sections_.swap(merged_);
}

void RegexSplit::Matcher::split(std::string_view text, std::vector<std::string_view>& pieces) {
  find_sections(text);
  switch (split_.behavior_) {
    case SplitBehavior::kIsolated:
    case SplitBehavior::kRemoved:
      break;
    case SplitBehavior::kMergedWithPrevious:
    case SplitBehavior::kContiguous:
      merge_forward();
      break;
    case SplitBehavior::kMergedWithNext:
      merge_backward();
      break;
  }
  const bool drops_matches = split_.behavior_ == SplitBehavior::kRemoved;
  for (const Section& section : sections_) {
    if (section.begin == section.end || (drops_matches && section.is_match)) continue;
    pieces.push_back(text.substr(section.begin, section.end - section.begin));
  }
}

}  // namespace fathom::text
