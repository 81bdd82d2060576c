#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "text/jinja/limits.h"

namespace fathom::text::jinja {

struct Syntax;

// A template in the part of Jinja that chat templates are written in
// (docs/decisions/0021-jinja-subset.md), set up as Hugging Face's apply_chat_template() does it:
// trim_blocks and lstrip_blocks, break and continue, tojson that keeps non-ASCII text and does not
// escape HTML, raise_exception() and strftime_now(), values that cannot be changed. It reads no
// files and has no regular expressions.
//
// Source: the documentation of Jinja 3.1 and of Python; compared with both by
// text_jinja_oracle_test.
//
// Threads: immutable; render() may be called from any number of threads at once.
class Template {
 public:
  // kInvalidArgument says what is wrong and where: "line 3: …".
  static Result<Template> parse(std::string_view source, const Limits& limits = {});

  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // The text for the members of `variables`, which must be an object. A failure is
  // kInvalidArgument, "line 3: …": the template raised it, or it did not fit the variables, or it
  // passed a limit.
  Result<std::string> render(const Json& variables, const Limits& limits = {}) const;

  // Whether the template goes through the parts of a message's content ("for part in
  // message.content"), so that a content of several parts is for it to render.
  bool reads_content_parts() const;

 private:
  explicit Template(std::unique_ptr<const Syntax> syntax);

  std::unique_ptr<const Syntax> syntax_;
};

}  // namespace fathom::text::jinja
