#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/refusal.h"
#include "base/json.h"
#include "wire/messages.h"

namespace fathom::api {

// A number's range as a reader wants it; `text` says it to people: "at least 0".
struct Range {
  double least = 0;
  double most = 0;
  std::string_view text;
  bool least_excluded = false;
};

// Texts that name something (a request, a model, a cache's part) and are copied for each sample or
// answer's piece.
inline constexpr std::size_t kMaxNameBytes = 1024;
std::optional<Refusal> check_name(std::string_view field, std::string_view text);

// Reads the members of a request body. A member that is missing or null gives the fallback. The
// first member that cannot be used decides refusal(), and everything after it still gives values,
// so a reader asks once, at the end. Members that nobody reads are ignored, as SGLang does.
//
// Threads: one at a time.
class FieldReader {
 public:
  // Borrows `body`. `where` precedes the names in messages: "sampling_params.". Requires
  // body.is_object().
  explicit FieldReader(const Json& body, std::string where = "");

  // The member when it is there and not null.
  const Json* find(std::string_view name) const { return body_->find_set(name); }

  // Whether the member is there and null.
  bool says_null(std::string_view name) const;

  bool boolean(std::string_view name, bool fallback);
  std::string text(std::string_view name, std::string_view fallback);
  // A text of at most kMaxNameBytes.
  std::string name_text(std::string_view name, std::string_view fallback);
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t least, std::int64_t most);
  std::optional<double> number(std::string_view name, const Range& range);
  // Any whole number of 64 bits, with or without sign.
  std::optional<std::uint64_t> seed(std::string_view name);
  // An array of token ids below `vocab_size`.
  std::vector<wire::TokenId> token_ids(std::string_view name, std::int32_t vocab_size);
  // The member as an object; null when there is none.
  const Json* object(std::string_view name);

  // Refuses the member unless it is missing, null or `neutral`, since its feature does not exist.
  void not_built(std::string_view name);
  void not_built_unless(std::string_view name, bool neutral);
  void not_built_unless_false(std::string_view name) {
    not_built_unless(name, !boolean(name, false));
  }
  // … or an array or object without elements.
  void not_built_unless_empty(std::string_view name);

  // The member's name as messages tell it.
  std::string path(std::string_view name) const;

  void refuse(Refusal refusal);
  // "name: was VALUE, expected TEXT".
  void refuse_value(std::string_view name, const Json& value, std::string_view expected);
  void refuse_kind(std::string_view name, const Json& value, std::string_view wanted);
  bool ok() const { return !refusal_.has_value(); }
  const std::optional<Refusal>& refusal() const { return refusal_; }

 private:
  const Json* body_;
  std::string where_;
  std::optional<Refusal> refusal_;
};

// The ids in `value`, which must be an array of whole numbers in [0, vocab_size). `name` is for the
// message.
std::optional<Refusal> read_token_ids(const Json& value,
                                      std::string_view name,
                                      std::int32_t vocab_size,
                                      std::vector<wire::TokenId>& out);

// What Python's bool() says of a value.
bool truthy(const Json& value);

// A value for a message, cut where it is long.
std::string brief(const Json& value);

}  // namespace fathom::api
