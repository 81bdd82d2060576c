#include "text/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace fathom::text {
namespace {

// The text in front of what is searched is dropped when it is longer than this.
constexpr std::size_t kMaxIdleBytes = 4096;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

std::vector<std::uint32_t> borders_of(std::string_view text) {
  std::vector<std::uint32_t> borders(text.size(), 0);
  std::uint32_t border = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    while (border > 0 && text[i] != text[border]) border = borders[border - 1];
    if (text[i] == text[border]) ++border;
    borders[i] = border;
  }
  return borders;
}

}  // namespace

Result<std::shared_ptr<const StopRules>> StopRules::create(std::vector<std::string> strings,
                                                           const std::vector<std::string>& regexes,
                                                           bool keep_stop) {
  const std::shared_ptr<StopRules> rules(new StopRules);
  rules->keep_stop_ = keep_stop;
  for (std::string& text : strings) {
    // No text has it any more once it is repaired, but its bytes could be found within a character.
    if (!regexes.empty() && valid_utf8_prefix(text) != text.size()) text.clear();
    if (!text.empty()) rules->starts_[static_cast<unsigned char>(text.front())] = true;
    std::vector<std::uint32_t> borders = borders_of(text);
    rules->strings_.push_back({std::move(text), std::move(borders)});
  }
  for (std::size_t i = 0; i < regexes.size(); ++i) {
    Result<StopRegex> regex = StopRegex::create(regexes[i]);
    if (!regex.ok()) return regex.status().in("stop_regex[" + std::to_string(i) + "]");
    rules->regexes_.push_back(std::move(*regex));
  }
  return std::shared_ptr<const StopRules>(rules);
}

StopMatcher::StopMatcher(std::shared_ptr<const StopRules> rules)
    : rules_(std::move(rules)),
      matched_(rules_->strings_.size(), 0),
      from_(rules_->regexes_.size(), 0) {}

// The first string to be whole in the answer that goes on with `text`, the end of text_.
std::optional<StopMatcher::Place> StopMatcher::find_string(std::string_view text) {
  const std::size_t begin = limit() - text.size();
  bool idle = std::all_of(matched_.begin(), matched_.end(), [](auto size) { return size == 0; });
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (idle && !rules_->starts_[static_cast<unsigned char>(text[at])]) continue;
    idle = true;
    for (std::size_t i = 0; i < matched_.size(); ++i) {
      const StopRules::String& string = rules_->strings_[i];
      if (string.text.empty()) continue;
      std::uint32_t& size = matched_[i];
      while (size > 0 && string.text[size] != text[at]) size = string.borders[size - 1];
      if (string.text[size] == text[at]) ++size;
      if (size == string.text.size()) {
        const std::size_t end = begin + at + 1;
        return Place{false, i, end - size, end};
      }
      idle = idle && size == 0;
    }
  }
  return std::nullopt;
}

// Of the expressions' first matches in the answer up to byte `limit`, the one that ends first.
std::optional<StopMatcher::Place> StopMatcher::find_regex(std::size_t limit,
                                                          bool at_end,
                                                          std::vector<std::size_t>& from) {
  const std::string_view text = std::string_view(text_).substr(0, limit - base_);
  std::optional<Place> first;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i] == StopRegex::kGivenUp) continue;
    std::size_t local = from[i] - base_;
    const auto found = rules_->regexes_[i].find(text, at_end, local);
    from[i] = local == StopRegex::kGivenUp ? local : base_ + local;
    if (found && (!first || base_ + found->end < first->end)) {
      first = Place{true, i, base_ + found->begin, base_ + found->end};
    }
  }
  return first;
}

// The match that is certain first in the text behind byte `before`, which ends with `string` if
// there is one. Which expression is certain first cannot be seen from the whole; but a match that
// is certain stays so with more text, so that place can be searched by halves.
std::optional<StopMatcher::Place> StopMatcher::first_certain(std::size_t before,
                                                             const std::optional<Place>& string) {
  std::size_t known = string ? string->end : limit();
  std::vector<std::size_t> from = from_;
  std::optional<Place> found = find_regex(known, false, from);
  if (!found) {
    from_ = std::move(from);
    return string;
  }
  if (from_.size() > 1) {
    std::vector<std::size_t> ends;  // of the characters in between
    for (std::size_t at = before + 1; at < known; ++at) {
      if (!is_continuation(text_[at - base_])) ends.push_back(at);
    }
    const auto first = std::partition_point(ends.begin(), ends.end(), [&](std::size_t end) {
      from = from_;
      return !find_regex(end, false, from);
    });
    if (first != ends.end()) known = *first;
    from = from_;
    found = find_regex(known, false, from);
    if (!found) return string;  // it has been given up on the way
  }
  const bool string_first = string && string->end <= known && string->end <= found->end;
  return string_first ? string : found;
}

std::optional<StopMatcher::Place> StopMatcher::append(std::string_view text) {
  const std::size_t before = limit();
  text_ += text;
  const std::optional<Place> string = find_string(std::string_view(text_).substr(before - base_));
  return from_.empty() ? string : first_certain(before, string);
}

bool StopMatcher::gave_up() const {
  return std::count(from_.begin(), from_.end(), StopRegex::kGivenUp) > 0;
}

// Tells the text before byte `end`.
void StopMatcher::release(std::size_t end, std::string& out) {
  if (end <= released_) return;
  out.append(text_, released_ - base_, end - released_);
  released_ = end;
}

// Drops text that nobody looks at any more.
void StopMatcher::forget() {
  std::size_t keep = released_;
  for (std::size_t i = 0; i < from_.size(); ++i) {
    const std::size_t behind = rules_->regexes_[i].lookbehind_bytes();
    if (from_[i] != StopRegex::kGivenUp)
      keep = std::min(keep, from_[i] - std::min(from_[i], behind));
  }
  if (keep <= base_ || (!from_.empty() && keep - base_ < kMaxIdleBytes)) return;
  while (!from_.empty() && keep > base_ && keep < limit() && is_continuation(text_[keep - base_])) {
    --keep;
  }
  text_.erase(0, keep - base_);
  base_ = keep;
}

StopMatch StopMatcher::stop_at(const Place& place, std::string& out) {
  release(rules_->keep_stop_ ? place.end : place.begin, out);
  return {place.is_regex, place.index, text_.substr(place.begin - base_, place.end - place.begin)};
}

std::optional<StopMatch> StopMatcher::push(std::string_view text, std::string& out) {
  std::string whole;
  if (!from_.empty()) {
    repair_.push(text, whole);
    text = whole;
  }
  if (const std::optional<Place> place = append(text)) return stop_at(*place, out);
  std::size_t certain = limit();
  for (const std::uint32_t size : matched_) certain = std::min(certain, limit() - size);
  for (const std::size_t from : from_) certain = std::min(certain, from);
  release(certain, out);
  forget();
  return std::nullopt;
}

std::optional<StopMatch> StopMatcher::finish(std::string& out) {
  std::string whole;
  repair_.flush(whole);
  std::optional<Place> place = append(whole);
  if (!place) place = find_regex(limit(), true, from_);
  if (place) return stop_at(*place, out);
  release(limit(), out);
  return std::nullopt;
}

}  // namespace fathom::text
