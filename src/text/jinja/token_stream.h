#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/limits.h"
#include "text/jinja/syntax.h"

namespace fathom::text::jinja {

// The tokens of a template and what both halves of the parser keep: the first failure, how deep it
// is, and the names it met. After a failure the stream is at its end, so that whoever reads on
// stops.
class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, const Limits& limits)
      : tokens_(std::move(tokens)), limits_(limits) {}

  bool ok() const { return failure_.ok(); }
  const Status& failure() const { return failure_; }
  void fail(std::string_view message) { fail_at(now().line, message); }
  void fail_at(int line, std::string_view message);

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + (at_ + 1 < tokens_.size() ? 1 : 0)]; }
  Token take();
  bool is(TokenKind kind) const { return now().kind == kind; }
  bool is_name(std::string_view name) const {
    return now().kind == TokenKind::kName && now().text == name;
  }
  bool is_operator(std::string_view text) const {
    return now().kind == TokenKind::kOperator && now().text == text;
  }
  bool next_is_name(std::string_view name) const {
    return next().kind == TokenKind::kName && next().text == name;
  }
  bool next_is_operator(std::string_view text) const {
    return next().kind == TokenKind::kOperator && next().text == text;
  }
  bool skip_name(std::string_view name);
  bool skip_operator(std::string_view text);
  void expect(TokenKind kind, std::string_view wanted);
  void expect_operator(std::string_view text);
  std::string expect_name();

  // The id of a name, which `uses` counts as met.
  NameId name(const std::string& text);
  // How often a name was met so far.
  std::size_t uses(NameId id) const { return uses_[id]; }
  std::vector<std::string> take_names() { return std::move(names_); }

  // Around whatever calls itself.
  bool descend();
  void ascend() { --depth_; }
  // Fails when a tree of that depth is too deep.
  void check_depth(int depth);

 private:
  std::vector<Token> tokens_;
  const Limits& limits_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Status failure_;
  std::vector<std::string> names_;
  std::vector<std::size_t> uses_;
  std::unordered_map<std::string, NameId> ids_;
};

// One level of nesting while it lives.
class Nesting {
 public:
  explicit Nesting(TokenStream& stream) : stream_(stream), ok_(stream.descend()) {}
  ~Nesting() { stream_.ascend(); }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  bool ok() const { return ok_; }

 private:
  TokenStream& stream_;
  bool ok_;
};

// Each reads one piece at the stream's place; null after a failure.
ExpressionPointer parse_expression(TokenStream& stream, bool with_conditional = true);
// Expressions with commas between them are a tuple.
ExpressionPointer parse_tuple(TokenStream& stream, bool with_conditional = true);
// "name(arguments)|name …" applied to `operand`, which may be null. The first "|" is there, unless
// `begun` says that it is not.
ExpressionPointer parse_filters(TokenStream& stream, ExpressionPointer operand, bool begun);

}  // namespace fathom::text::jinja
