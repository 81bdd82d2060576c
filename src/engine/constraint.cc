#include "engine/constraint.h"

#include <string>
#include <utility>

#include "base/check.h"

namespace fathom::engine {

namespace {

grammar::Kind kind_of(wire::ConstraintKind kind) {
  switch (kind) {
    case wire::ConstraintKind::kRegex:
      return grammar::Kind::kRegex;
    case wire::ConstraintKind::kEbnf:
      return grammar::Kind::kEbnf;
    case wire::ConstraintKind::kStructuralTag:
      return grammar::Kind::kStructuralTag;
    default:
      return grammar::Kind::kJsonSchema;
  }
}

}  // namespace

Status ask_for_constraint(grammar::Compiler* compiler,
                          std::function<void()> wake,
                          Sequence& sequence) {
  wire::Constraint& constraint = sequence.request.constraint;
  if (constraint.kind == wire::ConstraintKind::kNone) return {};
  if (compiler == nullptr) {
    return invalid_argument(
        "the request constrains its answer by a grammar; this instance compiles none");
  }
  const grammar::Source source{kind_of(constraint.kind), std::exchange(constraint.text, {})};
  sequence.compilation = compiler->compile(source, std::move(wake));
  return {};
}

Status take_constraint(Sequence& sequence) {
  const auto compilation = std::exchange(sequence.compilation, nullptr);
  FATHOM_CHECK(compilation != nullptr && compilation->done());
  const Result<std::shared_ptr<const grammar::Grammar>> grammar = compilation->result();
  FATHOM_RETURN_IF_ERROR(grammar.status());
  sequence.matcher = (*grammar)->new_matcher();
  sequence.constrained = sequence.request.constraint.begins_after < 0;
  return {};
}

Status advance_constraint(Sequence& sequence, wire::TokenId token) {
  if (sequence.matcher == nullptr) return {};
  if (!sequence.constrained) {
    sequence.constrained = token == sequence.request.constraint.begins_after;
    return {};
  }
  const bool taken = sequence.matcher->accept(token);
  if (sequence.matcher->too_slow() && !sequence.matcher->finished()) {
    return {Code::kInvalidArgument, "the request's grammar is too slow to go on with"};
  }
  if (taken) return {};
  return {Code::kInternal,
          "token " + std::to_string(token) + " was drawn, which the grammar does not allow"};
}

bool constraint_ends(const Sequence& sequence) {
  return sequence.constrained && sequence.matcher->finished();
}

}  // namespace fathom::engine
