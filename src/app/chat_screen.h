#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

namespace fathom::app {

// What a chat shows: answers on one stream, remarks on the other; reasoning and remarks dimmed
// where there are colours.
class ChatScreen {
 public:
  struct Look {
    bool terminal = false;  // a person reads both streams and types: there are prompts
    bool colours = false;
    bool reasoning = false;  // what the model thinks is shown too
  };
  ChatScreen(std::ostream& out, std::ostream& err, const Look& look);

  bool terminal() const { return look_.terminal; }
  void prompt();
  void remark(std::string_view text);
  void text(std::string_view text, bool reasoning);
  // Ends the line of an answer that was shown.
  void end_answer();

 private:
  void dim(bool on);
  std::string printable(std::string_view text) const;

  std::ostream& out_;
  std::ostream& err_;
  Look look_;
  bool dim_ = false;
  bool line_open_ = false;
};

// Lines from a descriptor, with signals noticed while waiting.
class LineReader {
 public:
  enum class Outcome : unsigned char { kLine, kEnd, kInterrupted };
  explicit LineReader(int input) : input_(input) {}
  // Without its end. A line that ends in a backslash goes on in the next one.
  Outcome read(std::string& line);

 private:
  int input_;
  std::string buffer_;
};

}  // namespace fathom::app
