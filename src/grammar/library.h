#pragma once

#include <memory>

#include "base/status.h"
#include "grammar/compiler.h"

// The one place that knows the library behind this layer (xgrammar); its exceptions end here.
namespace fathom::grammar {

// The vocabulary in the library's form.
//
// Threads: any.
class Library {
 public:
  // kInvalidArgument when sizes or ids do not fit one another.
  static Result<std::unique_ptr<Library>> create(const CompilerOptions& options);
  virtual ~Library() = default;

  struct Compiled {
    std::shared_ptr<const Grammar> grammar;
    std::size_t bytes = 0;  // of memory, roughly
  };
  // Takes as long as it takes; the bounds on sources keep that short.
  virtual Result<Compiled> compile(const Source& source) const = 0;
};

// A compiler with a library of the caller's; Compiler::create() brings its own.
std::unique_ptr<Compiler> make_compiler(const CompilerOptions& options,
                                        std::unique_ptr<Library> library);

// White space that a JSON grammar allows in one place, and before the value: enough to indent
// by 19. Each one costs about 2 ms of compilation with a vocabulary of 129,280.
constexpr int kMaxJsonBlanks = 20;

}  // namespace fathom::grammar
