#include "text/jinja/token_stream.h"

namespace fathom::text::jinja {

namespace {

std::string described(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kVariableBegin:
      return "\"{{\"";
    case TokenKind::kVariableEnd:
      return "\"}}\"";
    case TokenKind::kBlockBegin:
      return "\"{%\"";
    case TokenKind::kBlockEnd:
      return "\"%}\"";
    case TokenKind::kString:
      return "a text";
    case TokenKind::kEnd:
      return "the end of the template";
    default:
      return "\"" + token.text + "\"";
  }
}

}  // namespace

void TokenStream::fail_at(int line, std::string_view message) {
  if (failure_.ok()) {
    failure_ = invalid_argument("line " + std::to_string(line) + ": " + std::string(message));
  }
  at_ = tokens_.size() - 1;
}

Token TokenStream::take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}

bool TokenStream::skip_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  take();
  return true;
}

void TokenStream::expect(TokenKind kind, std::string_view wanted) {
  if (is(kind)) {
    take();
  } else {
    fail("expected " + std::string(wanted) + ", found " + described(now()));
  }
}

void TokenStream::expect_operator(std::string_view text) {
  if (!skip_operator(text)) {
    fail("expected \"" + std::string(text) + "\", found " + described(now()));
  }
}

std::string TokenStream::expect_name() {
  if (is(TokenKind::kName)) return take().text;
  fail("expected a name, found " + described(now()));
  return {};
}

NameId TokenStream::name(const std::string& text) {
  const auto [place, added] = ids_.try_emplace(text, static_cast<NameId>(names_.size()));
  if (added) {
    names_.push_back(text);
    uses_.push_back(0);
  }
  ++uses_[place->second];
  return place->second;
}

bool TokenStream::descend() {
  ++depth_;
  check_depth(depth_);
  return ok();
}

void TokenStream::check_depth(int depth) {
  if (depth > limits_.max_nesting) {
    fail("more than " + std::to_string(limits_.max_nesting) +
         " brackets, blocks or operations inside each other");
  }
}

}  // namespace fathom::text::jinja
