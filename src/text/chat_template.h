#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "text/jinja/template.h"

namespace fathom::text {

// The chat template of a checkpoint of DeepSeek-V3, R1, V3.1 or V3.2-Exp, or one that an operator
// names. Prompts are what Hugging Face's apply_chat_template() makes of the messages as SGLang
// hands them over.
//
// Threads: immutable; render() may be called from any number of threads at once.
class ChatTemplate {
 public:
  // The contents of a checkpoint's files; empty when there is no such file.
  struct Files {
    std::string_view tokenizer_config = {};  // tokenizer_config.json: chat_template and tokens
    std::string_view chat_template = {};     // chat_template.jinja, which comes first
  };

  // The template of a checkpoint; null when it has none. kInvalidArgument names the file.
  static Result<std::shared_ptr<const ChatTemplate>> from_files(const Files& files);

  // What a server renders with, from the value of --chat-template (empty: not given) and the
  // tokenizer's place, a folder or a file in one. Null: DeepSeek-V3.2's own encoding
  // (chat_encoding.h), which `own_encoding` asks for and which a checkpoint without a template has;
  // a value of the flag comes before either. Like SGLang it takes a .jinja file without the line
  // ends around it and with "\n" written out read as a line end. kInvalidArgument for a value that
  // is no such file.
  static Result<std::shared_ptr<const ChatTemplate>> choose(
      const std::string& argument,
      const std::filesystem::path& tokenizer_path,
      bool own_encoding);

  // What a request brings beside its messages; all but `body` is resolved already.
  struct Request {
    // Read: tools, tool_choice, chat_template_kwargs, reasoning_effort. Outlives the call.
    const Json* body = nullptr;
    std::span<const Json> messages = {};
    // Set for the template under both names that are in use, unless it is off and was not asked
    // for, or chat_template_kwargs sets the name itself.
    bool thinking = false;
  };

  // The prompt with its beginning of an answer. Messages are OpenAI's, made ready as SGLang does:
  //
  // - Members that are null are left out, but for content, which becomes empty.
  // - Content in parts is joined to one text by a blank, unless the template goes through parts
  //   itself; a tool's always is.
  // - Arguments of tool calls must be a JSON object or a text that is one. A template gets objects,
  //   or the text, exactly as it was given, when it can do nothing else with it
  //   (takes_argument_text()).
  // - Tools are those of the request, only the one that tool_choice names, or none with "none".
  //
  // kInvalidArgument names the message or tells what the template says.
  Result<std::string> render(const Request& request) const;

  // Whether arguments of tool calls are put into the prompt as text, as DeepSeek's own templates do
  // ("…" + call.function.arguments), which works on no object.
  bool takes_argument_text() const { return argument_text_; }

 private:
  struct Tokens {
    std::optional<std::string> bos;
    std::optional<std::string> eos;
    std::optional<std::string> pad;
  };

  ChatTemplate(jinja::Template main, Tokens tokens);
  static Result<std::shared_ptr<const ChatTemplate>>
  make(std::string_view source, const std::optional<std::string>& with_tools, Tokens tokens);
  static Result<Tokens> read_tokens(std::string_view tokenizer_config);

  // Whether tool calls have to be given with their arguments as text.
  bool probe_argument_text() const;
  Result<Json> prepared(const Json& message, bool takes_parts) const;
  Result<Json> prepared_call(const Json& call) const;
  Json::Object variables(Json messages, const Json* tools) const;
  const jinja::Template& template_for(const Json* tools) const;

  jinja::Template main_;
  std::optional<jinja::Template> with_tools_;  // the one named tool_use, for requests with tools
  Tokens tokens_;
  bool argument_text_ = false;
};

}  // namespace fathom::text
