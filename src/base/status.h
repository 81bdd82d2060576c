#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace fathom {

// Why an operation failed. The API layer maps each code to one HTTP status; a router reads
// kUnavailable as "another instance may do it".
enum class Code : std::uint8_t {
  kOk,
  kCancelled,
  kDeadlineExceeded,
  kInvalidArgument,    // the caller's input; no retry can help
  kResourceExhausted,  // no pages, slots or bandwidth: later may work
  kUnavailable,        // a file, a peer or a device is gone
  kInternal,           // a bug here; never retried
};

// "invalid argument", "unavailable" …: for messages and logs.
std::string_view code_name(Code code);

// The outcome of an operation that the world can refuse. A message names the operand, the value
// it had and the value wanted; each level puts where it was in front: "config.json: vocab_size: …".
class [[nodiscard]] Status {
 public:
  Status() = default;
  // Requires code != kOk.
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {
    FATHOM_CHECK(code != Code::kOk);
  }
  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same failure, told from one level further out: "`where`: message". ok() stays ok().
  Status in(std::string_view where) const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

inline Status invalid_argument(std::string message) {
  return {Code::kInvalidArgument, std::move(message)};
}

// A value, or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  // Requires !status.ok().
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    FATHOM_CHECK(!status_.ok());
  }
  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  // Each requires ok().
  T& value() & { return checked(); }
  const T& value() const& {
    FATHOM_CHECK_MSG(ok(), status_.message());
    return *value_;
  }
  T&& value() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return checked(); }
  const T& operator*() const& { return value(); }

 private:
  T& checked() {
    FATHOM_CHECK_MSG(ok(), status_.message());
    return *value_;
  }

  std::optional<T> value_;
  Status status_;
};

}  // namespace fathom

// Leaves the enclosing function with the Status of `expression` when that is a failure.
#define FATHOM_RETURN_IF_ERROR(expression)                                  \
  do {                                                                      \
    if (::fathom::Status status_or_ok = (expression); !status_or_ok.ok()) { \
      return status_or_ok;                                                  \
    }                                                                       \
  } while (false)
