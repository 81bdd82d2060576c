#include <algorithm>
#include <functional>
#include <map>

#include <simdjson.h>

#include "base/json.h"

namespace fathom {
namespace {

namespace ondemand = simdjson::ondemand;

// Where the bytes stop being UTF-8. Requires that they do.
std::size_t valid_prefix(std::string_view text) {
  constexpr std::size_t kBlockBytes = 4096;
  const auto valid = [text](std::size_t begin, std::size_t end) {
    return simdjson::validate_utf8(text.data() + begin, end - begin);
  };
  std::size_t at = 0;
  while (at + kBlockBytes < text.size()) {
    std::size_t end = at + kBlockBytes;
    // A block must not end inside a character.
    for (int i = 0; i < 3 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80; ++i) --end;
    if (!valid(at, end)) break;
    at = end;
  }
  while (at < text.size()) {
    std::size_t size = 1;
    while (size <= 4 && at + size <= text.size() && !valid(at, at + size)) ++size;
    if (size > 4 || at + size > text.size()) break;
    at += size;
  }
  return at;
}

// Where the first control character inside a string is, else where the last string begins, which is
// the one that is not closed.
std::size_t string_fault(std::string_view text) {
  std::size_t begin = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      inside = !inside;
      begin = i;
    } else if (inside && c == '\\') {
      ++i;
    } else if (inside && static_cast<unsigned char>(c) < 0x20) {
      return i;
    }
  }
  return begin;
}

// Finds the members of one object by key while it grows, in time that does not depend on what the
// keys are: by comparing while there are few, by order afterwards.
class MemberPlaces {
 public:
  // The value of `key`, a new member where there was none.
  Json& slot(Json::Object& members, std::string_view key) {
    if (members.size() < kComparedMembers) {
      for (JsonMember& member : members) {
        if (member.key == key) return member.value;
      }
      return append(members, key);
    }
    for (; indexed_ < members.size(); ++indexed_) places_.emplace(members[indexed_].key, indexed_);
    const auto found = places_.find(key);
    return found != places_.end() ? members[found->second].value : append(members, key);
  }

 private:
  static constexpr std::size_t kComparedMembers = 16;

  static Json& append(Json::Object& members, std::string_view key) {
    return members.emplace_back(JsonMember{std::string(key), Json()}).value;
  }

  std::map<std::string, std::size_t, std::less<>> places_;
  std::size_t indexed_ = 0;
};

// Builds the tree from simdjson's On-Demand walk, which checks each token when it is reached.
//
// On-Demand treats a scalar that is the whole document apart from every other value, so the text is
// parsed as the one element of an array: `buffer_` is "[" + text + "]".
class Builder {
 public:
  Builder(std::string_view text, const JsonLimits& limits)
      : text_(text), limits_(limits), buffer_(text.size() + 2) {
    char* const begin = buffer_.data();
    FATHOM_CHECK_MSG(begin != nullptr, "no memory for JSON text");
    begin[0] = '[';
    std::copy(text.begin(), text.end(), begin + 1);
    begin[text.size() + 1] = ']';
  }

  Result<Json> build() {
    if (const auto error = parser_.iterate(buffer_).get(document_)) return whole_failure(error);
    ondemand::array wrapper;
    if (document_.get_array().get(wrapper)) return failure("expected a value");
    Json result;
    std::size_t count = 0;
    for (auto element : wrapper) {
      ondemand::value value;
      if (element.get(value)) return failure("expected the end of the text");
      if (count++ > 0) return refused(value, "expected the end of the text");
      FATHOM_RETURN_IF_ERROR(read(value, /*depth=*/0, result));
    }
    if (count == 0) return invalid_argument("not valid JSON: expected a value, the text is blank");
    // What follows means that the text closed our bracket. That bracket is the last thing read.
    const char* rest = nullptr;
    if (document_.current_location().get(rest) == simdjson::SUCCESS) {
      do {
        --rest;
      } while (*rest != ']');
      return refused_at(rest, "expected the end of the text");
    }
    return result;
  }

 private:
  Status read(ondemand::value value, int depth, Json& out) {
    if (++values_ > limits_.max_values) {
      return refused(value, "more than " + std::to_string(limits_.max_values) + " values");
    }
    ondemand::json_type type{};
    if (value.type().get(type)) return refused(value, "expected a value");
    switch (type) {
      case ondemand::json_type::null:
        return read_null(value);
      case ondemand::json_type::boolean:
        return read_bool(value, out);
      case ondemand::json_type::number:
        return read_number(value, out);
      case ondemand::json_type::string:
        return read_string(value, out);
      case ondemand::json_type::array:
      case ondemand::json_type::object:
        break;
    }
    if (depth >= limits_.max_depth) {
      return refused(value, "nested deeper than " + std::to_string(limits_.max_depth) + " levels");
    }
    return type == ondemand::json_type::array ? read_array(value, depth, out)
                                              : read_object(value, depth, out);
  }

  Status read_null(ondemand::value value) {
    bool is_null = false;
    const bool failed = value.is_null().get(is_null) != simdjson::SUCCESS;
    return failed || !is_null ? refused(value, "expected a value") : Status();
  }

  Status read_bool(ondemand::value value, Json& out) {
    bool truth = false;
    if (value.get_bool().get(truth)) return refused(value, "expected a value");
    out = Json::boolean(truth);
    return {};
  }

  // The token itself: simdjson's own number types end at 64 bits.
  Status read_number(ondemand::value value, Json& out) {
    std::string_view token = value.raw_json_token();
    token = token.substr(0, token.find_last_not_of(" \t\r\n") + 1);
    if (token.size() > limits_.max_number_bytes) {
      return refused(value, "a number of more than " + std::to_string(limits_.max_number_bytes) +
                                " characters");
    }
    std::optional<Json> number = Json::number_from_text(token);
    if (!number.has_value()) return refused(value, "this is no number");
    out = std::move(*number);
    return {};
  }

  Status read_string(ondemand::value value, Json& out) {
    std::string_view text;
    const char* const begin = value.raw_json_token().data();
    if (const auto error = value.get_string().get(text)) return bad_string(begin, error);
    out = Json::string(std::string(text));
    return {};
  }

  Status read_array(ondemand::value value, int depth, Json& out) {
    ondemand::array array;
    if (value.get_array().get(array)) return failure("expected an array");
    Json::Array elements;
    for (auto element : array) {
      ondemand::value child;
      if (element.get(child)) return failure("expected ',' or ']'");
      FATHOM_RETURN_IF_ERROR(read(child, depth + 1, elements.emplace_back()));
    }
    out = Json::array(std::move(elements));
    return {};
  }

  Status read_object(ondemand::value value, int depth, Json& out) {
    ondemand::object object;
    if (value.get_object().get(object)) return failure("expected an object");
    Json::Object members;
    MemberPlaces places;
    for (auto field : object) {
      if (field.error()) return failure("expected '}', or ',' and a member: \"key\": value");
      const char* const begin = field.key().value_unsafe().raw() - 1;
      std::string_view key;
      if (const auto error = field.unescaped_key().get(key)) return bad_string(begin, error);
      ondemand::value child;
      if (field.value().get(child)) return failure("expected a value");
      Json& slot = places.slot(members, key);
      slot = Json();
      FATHOM_RETURN_IF_ERROR(read(child, depth + 1, slot));
    }
    out = Json::object(std::move(members));
    return {};
  }

  static Status bad_text(std::size_t at, std::string_view what) {
    return invalid_argument("not valid JSON at byte " + std::to_string(at) + ": " +
                            std::string(what));
  }

  // A failure at a place in the buffer.
  Status refused_at(const char* place, std::string_view what) const {
    const auto offset = static_cast<std::size_t>(place - buffer_.data());
    // The bracket in front is ours; so is the one at the end, where a text that stops early fails.
    const std::size_t at = offset == 0 ? 0 : std::min(offset - 1, text_.size());
    return bad_text(at, at == text_.size() ? "the text ends too early" : what);
  }

  Status refused(ondemand::value value, std::string_view what) const {
    return refused_at(value.raw_json_token().data(), what);
  }

  Status bad_string(const char* begin, simdjson::error_code error) const {
    return refused_at(begin, error == simdjson::STRING_ERROR
                                 ? "the string has an escape that means nothing"
                                 : "expected a string");
  }

  // A failure of the structure, met where the walk is.
  Status failure(std::string_view what) {
    const char* place = nullptr;
    if (document_.current_location().get(place)) place = buffer_.data() + buffer_.size();
    return refused_at(place, what);
  }

  // A failure of the text as a whole, found before the walk.
  Status whole_failure(simdjson::error_code error) const {
    switch (error) {
      case simdjson::UTF8_ERROR:
        return bad_text(valid_prefix(text_), "this is not UTF-8");
      case simdjson::UNCLOSED_STRING:
        return bad_text(string_fault(text_), "the string is not closed");
      case simdjson::UNESCAPED_CHARS:
        return bad_text(string_fault(text_), "a control character in a string must be escaped");
      case simdjson::CAPACITY:
      case simdjson::MEMALLOC:
        return {Code::kResourceExhausted,
                "no memory to read " + std::to_string(text_.size()) + " bytes of JSON"};
      default:
        return invalid_argument(std::string("not valid JSON: ") + simdjson::error_message(error));
    }
  }

  std::string_view text_;
  const JsonLimits& limits_;
  simdjson::padded_string buffer_;
  ondemand::parser parser_;
  ondemand::document document_;
  std::size_t values_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return invalid_argument("the JSON text has " + std::to_string(text.size()) +
                            " bytes, at most " + std::to_string(limits.max_bytes) + " are read");
  }
  return Builder(text, limits).build();
}

}  // namespace fathom
