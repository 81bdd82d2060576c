#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace fathom::text::jinja {

// A variable's place in Syntax::names.
using NameId = std::uint32_t;

enum class ExpressionKind : std::uint8_t {
  kConstant,     // constant
  kName,         // name
  kList,         // operands
  kTuple,        // operands
  kDict,         // operands: key, value, key, value …
  kAttribute,    // operands[0].text
  kItem,         // operands[0][operands[1]]
  kSlice,        // operands[0][operands[1]:operands[2]:operands[3]], null where left out
  kCall,         // operands[0](arguments)
  kFilter,       // operands[0]|text(arguments); operands[0] is null for the text of a block
  kTest,         // operands[0] is text(arguments)
  kNegative,     // -operands[0]
  kPositive,     // +operands[0]
  kArithmetic,   // operands with operators between them, from the left
  kConcat,       // operands ~ …
  kAnd,          // operands and …
  kOr,           // operands or …
  kNot,          // not operands[0]
  kCompare,      // operands with operators between them, as a chain
  kConditional,  // operands[0] if operands[1] else operands[2], which may be null
};

enum class Operator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Expression;
using ExpressionPointer = std::unique_ptr<Expression>;

struct ArgumentList {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<std::string, ExpressionPointer>> named;
  ExpressionPointer spread;        // *operand
  ExpressionPointer spread_named;  // **operand
};

struct Expression {
  ExpressionKind kind;
  int line;
  int depth = 1;
  NameId name = 0;
  std::string text = {};
  Value constant = {};
  std::vector<ExpressionPointer> operands = {};
  std::vector<Operator> operators = {};
  ArgumentList arguments = {};
};

// What is assigned to: one name, an attribute of a namespace, or several targets.
struct Target {
  enum class Kind : std::uint8_t { kName, kAttribute, kSeveral };
  Kind kind = Kind::kName;
  NameId name = 0;
  std::string attribute = {};
  std::vector<Target> parts = {};
};

enum class StatementKind : std::uint8_t {
  kText,   // text
  kPrint,  // expressions, one after the other
  kIf,     // branches; the last one's condition may be null
  kFor,    // target, expressions[0] (the items), expressions[1] (a condition or null), body, other
  kSet,    // target = expressions[0]
  kSetBlock,  // target = the text of body through expressions[0], which may be null
  kWith,      // targets = expressions, around body
  kFilter,    // the text of body through expressions[0]
  kScope,     // body, with variables of its own
  kMacro,     // macro
  kBreak,
  kContinue,
};

struct Statement;
using Body = std::vector<Statement>;

struct Parameter {
  NameId name;
  std::string spelling;
  ExpressionPointer initial;  // null: none
};

struct MacroSyntax {
  std::string name;
  NameId id = 0;
  std::vector<Parameter> parameters;
  Body body;
  // Whether the body asks for these, and with that allows more arguments.
  bool takes_varargs = false;
  bool takes_kwargs = false;
};

struct Branch {
  ExpressionPointer condition;
  Body body;
};

struct Statement {
  StatementKind kind;
  int line;
  std::string text = {};
  Target target = {};
  std::vector<Target> targets = {};
  std::vector<ExpressionPointer> expressions = {};
  Body body = {};
  Body other = {};  // of a loop that never ran
  std::vector<Branch> branches = {};
  std::unique_ptr<MacroSyntax> macro = {};
  bool uses_loop = false;  // the variable `loop` occurs inside
};

// A parsed template.
struct Syntax {
  Body body;
  std::vector<std::string> names;  // of all variables, by NameId
  // Names that the language itself gives a meaning.
  NameId loop = 0;
  NameId varargs = 0;
  NameId kwargs = 0;
};

}  // namespace fathom::text::jinja
