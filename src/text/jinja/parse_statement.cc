#include <array>
#include <initializer_list>
#include <utility>

#include "text/jinja/parser.h"
#include "text/jinja/token_stream.h"

// NOLINTBEGIN(misc-no-recursion): as deep as Nesting lets it
namespace fathom::text::jinja {

namespace {

class StatementParser {
 public:
  explicit StatementParser(TokenStream& stream)
      : stream_(stream),
        loop_(stream.name("loop")),
        varargs_(stream.name("varargs")),
        kwargs_(stream.name("kwargs")) {}

  // Reads statements up to the end or to a tag that `ends` names, whose name is not taken.
  void statements(Body& body, std::initializer_list<std::string_view> ends);

  NameId loop() const { return loop_; }
  NameId varargs() const { return varargs_; }
  NameId kwargs() const { return kwargs_; }

 private:
  Statement statement(const std::string& tag, int line);
  Statement if_statement(int line);
  Statement for_statement(int line);
  Statement set_statement(int line);
  Statement with_statement(int line);
  Statement filter_statement(int line);
  Statement macro_statement(int line);
  Statement generation_statement(int line);
  Statement print_statement(int line);
  Statement jump_statement(StatementKind kind, int line);
  // The rest of a tag, and what stands up to one of the tags that `ends` names.
  void body_of(Body& body, std::initializer_list<std::string_view> ends);
  // The same up to the one tag `end`, which is taken.
  void whole_body(Body& body, std::string_view end);
  Target target(bool with_attribute);
  Target one_target(bool with_attribute);

  TokenStream& stream_;
  NameId loop_;
  NameId varargs_;
  NameId kwargs_;
  int loops_ = 0;  // around this place, within a macro
};

void StatementParser::statements(Body& body, std::initializer_list<std::string_view> ends) {
  const Nesting nesting(stream_);
  while (stream_.ok() && !stream_.is(TokenKind::kEnd)) {
    const int line = stream_.now().line;
    if (stream_.is(TokenKind::kData)) {
      body.push_back({.kind = StatementKind::kText, .line = line, .text = stream_.take().text});
      continue;
    }
    if (stream_.is(TokenKind::kVariableBegin)) {
      stream_.take();
      body.push_back({.kind = StatementKind::kPrint, .line = line});
      body.back().expressions.push_back(parse_tuple(stream_));
      stream_.expect(TokenKind::kVariableEnd, "\"}}\"");
      continue;
    }
    stream_.expect(TokenKind::kBlockBegin, "a tag");
    for (const std::string_view end : ends) {
      if (stream_.is_name(end)) return;
    }
    const std::string tag = stream_.expect_name();
    if (!stream_.ok()) return;
    body.push_back(statement(tag, line));
    stream_.expect(TokenKind::kBlockEnd, "\"%}\"");
  }
}

Statement StatementParser::statement(const std::string& tag, int line) {
  if (tag == "if") return if_statement(line);
  if (tag == "for") return for_statement(line);
  if (tag == "set") return set_statement(line);
  if (tag == "with") return with_statement(line);
  if (tag == "filter") return filter_statement(line);
  if (tag == "macro") return macro_statement(line);
  if (tag == "generation") return generation_statement(line);
  if (tag == "print") return print_statement(line);
  if (tag == "break") return jump_statement(StatementKind::kBreak, line);
  if (tag == "continue") return jump_statement(StatementKind::kContinue, line);
  constexpr std::array<std::string_view, 8> kRefused{"include", "import", "from",       "extends",
                                                     "block",   "call",   "autoescape", "do"};
  for (const std::string_view refused : kRefused) {
    if (tag == refused) {
      stream_.fail_at(line, "the tag \"" + tag + "\" is not supported in chat templates");
      return {.kind = StatementKind::kText, .line = line};
    }
  }
  stream_.fail_at(line, "unexpected tag \"" + tag + "\"");
  return {.kind = StatementKind::kText, .line = line};
}

void StatementParser::body_of(Body& body, std::initializer_list<std::string_view> ends) {
  stream_.skip_operator(":");
  stream_.expect(TokenKind::kBlockEnd, "\"%}\"");
  statements(body, ends);
  if (stream_.ok() && stream_.is(TokenKind::kEnd)) {
    std::string wanted;
    for (const std::string_view end : ends) {
      wanted += (wanted.empty() ? "\"" : " or \"") + std::string(end) + "\"";
    }
    stream_.fail("the template ends where " + wanted + " is wanted");
  }
}

void StatementParser::whole_body(Body& body, std::string_view end) {
  body_of(body, {end});
  stream_.take();
}

Statement StatementParser::if_statement(int line) {
  Statement made{.kind = StatementKind::kIf, .line = line};
  for (bool more = true; more && stream_.ok();) {
    Branch& branch = made.branches.emplace_back();
    branch.condition = parse_tuple(stream_, false);
    body_of(branch.body, {"elif", "else", "endif"});
    const std::string end = stream_.take().text;
    more = end == "elif";
    if (end == "else") whole_body(made.branches.emplace_back().body, "endif");
  }
  return made;
}

Statement StatementParser::for_statement(int line) {
  Statement made{.kind = StatementKind::kFor, .line = line};
  made.target = target(false);
  if (!stream_.skip_name("in")) stream_.fail("expected \"in\" in a for tag");
  made.expressions.push_back(parse_tuple(stream_, false));
  made.expressions.push_back(stream_.skip_name("if") ? parse_expression(stream_) : nullptr);
  if (stream_.is_name("recursive")) stream_.fail("recursive loops are not supported");
  const std::size_t loop_uses = stream_.uses(loop_);
  ++loops_;
  body_of(made.body, {"endfor", "else"});
  --loops_;
  made.uses_loop = stream_.uses(loop_) > loop_uses;
  if (stream_.take().text == "else") whole_body(made.other, "endfor");
  return made;
}

Target StatementParser::one_target(bool with_attribute) {
  if (stream_.skip_operator("(")) {
    const Nesting nesting(stream_);
    Target made = nesting.ok() ? target(with_attribute) : Target();
    stream_.expect_operator(")");
    return made;
  }
  const std::string name = stream_.expect_name();
  for (const std::string_view word : {"true", "false", "none", "True", "False", "None"}) {
    if (name == word) stream_.fail("\"" + name + "\" cannot be assigned to");
  }
  Target made{.name = stream_.name(name)};
  if (with_attribute && stream_.skip_operator(".")) {
    made.kind = Target::Kind::kAttribute;
    made.attribute = stream_.expect_name();
  }
  return made;
}

Target StatementParser::target(bool with_attribute) {
  Target first = one_target(with_attribute);
  if (!stream_.is_operator(",")) return first;
  Target made{.kind = Target::Kind::kSeveral};
  made.parts.push_back(std::move(first));
  while (stream_.skip_operator(",")) {
    if (!stream_.is(TokenKind::kName) && !stream_.is_operator("(")) break;
    if (stream_.is_name("in")) break;
    made.parts.push_back(one_target(with_attribute));
  }
  return made;
}

Statement StatementParser::set_statement(int line) {
  Statement made{.kind = StatementKind::kSet, .line = line};
  made.target = target(true);
  if (stream_.skip_operator("=")) {
    made.expressions.push_back(parse_tuple(stream_));
    return made;
  }
  made.kind = StatementKind::kSetBlock;
  made.expressions.push_back(stream_.is_operator("|") ? parse_filters(stream_, nullptr, false)
                                                      : nullptr);
  whole_body(made.body, "endset");
  return made;
}

Statement StatementParser::with_statement(int line) {
  Statement made{.kind = StatementKind::kWith, .line = line};
  while (stream_.ok() && !stream_.is(TokenKind::kBlockEnd)) {
    if (!made.targets.empty()) stream_.expect_operator(",");
    made.targets.push_back(one_target(false));
    stream_.expect_operator("=");
    made.expressions.push_back(parse_expression(stream_));
  }
  whole_body(made.body, "endwith");
  return made;
}

Statement StatementParser::filter_statement(int line) {
  Statement made{.kind = StatementKind::kFilter, .line = line};
  made.expressions.push_back(parse_filters(stream_, nullptr, true));
  whole_body(made.body, "endfilter");
  return made;
}

Statement StatementParser::macro_statement(int line) {
  Statement made{.kind = StatementKind::kMacro, .line = line};
  made.macro = std::make_unique<MacroSyntax>();
  MacroSyntax& macro = *made.macro;
  macro.name = stream_.expect_name();
  macro.id = stream_.name(macro.name);
  stream_.expect_operator("(");
  while (stream_.ok() && !stream_.is_operator(")")) {
    if (!macro.parameters.empty()) stream_.expect_operator(",");
    const std::string name = stream_.expect_name();
    const bool initial = stream_.skip_operator("=");
    if (!initial && !macro.parameters.empty() && macro.parameters.back().initial) {
      stream_.fail("a parameter without a default follows one that has one");
    }
    macro.parameters.push_back(
        {stream_.name(name), name, initial ? parse_expression(stream_) : nullptr});
  }
  stream_.expect_operator(")");
  const std::size_t varargs_uses = stream_.uses(varargs_);
  const std::size_t kwargs_uses = stream_.uses(kwargs_);
  const int loops = std::exchange(loops_, 0);
  whole_body(macro.body, "endmacro");
  loops_ = loops;
  macro.takes_varargs = stream_.uses(varargs_) > varargs_uses;
  macro.takes_kwargs = stream_.uses(kwargs_) > kwargs_uses;
  return made;
}

// Marks what the assistant wrote, which only training asks for.
Statement StatementParser::generation_statement(int line) {
  Statement made{.kind = StatementKind::kScope, .line = line};
  whole_body(made.body, "endgeneration");
  return made;
}

Statement StatementParser::print_statement(int line) {
  Statement made{.kind = StatementKind::kPrint, .line = line};
  while (stream_.ok() && !stream_.is(TokenKind::kBlockEnd)) {
    if (!made.expressions.empty()) stream_.expect_operator(",");
    made.expressions.push_back(parse_expression(stream_));
  }
  return made;
}

Statement StatementParser::jump_statement(StatementKind kind, int line) {
  if (loops_ == 0) stream_.fail_at(line, "a break or continue outside of loops");
  return {.kind = kind, .line = line};
}

}  // namespace

Result<Syntax> parse(std::string_view source, const Limits& limits) {
  if (source.size() > limits.max_source_bytes) {
    return invalid_argument("the template has " + std::to_string(source.size()) +
                            " bytes, the limit is " + std::to_string(limits.max_source_bytes));
  }
  Result<std::vector<Token>> tokens = tokenize(source);
  FATHOM_RETURN_IF_ERROR(tokens.status());
  TokenStream stream(std::move(tokens).value(), limits);
  StatementParser parser(stream);
  Syntax syntax;
  parser.statements(syntax.body, {});
  if (!stream.ok()) return stream.failure();
  syntax.loop = parser.loop();
  syntax.varargs = parser.varargs();
  syntax.kwargs = parser.kwargs();
  syntax.names = stream.take_names();
  return syntax;
}

}  // namespace fathom::text::jinja
// NOLINTEND(misc-no-recursion)
