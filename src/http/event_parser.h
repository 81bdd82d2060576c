#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace fathom::http {

// Splits a text/event-stream into the data of its events. Other fields and comments are skipped.
//
// Threads: an ordinary value.
class EventParser {
 public:
  // Appends bytes, cut anywhere; calls `on_data` for each complete event with its data lines joined
  // by '\n'. Returns false as soon as on_data does; the rest of `bytes` is dropped then.
  bool push(std::string_view bytes, const std::function<bool(std::string_view data)>& on_data);

  // Bytes of the event that is not complete yet.
  std::size_t pending_bytes() const { return line_.size() + data_.size(); }

 private:
  bool end_line(const std::function<bool(std::string_view data)>& on_data);

  std::string line_;  // the one that has no end yet
  std::string data_;
  bool has_data_ = false;
  bool after_cr_ = false;  // a '\n' that comes next belongs to the line end before
};

}  // namespace fathom::http
