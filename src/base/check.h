#pragma once

namespace fathom {

// Prints the place and the broken condition to standard error and aborts the process.
// `detail` may be nullptr.
[[noreturn]] void check_failed(const char* file,
                               int line,
                               const char* condition,
                               const char* detail);

}  // namespace fathom

// An invariant of ours: broken only by a bug here, never by input. Always on.
#define FATHOM_CHECK(condition)                        \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::fathom::check_failed(__FILE__, __LINE__, #condition, nullptr))

// The same with a sentence that helps whoever reads the crash; it is evaluated only on failure.
#define FATHOM_CHECK_MSG(condition, detail) \
  (static_cast<bool>(condition)             \
       ? static_cast<void>(0)               \
       : ::fathom::check_failed(__FILE__, __LINE__, #condition, std::string(detail).c_str()))
