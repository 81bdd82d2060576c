#include "app/chat_screen.h"

#include <array>
#include <cerrno>
#include <ostream>
#include <unistd.h>

namespace fathom::app {

namespace {

constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kPlain = "\x1b[0m";

}  // namespace

ChatScreen::ChatScreen(std::ostream& out, std::ostream& err, const Look& look)
    : out_(out), err_(err), look_(look) {}

void ChatScreen::dim(bool on) {
  if (look_.colours && on != dim_) out_ << (on ? kDim : kPlain);
  dim_ = on;
}

// An answer must not be able to give orders to the terminal.
std::string ChatScreen::printable(std::string_view text) const {
  std::string shown;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == '\x7f';
    if (!look_.terminal || !control || c == '\n' || c == '\t') shown += c;
  }
  return shown;
}

void ChatScreen::prompt() {
  if (look_.terminal) out_ << "> " << std::flush;
}

void ChatScreen::remark(std::string_view text) {
  if (look_.colours) {
    err_ << kDim << text << kPlain << "\n" << std::flush;
  } else {
    err_ << text << "\n" << std::flush;
  }
}

void ChatScreen::text(std::string_view text, bool reasoning) {
  if (reasoning && !look_.reasoning) return;
  // The answer begins on a line of its own, and without the blank lines that models leave there.
  if (dim_ && !reasoning) {
    dim(false);
    if (line_open_) out_ << "\n";
    line_open_ = false;
  }
  if (!line_open_) {
    const std::size_t begin = text.find_first_not_of('\n');
    if (begin == std::string_view::npos) return;
    text.remove_prefix(begin);
  }
  dim(reasoning);
  line_open_ = true;
  out_ << printable(text) << std::flush;
}

void ChatScreen::end_answer() {
  dim(false);
  if (line_open_) out_ << "\n";
  out_ << std::flush;
  line_open_ = false;
}

LineReader::Outcome LineReader::read(std::string& line) {
  line.clear();
  while (true) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      line.append(buffer_, 0, end);
      buffer_.erase(0, end + 1);
      if (line.ends_with('\r')) line.pop_back();
      if (!line.ends_with('\\')) return Outcome::kLine;
      line.back() = '\n';
      continue;
    }
    std::array<char, 4096> bytes{};
    const ssize_t count = ::read(input_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) return Outcome::kInterrupted;
    if (count <= 0) {
      line += buffer_;
      buffer_.clear();
      return line.empty() ? Outcome::kEnd : Outcome::kLine;
    }
    buffer_.append(bytes.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace fathom::app
