#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

#include "text/jinja/token_stream.h"

// NOLINTBEGIN(misc-no-recursion): as deep as Nesting lets it
namespace fathom::text::jinja {

namespace {

ExpressionPointer make(ExpressionKind kind, int line) {
  return std::make_unique<Expression>(Expression{.kind = kind, .line = line});
}

ExpressionPointer make(ExpressionKind kind, int line, ExpressionPointer operand) {
  ExpressionPointer made = make(kind, line);
  made->operands.push_back(std::move(operand));
  return made;
}

ExpressionPointer constant(int line, Value value) {
  ExpressionPointer made = make(ExpressionKind::kConstant, line);
  made->constant = std::move(value);
  return made;
}

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  ExpressionPointer conditional();
  ExpressionPointer tuple(bool with_conditional, bool in_parentheses);
  ExpressionPointer either();
  ExpressionPointer filters(ExpressionPointer operand, bool begun);

 private:
  ExpressionPointer finished(ExpressionPointer made);

  using Level = ExpressionPointer (ExpressionParser::*)();
  struct Spelling {
    std::string_view text;
    Operator meaning;
  };

  ExpressionPointer joined(ExpressionKind kind, std::string_view word, Level below);
  ExpressionPointer arithmetic(std::span<const Spelling> spellings, Level below);
  ExpressionPointer both() {
    return joined(ExpressionKind::kAnd, "and", &ExpressionParser::negation);
  }
  ExpressionPointer negation();
  ExpressionPointer comparison();
  ExpressionPointer sum();
  ExpressionPointer concatenation();
  ExpressionPointer product();
  ExpressionPointer power();
  ExpressionPointer filtered() { return unary(true); }
  ExpressionPointer unary(bool with_filters);
  ExpressionPointer primary();
  ExpressionPointer named(const Token& token);
  ExpressionPointer number(const Token& token);
  ExpressionPointer list();
  ExpressionPointer dict();
  ExpressionPointer postfix(ExpressionPointer operand);
  ExpressionPointer filters_and_tests(ExpressionPointer operand);
  ExpressionPointer attribute(ExpressionPointer operand);
  ExpressionPointer subscript(ExpressionPointer operand);
  ExpressionPointer call(ExpressionPointer operand);
  ExpressionPointer test(ExpressionPointer operand);
  std::string dotted_name();
  ArgumentList arguments();
  void argument(ArgumentList& list);

  TokenStream& stream_;
};

// Gives a node its depth and refuses one that is too deep, which chains can make without nesting
// in the source.
ExpressionPointer ExpressionParser::finished(ExpressionPointer made) {
  const auto include = [&made](const ExpressionPointer& part) {
    if (part) made->depth = std::max(made->depth, part->depth + 1);
  };
  for (const ExpressionPointer& operand : made->operands) include(operand);
  for (const ExpressionPointer& argument : made->arguments.positional) include(argument);
  for (const auto& [name, argument] : made->arguments.named) include(argument);
  include(made->arguments.spread);
  include(made->arguments.spread_named);
  stream_.check_depth(made->depth);
  return made;
}

ExpressionPointer ExpressionParser::conditional() {
  const Nesting nesting(stream_);
  if (!nesting.ok()) return nullptr;
  ExpressionPointer value = either();
  while (stream_.is_name("if")) {
    const int line = stream_.take().line;
    ExpressionPointer made = make(ExpressionKind::kConditional, line, std::move(value));
    made->operands.push_back(either());
    made->operands.push_back(stream_.skip_name("else") ? conditional() : nullptr);
    value = finished(std::move(made));
  }
  return value;
}

ExpressionPointer ExpressionParser::joined(ExpressionKind kind,
                                           std::string_view word,
                                           Level below) {
  ExpressionPointer first = (this->*below)();
  if (!stream_.is_name(word)) return first;
  ExpressionPointer made = make(kind, stream_.now().line, std::move(first));
  while (stream_.skip_name(word)) made->operands.push_back((this->*below)());
  return finished(std::move(made));
}

ExpressionPointer ExpressionParser::either() {
  return joined(ExpressionKind::kOr, "or", &ExpressionParser::both);
}

ExpressionPointer ExpressionParser::negation() {
  if (!stream_.is_name("not")) return comparison();
  const Nesting nesting(stream_);
  if (!nesting.ok()) return nullptr;
  const int line = stream_.take().line;
  return finished(make(ExpressionKind::kNot, line, negation()));
}

ExpressionPointer ExpressionParser::comparison() {
  constexpr std::array<Spelling, 6> kSpellings{{{"==", Operator::kEqual},
                                                {"!=", Operator::kNotEqual},
                                                {"<=", Operator::kLessEqual},
                                                {">=", Operator::kGreaterEqual},
                                                {"<", Operator::kLess},
                                                {">", Operator::kGreater}}};
  ExpressionPointer first = sum();
  ExpressionPointer made;
  for (;;) {
    std::optional<Operator> found;
    for (const Spelling& spelling : kSpellings) {
      if (!found && stream_.is_operator(spelling.text)) found = spelling.meaning;
    }
    const int line = stream_.now().line;
    if (found) {
      stream_.take();
    } else if (stream_.skip_name("in")) {
      found = Operator::kIn;
    } else if (stream_.is_name("not") && stream_.next_is_name("in")) {
      stream_.take();
      stream_.take();
      found = Operator::kNotIn;
    } else {
      break;
    }
    if (!made) made = make(ExpressionKind::kCompare, line, std::move(first));
    made->operators.push_back(*found);
    made->operands.push_back(sum());
  }
  return made ? finished(std::move(made)) : std::move(first);
}

ExpressionPointer ExpressionParser::arithmetic(std::span<const Spelling> spellings, Level below) {
  ExpressionPointer first = (this->*below)();
  ExpressionPointer made;
  for (;;) {
    std::optional<Operator> found;
    for (const Spelling& spelling : spellings) {
      if (stream_.is_operator(spelling.text)) found = spelling.meaning;
    }
    if (!found) break;
    const int line = stream_.take().line;
    if (!made) made = make(ExpressionKind::kArithmetic, line, std::move(first));
    made->operators.push_back(*found);
    made->operands.push_back((this->*below)());
  }
  return made ? finished(std::move(made)) : std::move(first);
}

ExpressionPointer ExpressionParser::sum() {
  constexpr std::array<Spelling, 2> kSpellings{{{"+", Operator::kAdd}, {"-", Operator::kSubtract}}};
  return arithmetic(kSpellings, &ExpressionParser::concatenation);
}

ExpressionPointer ExpressionParser::concatenation() {
  ExpressionPointer first = product();
  if (!stream_.is_operator("~")) return first;
  ExpressionPointer made = make(ExpressionKind::kConcat, stream_.now().line, std::move(first));
  while (stream_.skip_operator("~")) made->operands.push_back(product());
  return finished(std::move(made));
}

ExpressionPointer ExpressionParser::product() {
  constexpr std::array<Spelling, 4> kSpellings{{{"*", Operator::kMultiply},
                                                {"/", Operator::kDivide},
                                                {"//", Operator::kFloorDivide},
                                                {"%", Operator::kModulo}}};
  return arithmetic(kSpellings, &ExpressionParser::power);
}

ExpressionPointer ExpressionParser::power() {
  constexpr std::array<Spelling, 1> kSpellings{{{"**", Operator::kPower}}};
  return arithmetic(kSpellings, &ExpressionParser::filtered);
}

ExpressionPointer ExpressionParser::unary(bool with_filters) {
  const Nesting nesting(stream_);
  if (!nesting.ok()) return nullptr;
  const int line = stream_.now().line;
  ExpressionPointer value;
  if (stream_.skip_operator("-")) {
    value = finished(make(ExpressionKind::kNegative, line, unary(false)));
  } else if (stream_.skip_operator("+")) {
    value = finished(make(ExpressionKind::kPositive, line, unary(false)));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPointer ExpressionParser::named(const Token& token) {
  const std::string& text = token.text;
  if (text == "true" || text == "True") return constant(token.line, Value::boolean(true));
  if (text == "false" || text == "False") return constant(token.line, Value::boolean(false));
  if (text == "none" || text == "None") return constant(token.line, Value());
  ExpressionPointer made = make(ExpressionKind::kName, token.line);
  made->name = stream_.name(text);
  return made;
}

ExpressionPointer ExpressionParser::number(const Token& token) {
  std::string_view text = token.text;
  const char* const end = text.data() + text.size();
  if (token.kind == TokenKind::kFloat) {
    double value = 0;
    const auto [read, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{}) {
      stream_.fail_at(token.line, "the number " + token.text + " is out of range");
      return nullptr;
    }
    return constant(token.line, Value::number(value));
  }
  int base = 10;
  if (text.size() > 2 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    if (mark == 'x') base = 16;
    if (mark == 'o') base = 8;
    if (mark == 'b') base = 2;
    if (base != 10) text.remove_prefix(2);
  }
  std::int64_t value = 0;
  const auto [read, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc{}) {
    stream_.fail_at(token.line, "the number " + token.text + " is out of range");
    return nullptr;
  }
  return constant(token.line, Value::integer(value));
}

ExpressionPointer ExpressionParser::primary() {
  switch (stream_.now().kind) {
    case TokenKind::kName:
      return named(stream_.take());
    case TokenKind::kString: {
      Token token = stream_.take();
      while (stream_.is(TokenKind::kString)) token.text += stream_.take().text;
      return constant(token.line, Value::string(std::move(token.text)));
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return number(stream_.take());
    default:
      break;
  }
  if (stream_.skip_operator("(")) {
    ExpressionPointer inner = tuple(true, true);
    stream_.expect_operator(")");
    return inner;
  }
  if (stream_.is_operator("[")) return list();
  if (stream_.is_operator("{")) return dict();
  stream_.expect(TokenKind::kName, "an expression");
  return nullptr;
}

ExpressionPointer ExpressionParser::tuple(bool with_conditional, bool in_parentheses) {
  const int line = stream_.now().line;
  const auto ends = [this] {
    return stream_.is(TokenKind::kVariableEnd) || stream_.is(TokenKind::kBlockEnd) ||
           stream_.is_operator(")") || stream_.is_name("recursive");
  };
  std::vector<ExpressionPointer> parts;
  bool several = false;
  while (stream_.ok() && !ends()) {
    parts.push_back(with_conditional ? conditional() : either());
    if (!stream_.skip_operator(",")) break;
    several = true;
  }
  if (!several && parts.size() == 1) return std::move(parts.front());
  if (parts.empty() && (!in_parentheses || several)) {
    stream_.expect(TokenKind::kName, "an expression");
    return nullptr;
  }
  ExpressionPointer made = make(ExpressionKind::kTuple, line);
  made->operands = std::move(parts);
  return finished(std::move(made));
}

ExpressionPointer ExpressionParser::list() {
  ExpressionPointer made = make(ExpressionKind::kList, stream_.take().line);
  while (stream_.ok() && !stream_.is_operator("]")) {
    made->operands.push_back(conditional());
    if (!stream_.is_operator("]")) stream_.expect_operator(",");
  }
  stream_.expect_operator("]");
  return finished(std::move(made));
}

ExpressionPointer ExpressionParser::dict() {
  ExpressionPointer made = make(ExpressionKind::kDict, stream_.take().line);
  while (stream_.ok() && !stream_.is_operator("}")) {
    made->operands.push_back(conditional());
    stream_.expect_operator(":");
    made->operands.push_back(conditional());
    if (!stream_.is_operator("}")) stream_.expect_operator(",");
  }
  stream_.expect_operator("}");
  return finished(std::move(made));
}

ExpressionPointer ExpressionParser::postfix(ExpressionPointer operand) {
  while (stream_.ok()) {
    if (stream_.is_operator(".")) {
      operand = attribute(std::move(operand));
    } else if (stream_.is_operator("[")) {
      operand = subscript(std::move(operand));
    } else if (stream_.is_operator("(")) {
      operand = call(std::move(operand));
    } else {
      break;
    }
  }
  return operand;
}

ExpressionPointer ExpressionParser::filters_and_tests(ExpressionPointer operand) {
  while (stream_.ok()) {
    if (stream_.is_operator("|")) {
      operand = filters(std::move(operand), false);
    } else if (stream_.is_name("is")) {
      operand = test(std::move(operand));
    } else if (stream_.is_operator("(")) {
      operand = call(std::move(operand));
    } else {
      break;
    }
  }
  return operand;
}

ExpressionPointer ExpressionParser::attribute(ExpressionPointer operand) {
  const int line = stream_.take().line;
  if (stream_.is(TokenKind::kInteger)) {
    ExpressionPointer made = make(ExpressionKind::kItem, line, std::move(operand));
    made->operands.push_back(number(stream_.take()));
    return finished(std::move(made));
  }
  ExpressionPointer made = make(ExpressionKind::kAttribute, line, std::move(operand));
  made->text = stream_.expect_name();
  return finished(std::move(made));
}

ExpressionPointer ExpressionParser::subscript(ExpressionPointer operand) {
  const int line = stream_.take().line;
  const auto part = [this]() -> ExpressionPointer {
    if (stream_.is_operator(":") || stream_.is_operator("]")) return nullptr;
    return conditional();
  };
  ExpressionPointer first = part();
  if (!stream_.is_operator(":")) {
    if (first == nullptr || stream_.is_operator(",")) {
      stream_.fail("expected one expression in \"[]\"");
      return nullptr;
    }
    stream_.expect_operator("]");
    ExpressionPointer made = make(ExpressionKind::kItem, line, std::move(operand));
    made->operands.push_back(std::move(first));
    return finished(std::move(made));
  }
  ExpressionPointer made = make(ExpressionKind::kSlice, line, std::move(operand));
  made->operands.push_back(std::move(first));
  stream_.take();
  made->operands.push_back(part());
  made->operands.push_back(stream_.skip_operator(":") ? part() : nullptr);
  stream_.expect_operator("]");
  return finished(std::move(made));
}

void ExpressionParser::argument(ArgumentList& list) {
  const bool spread = list.spread != nullptr || list.spread_named != nullptr;
  if (stream_.is_operator("*") && !spread) {
    stream_.take();
    list.spread = conditional();
  } else if (stream_.is_operator("**") && list.spread_named == nullptr) {
    stream_.take();
    list.spread_named = conditional();
  } else if (stream_.is(TokenKind::kName) && stream_.next_is_operator("=") &&
             list.spread_named == nullptr) {
    std::string name = stream_.take().text;
    stream_.take();
    list.named.emplace_back(std::move(name), conditional());
  } else if (!spread && list.named.empty()) {
    list.positional.push_back(conditional());
  } else {
    stream_.fail("an argument without a name stands behind one with a name");
  }
}

ArgumentList ExpressionParser::arguments() {
  ArgumentList list;
  stream_.expect_operator("(");
  while (stream_.ok() && !stream_.is_operator(")")) {
    argument(list);
    if (!stream_.is_operator(")")) stream_.expect_operator(",");
  }
  stream_.expect_operator(")");
  return list;
}

ExpressionPointer ExpressionParser::call(ExpressionPointer operand) {
  ExpressionPointer made = make(ExpressionKind::kCall, stream_.now().line, std::move(operand));
  made->arguments = arguments();
  return finished(std::move(made));
}

std::string ExpressionParser::dotted_name() {
  std::string name = stream_.expect_name();
  while (stream_.skip_operator(".")) name += "." + stream_.expect_name();
  return name;
}

ExpressionPointer ExpressionParser::filters(ExpressionPointer operand, bool begun) {
  for (; stream_.ok() && (begun || stream_.is_operator("|")); begun = false) {
    if (!begun) stream_.take();
    ExpressionPointer made = make(ExpressionKind::kFilter, stream_.now().line, std::move(operand));
    made->text = dotted_name();
    if (stream_.is_operator("(")) made->arguments = arguments();
    operand = finished(std::move(made));
  }
  return operand;
}

ExpressionPointer ExpressionParser::test(ExpressionPointer operand) {
  const int line = stream_.take().line;
  const bool negated = stream_.skip_name("not");
  ExpressionPointer made = make(ExpressionKind::kTest, line, std::move(operand));
  made->text = dotted_name();
  const TokenKind kind = stream_.now().kind;
  const bool begins_value = kind == TokenKind::kString || kind == TokenKind::kInteger ||
                            kind == TokenKind::kFloat || stream_.is_operator("[") ||
                            stream_.is_operator("{") ||
                            (kind == TokenKind::kName && !stream_.is_name("else") &&
                             !stream_.is_name("or") && !stream_.is_name("and"));
  if (stream_.is_operator("(")) {
    made->arguments = arguments();
  } else if (stream_.is_name("is")) {
    stream_.fail("tests cannot be chained with \"is\"");
  } else if (begins_value) {
    made->arguments.positional.push_back(postfix(primary()));
  }
  made = finished(std::move(made));
  return negated ? finished(make(ExpressionKind::kNot, line, std::move(made))) : std::move(made);
}

}  // namespace

ExpressionPointer parse_expression(TokenStream& stream, bool with_conditional) {
  ExpressionParser parser(stream);
  return with_conditional ? parser.conditional() : parser.either();
}

ExpressionPointer parse_tuple(TokenStream& stream, bool with_conditional) {
  const Nesting nesting(stream);
  return ExpressionParser(stream).tuple(with_conditional, false);
}

ExpressionPointer parse_filters(TokenStream& stream, ExpressionPointer operand, bool begun) {
  return ExpressionParser(stream).filters(std::move(operand), begun);
}

}  // namespace fathom::text::jinja
// NOLINTEND(misc-no-recursion)
