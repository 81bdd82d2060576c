#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode_class.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

// The classes of the character at the front of `text`; none when there is none or it is broken.
std::uint8_t front_classes(std::string_view text, std::size_t& size) {
  size = 0;
  if (text.empty()) return 0;
  const Utf8Front front = utf8_front(text);
  size = front.size;
  if (front.kind != Utf8Kind::kWhole) return 0;
  return unicode_classes().of(decode_trusted(text.data()).value);
}

// The same for the character at the back.
std::uint8_t back_classes(std::string_view text, std::size_t& size) {
  size = 0;
  const std::size_t most = std::min<std::size_t>(4, text.size());
  for (std::size_t tried = 1; tried <= most; ++tried) {
    const std::string_view back = text.substr(text.size() - tried);
    const bool continues = (static_cast<unsigned char>(back[0]) & 0xC0) == 0x80;
    if (continues) continue;
    const Utf8Front front = utf8_front(back);
    if (front.kind != Utf8Kind::kWhole || front.size != tried) return 0;
    size = tried;
    return unicode_classes().of(decode_trusted(back.data()).value);
  }
  return 0;
}

std::size_t spaces_in_front(std::string_view text) {
  std::size_t total = 0;
  std::size_t size = 0;
  while ((front_classes(text.substr(total), size) & kSpace) != 0) total += size;
  return total;
}

std::size_t spaces_at_back(std::string_view text) {
  std::size_t total = 0;
  std::size_t size = 0;
  while ((back_classes(text.substr(0, text.size() - total), size) & kSpace) != 0) total += size;
  return total;
}

bool touches_word(std::string_view before, std::string_view after) {
  std::size_t size = 0;
  return (back_classes(before, size) & kWord) != 0 || (front_classes(after, size) & kWord) != 0;
}

}  // namespace

void AddedTokens::Trie::add(std::string_view content, std::int32_t entry) {
  std::int32_t node = -1;
  for (const char byte : content) {
    std::int32_t next = node < 0 ? roots_[static_cast<unsigned char>(byte)] : child_of(node, byte);
    if (next < 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      Node fresh{.byte = byte};
      if (node < 0) {
        roots_[static_cast<unsigned char>(byte)] = next;
      } else {
        Node& parent = nodes_[static_cast<std::size_t>(node)];
        fresh.sibling = parent.child;
        parent.child = next;
      }
      nodes_.push_back(fresh);
    }
    node = next;
  }
  nodes_[static_cast<std::size_t>(node)].entry = entry;
}

std::int32_t AddedTokens::Trie::child_of(std::int32_t node, char byte) const {
  std::int32_t child = nodes_[static_cast<std::size_t>(node)].child;
  while (child >= 0 && nodes_[static_cast<std::size_t>(child)].byte != byte) {
    child = nodes_[static_cast<std::size_t>(child)].sibling;
  }
  return child;
}

std::int32_t AddedTokens::Trie::longest(std::string_view text, std::size_t& size) const {
  std::int32_t found = -1;
  std::int32_t node = -1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = i == 0 ? roots_[static_cast<unsigned char>(text[i])] : child_of(node, text[i]);
    if (node < 0) break;
    const std::int32_t entry = nodes_[static_cast<std::size_t>(node)].entry;
    if (entry < 0) continue;
    found = entry;
    size = i + 1;
  }
  return found;
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  entries_.reserve(tokens.size());
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    Trie& trie = token.normalized ? normalized_ : raw_;
    trie.add(token.content, static_cast<std::int32_t>(entries_.size()));
    entries_.push_back({token.id, token.single_word, token.lstrip, token.rstrip});
  }
}

TokenId AddedTokens::find(std::string_view content) const {
  for (const Trie* trie : {&raw_, &normalized_}) {
    std::size_t size = 0;
    const std::int32_t entry = trie->longest(content, size);
    if (entry >= 0 && size == content.size()) return entries_[static_cast<std::size_t>(entry)].id;
  }
  return -1;
}

// Every occurrence uses its bytes up, also one that single_word then turns down. White space that
// an earlier token took is not taken again.
void AddedTokens::split_by(const Trie& trie,
                           std::string_view text,
                           std::vector<TextSegment>& segments) const {
  std::size_t settled = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t size = 0;
    const std::int32_t found = trie.starts(text[at]) ? trie.longest(text.substr(at), size) : -1;
    if (found < 0) {
      ++at;
      continue;
    }
    const Entry& entry = entries_[static_cast<std::size_t>(found)];
    std::size_t begin = at;
    std::size_t end = at + size;
    at = end;
    if (entry.single_word && touches_word(text.substr(0, begin), text.substr(end))) continue;
    if (entry.lstrip) begin = std::max(begin - spaces_at_back(text.substr(0, begin)), settled);
    if (entry.rstrip) end += spaces_in_front(text.substr(end));
    if (begin > settled) segments.push_back({text.substr(settled, begin - settled)});
    segments.push_back({text.substr(begin, end - begin), entry.id});
    settled = end;
  }
  if (settled < text.size()) segments.push_back({text.substr(settled)});
}

void AddedTokens::split(std::string_view text, std::vector<TextSegment>& segments) const {
  if (raw_.empty() || normalized_.empty()) {
    return split_by(raw_.empty() ? normalized_ : raw_, text, segments);
  }
  std::vector<TextSegment> first_pass;
  split_by(raw_, text, first_pass);
  for (const TextSegment& segment : first_pass) {
    if (segment.id >= 0) {
      segments.push_back(segment);
    } else {
      split_by(normalized_, segment.text, segments);
    }
  }
}

}  // namespace fathom::text
