#include "text/json_scanner.h"

#include "base/json.h"

namespace fathom::text {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::size_t JsonScanner::push(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && state_ != State::kDone) {
    if (state_ == State::kString) {  // most of a long value
      while (at < text.size() && text[at] != '"' && text[at] != '\\' &&
             static_cast<unsigned char>(text[at]) >= 0x20) {
        ++at;
      }
      if (at == text.size()) break;
    }
    if (!step(text[at])) {
      become(State::kBroken);
      break;
    }
    if (state_ == State::kDone && closers_.empty() && number_bytes_ != 0) break;
    ++at;
  }
  return at;
}

// False: `c` cannot come here.
bool JsonScanner::step(char c) {
  switch (state_) {
    case State::kValue:
    case State::kFirstElement:
    case State::kFirstKey:
    case State::kKey:
    case State::kColon:
    case State::kNext:
      if (is_blank(c)) return true;
      break;
    default:
      break;
  }
  switch (state_) {
    case State::kFirstElement:
      if (c == ']') return end_container(c);
      return start_value(c);
    case State::kValue:
      return start_value(c);
    case State::kFirstKey:
      if (c == '}') return end_container(c);
      [[fallthrough]];
    case State::kKey:
      key_ = true;
      become(State::kString);
      return c == '"';
    case State::kColon:
      become(State::kValue);
      return c == ':';
    case State::kNext:
      if (c != ',') return end_container(c);
      become(closers_.back() == '}' ? State::kKey : State::kValue);
      return true;
    case State::kWord:
      if (c != word_.front()) return false;
      word_.remove_prefix(1);
      if (word_.empty()) end_value();
      return true;
    case State::kString:
    case State::kEscape:
    case State::kHex:
    case State::kLowSurrogate:
    case State::kLowSurrogateMark:
      return string_step(c);
    case State::kDone:
    case State::kBroken:
      return false;
    default:
      return number_step(c);
  }
}

bool JsonScanner::start_value(char c) {
  number_bytes_ = 0;
  switch (c) {
    case '{':
      become(State::kFirstKey);
      return open('}');
    case '[':
      become(State::kFirstElement);
      return open(']');
    case '"':
      key_ = false;
      become(State::kString);
      return true;
    case 't':
      word_ = "rue";
      break;
    case 'f':
      word_ = "alse";
      break;
    case 'n':
      word_ = "ull";
      break;
    default:
      number_bytes_ = 1;
      if (c == '-') {
        become(State::kNumberSign);
      } else if (c == '0') {
        become(State::kNumberZero);
      } else {
        become(State::kNumberWhole);
        return is_digit(c);
      }
      return true;
  }
  become(State::kWord);
  return true;
}

bool JsonScanner::open(char closer) {
  closers_.push_back(closer);
  return closers_.size() <= static_cast<std::size_t>(JsonLimits{}.max_depth);
}

bool JsonScanner::end_container(char c) {
  if (closers_.empty() || closers_.back() != c) return false;
  closers_.pop_back();
  number_bytes_ = 0;
  end_value();
  return true;
}

void JsonScanner::end_value() { become(closers_.empty() ? State::kDone : State::kNext); }

bool JsonScanner::string_step(char c) {
  switch (state_) {
    case State::kString:
      if (c == '"') {
        if (key_) {
          become(State::kColon);
        } else {
          end_value();
        }
        return true;
      }
      if (c == '\\') become(State::kEscape);
      return static_cast<unsigned char>(c) >= 0x20;
    case State::kEscape:
      if (c == 'u') {
        hex_ = 0;
        hex_digits_ = 0;
        second_half_ = false;
        become(State::kHex);
        return true;
      }
      become(State::kString);
      return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
    case State::kLowSurrogate:
      become(State::kLowSurrogateMark);
      return c == '\\';
    case State::kLowSurrogateMark:
      hex_ = 0;
      hex_digits_ = 0;
      second_half_ = true;
      become(State::kHex);
      return c == 'u';
    default:
      return hex_step(c);
  }
}

bool JsonScanner::hex_step(char c) {
  const int value = hex_value(c);
  if (value < 0) return false;
  hex_ = hex_ << 4 | static_cast<std::uint32_t>(value);
  if (++hex_digits_ < 4) return true;
  const bool low = hex_ >= 0xDC00 && hex_ <= 0xDFFF;
  if (low != second_half_) return false;
  become(hex_ >= 0xD800 && hex_ <= 0xDBFF ? State::kLowSurrogate : State::kString);
  return true;
}

// A byte that does not go on with a number that may end here is the next thing's.
bool JsonScanner::number_step(char c) {
  const bool digit = is_digit(c);
  const bool of_number = digit || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
  if (of_number && ++number_bytes_ > JsonLimits{}.max_number_bytes) return false;
  switch (state_) {
    case State::kNumberSign:
      become(c == '0' ? State::kNumberZero : State::kNumberWhole);
      return digit;
    case State::kNumberPoint:
      become(State::kNumberFraction);
      return digit;
    case State::kNumberExponent:
      if (c == '+' || c == '-') {
        become(State::kNumberExponentSign);
        return true;
      }
      [[fallthrough]];
    case State::kNumberExponentSign:
      become(State::kNumberPower);
      return digit;
    case State::kNumberWhole:
    case State::kNumberFraction:
    case State::kNumberPower:
      if (digit) return true;
      break;
    default:
      break;
  }
  const bool whole = state_ == State::kNumberZero || state_ == State::kNumberWhole;
  if (c == '.' && whole) {
    become(State::kNumberPoint);
    return true;
  }
  if ((c == 'e' || c == 'E') && state_ != State::kNumberPower) {
    become(State::kNumberExponent);
    return true;
  }
  end_value();
  if (state_ == State::kDone) return true;  // `c` is left to the caller
  number_bytes_ = 0;
  return step(c);
}

}  // namespace fathom::text
