#pragma once

#include <functional>

#include "base/status.h"
#include "engine/sequence.h"
#include "grammar/compiler.h"

// The life of a sequence's constraint: asked for, compiled, asleep until its begin, then in step
// with the answer's tokens.
namespace fathom::engine {

// Asks for the compilation of the request's constraint, if it has one; `wake` is called from any
// thread when it is done. kInvalidArgument without a compiler.
Status ask_for_constraint(grammar::Compiler* compiler,
                          std::function<void()> wake,
                          Sequence& sequence);

// Makes the matcher. Whatever the compilation's failure was is the request's. Requires
// sequence.compilation->done().
Status take_constraint(Sequence& sequence);

// The answer has another token. kInternal when the grammar did not allow it, kInvalidArgument
// when its next steps would hold up other answers.
Status advance_constraint(Sequence& sequence, wire::TokenId token);

// Whether the constraint ends the answer.
bool constraint_ends(const Sequence& sequence);

}  // namespace fathom::engine
