#include "text/chat_template.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/file.h"
#include "text/chat_encoding.h"
#include "text/python_json.h"
#include "text/tokenizer_json.h"

namespace fathom::text {

namespace {

constexpr std::int64_t kMostFileBytes = std::int64_t{16} << 20;
constexpr std::string_view kConfigFile = "tokenizer_config.json";
constexpr std::string_view kTemplateFile = "chat_template.jinja";

using Shared = std::shared_ptr<const ChatTemplate>;

// The file's contents; empty when there is none.
Result<std::string> read_if_there(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::string();
  Result<std::string> text = read_small_file(path, kMostFileBytes);
  if (!text.ok()) return text.status().in(path.string());
  return text;
}

// The sources that a tokenizer_config.json holds: for all requests, and for those with tools.
struct Sources {
  std::optional<std::string> main;
  std::optional<std::string> with_tools;
};

Result<Sources> read_sources(std::string_view tokenizer_config) {
  Sources sources;
  if (tokenizer_config.empty()) return sources;
  const Result<Json> config = parse_json(tokenizer_config);
  FATHOM_RETURN_IF_ERROR(config.status());
  const Json* const given = config->find_set("chat_template");
  if (given == nullptr) return sources;
  if (const std::string* source = given->as_string()) {
    sources.main = *source;
    return sources;
  }
  if (!given->is_array()) {
    return invalid_argument("chat_template: " + wrong_json_kind("a string or an array", *given));
  }
  for (const Json& entry : *given->as_array()) {
    const Json* const name = entry.find("name");
    const Json* const source = entry.find("template");
    if (name == nullptr || !name->is_string() || source == nullptr || !source->is_string()) {
      return invalid_argument("chat_template: expected objects with a name and a template");
    }
    if (*name->as_string() == "default") sources.main = *source->as_string();
    if (*name->as_string() == "tool_use") sources.with_tools = *source->as_string();
  }
  if (!sources.main && !given->as_array()->empty()) {
    return invalid_argument("chat_template: none of the templates is named \"default\"");
  }
  return sources;
}

std::string without_line_ends(std::string text) {
  text.erase(0, std::min(text.find_first_not_of('\n'), text.size()));
  text.erase(text.find_last_not_of('\n') + 1);
  return text;
}

// SGLang reads "\n" in a template file as a line end wherever it stands.
std::string with_line_ends(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool spelled = text.compare(i, 2, "\\n") == 0;
    out += spelled ? '\n' : text[i];
    if (spelled) ++i;
  }
  return out;
}

Json string_member(std::string_view text) { return Json::string(std::string(text)); }

// A conversation with one call of a tool whose arguments are `arguments`.
Json probe_messages(Json arguments) {
  Json function = Json::object();
  function.set("name", string_member("probe"));
  function.set("arguments", std::move(arguments));
  Json call = Json::object();
  call.set("id", string_member("call_0"));
  call.set("type", string_member("function"));
  call.set("function", std::move(function));
  const auto message = [](std::string_view role, std::string_view content) {
    Json made = Json::object();
    made.set("role", string_member(role));
    made.set("content", string_member(content));
    return made;
  };
  Json asking = message("assistant", "");
  asking.set("tool_calls", Json::array({std::move(call)}));
  Json result = message("tool", "r");
  result.set("tool_call_id", string_member("call_0"));
  return Json::array({message("user", "q"), std::move(asking), std::move(result)});
}

// The tools that a request offers: those that it has, unless tool_choice takes them away.
std::optional<Json> offered_tools(const Json& body) {
  const Json* const tools = body.find_set("tools");
  if (tools == nullptr || !tools->is_array() || tools->as_array()->empty()) return std::nullopt;
  const Json* const choice = body.find_set("tool_choice");
  if (choice == nullptr) return *tools;
  if (const std::string* word = choice->as_string()) {
    if (*word == "none") return std::nullopt;
    return *tools;
  }
  const Json* const function = choice->find("function");
  const Json* const name = function == nullptr ? nullptr : function->find("name");
  if (name == nullptr) return *tools;
  Json::Array chosen;
  for (const Json& tool : *tools->as_array()) {
    const Json* const described = tool.find("function");
    const Json* const tool_name = described == nullptr ? nullptr : described->find("name");
    if (tool_name != nullptr && *tool_name == *name) chosen.push_back(tool);
  }
  return Json::array(std::move(chosen));
}

}  // namespace

ChatTemplate::ChatTemplate(jinja::Template main, Tokens tokens)
    : main_(std::move(main)), tokens_(std::move(tokens)) {}

Result<ChatTemplate::Tokens> ChatTemplate::read_tokens(std::string_view tokenizer_config) {
  if (tokenizer_config.empty()) return Tokens();
  Result<TokenizerConfig> config = parse_tokenizer_config(tokenizer_config);
  FATHOM_RETURN_IF_ERROR(config.status());
  return Tokens{std::move(config->bos_token), std::move(config->eos_token),
                std::move(config->pad_token)};
}

Result<Shared> ChatTemplate::make(std::string_view source,
                                  const std::optional<std::string>& with_tools,
                                  Tokens tokens) {
  Result<jinja::Template> main = jinja::Template::parse(source);
  FATHOM_RETURN_IF_ERROR(main.status());
  std::shared_ptr<ChatTemplate> made(new ChatTemplate(std::move(main).value(), std::move(tokens)));
  if (with_tools) {
    Result<jinja::Template> parsed = jinja::Template::parse(*with_tools);
    FATHOM_RETURN_IF_ERROR(parsed.status().ok() ? Status() : parsed.status().in("tool_use"));
    made->with_tools_ = std::move(parsed).value();
  }
  made->argument_text_ = made->probe_argument_text();
  return Shared(std::move(made));
}

Result<Shared> ChatTemplate::from_files(const Files& files) {
  Result<Sources> sources = read_sources(files.tokenizer_config);
  if (!sources.ok()) return sources.status().in(kConfigFile);
  Result<Tokens> tokens = read_tokens(files.tokenizer_config);
  if (!tokens.ok()) return tokens.status().in(kConfigFile);
  const bool own_file = !files.chat_template.empty();
  if (own_file) *sources = {std::string(files.chat_template), std::nullopt};
  if (!sources->main) return Shared();
  Result<Shared> made = make(*sources->main, sources->with_tools, std::move(tokens).value());
  if (made.ok()) return made;
  if (own_file) return made.status().in(kTemplateFile);
  return made.status().in("chat_template").in(kConfigFile);
}

Result<Shared> ChatTemplate::choose(const std::string& argument,
                                    const std::filesystem::path& tokenizer_path,
                                    bool own_encoding) {
  if (argument.empty() && own_encoding) return Shared();
  std::error_code error;
  // A tokenizer.json that is named itself is read alone, as the tokenizer is.
  const bool folder = std::filesystem::is_directory(tokenizer_path, error);
  std::string config;
  std::string file;
  if (folder) {
    Result<std::string> text = read_if_there(tokenizer_path / kConfigFile);
    FATHOM_RETURN_IF_ERROR(text.status());
    config = std::move(text).value();
  }
  if (argument.empty()) {
    if (folder) {
      Result<std::string> text = read_if_there(tokenizer_path / kTemplateFile);
      FATHOM_RETURN_IF_ERROR(text.status());
      file = std::move(text).value();
    }
    Result<Shared> made = from_files({config, file});
    if (made.ok()) return made;
    return Status(made.status().code(), made.status().in(tokenizer_path.string()).message() +
                                            " (--chat-template names another)");
  }
  const std::string where = "--chat-template " + argument;
  if (!std::filesystem::exists(argument, error)) {
    return invalid_argument(where +
                            ": there is no such file; the templates that SGLang has by "
                            "name are not built, give a .jinja file");
  }
  if (!argument.ends_with(".jinja")) {
    return invalid_argument(where +
                            ": expected a file named .jinja; templates described in JSON "
                            "are not built");
  }
  const Result<std::string> text = read_small_file(argument, kMostFileBytes);
  if (!text.ok()) return text.status().in(where);
  Result<Tokens> tokens = read_tokens(config);
  if (!tokens.ok()) return tokens.status().in((tokenizer_path / kConfigFile).string());
  Result<Shared> made =
      make(with_line_ends(without_line_ends(*text)), std::nullopt, std::move(tokens).value());
  if (!made.ok()) return made.status().in(where);
  return made;
}

Json::Object ChatTemplate::variables(Json messages, const Json* tools) const {
  Json::Object made;
  made.push_back({"messages", std::move(messages)});
  made.push_back({"tools", tools == nullptr ? Json() : *tools});
  made.push_back({"documents", Json()});
  made.push_back({"add_generation_prompt", Json::boolean(true)});
  if (tokens_.bos) made.push_back({"bos_token", Json::string(*tokens_.bos)});
  if (tokens_.eos) made.push_back({"eos_token", Json::string(*tokens_.eos)});
  if (tokens_.pad) made.push_back({"pad_token", Json::string(*tokens_.pad)});
  return made;
}

const jinja::Template& ChatTemplate::template_for(const Json* tools) const {
  return tools != nullptr && with_tools_ ? *with_tools_ : main_;
}

bool ChatTemplate::probe_argument_text() const {
  const std::string spelled = R"({"needle": "found"})";
  Json object = Json::object();
  object.set("needle", string_member("found"));
  const jinja::Template& tested = with_tools_ ? *with_tools_ : main_;
  const Result<std::string> of_object =
      tested.render(Json::object(variables(probe_messages(std::move(object)), nullptr)));
  // As Python prints a dict is no JSON, so that was not meant to be one.
  const bool takes_object =
      of_object.ok() && of_object->find("{'needle': 'found'}") == std::string::npos;
  if (takes_object) return false;
  const Result<std::string> of_text =
      tested.render(Json::object(variables(probe_messages(Json::string(spelled)), nullptr)));
  return of_text.ok() && of_text->find(spelled) != std::string::npos;
}

Result<Json> ChatTemplate::prepared_call(const Json& call) const {
  Json made = call;
  const Json* const function = call.find("function");
  const Json* const arguments = function == nullptr ? nullptr : function->find("arguments");
  if (arguments == nullptr) return made;
  Json given = *arguments;
  if (const std::string* text = arguments->as_string()) {
    Result<Json> parsed = parse_json(*text);
    if (!parsed.ok()) return parsed.status().in("function.arguments");
    if (!parsed->is_object()) {
      return invalid_argument("function.arguments: " + wrong_json_kind("an object", *parsed));
    }
    if (!argument_text_) given = std::move(parsed).value();
  } else if (!given.is_object()) {
    return invalid_argument("function.arguments: " + wrong_json_kind("an object", given));
  }
  if (argument_text_ && given.is_object()) {
    std::string text;
    append_python_json(text, given);
    given = Json::string(std::move(text));
  }
  Json changed = *function;
  changed.set("arguments", std::move(given));
  made.set("function", std::move(changed));
  return made;
}

Result<Json> ChatTemplate::prepared(const Json& message, bool takes_parts) const {
  if (!message.is_object()) return invalid_argument(wrong_json_kind("an object", message));
  const Json* const role = message.find("role");
  if (role == nullptr || !role->is_string()) return invalid_argument("role: expected a string");
  Json::Object made;
  for (const JsonMember& member : *message.as_object()) {
    if (!member.value.is_null() && member.key != "content") made.push_back(member);
  }
  const Json* const content = message.find("content");
  const bool keeps_parts =
      takes_parts && content != nullptr && content->is_array() && *role->as_string() != "tool";
  if (keeps_parts) {
    made.push_back({"content", *content});
  } else {
    Result<std::string> text = message_text(message);
    FATHOM_RETURN_IF_ERROR(text.status());
    made.push_back({"content", Json::string(std::move(text).value())});
  }
  if (*role->as_string() != "assistant") return Json::object(std::move(made));
  const Json* const calls = message.find_set("tool_calls");
  if (calls == nullptr) return Json::object(std::move(made));
  if (!calls->is_array()) {
    return invalid_argument("tool_calls: " + wrong_json_kind("an array", *calls));
  }
  Json::Array ready;
  for (const Json& call : *calls->as_array()) {
    Result<Json> one = prepared_call(call);
    if (!one.ok()) return one.status().in("tool_calls[" + std::to_string(ready.size()) + "]");
    ready.push_back(std::move(one).value());
  }
  Json whole = Json::object(std::move(made));
  whole.set("tool_calls", Json::array(std::move(ready)));
  return whole;
}

Result<std::string> ChatTemplate::render(const Request& request) const {
  const std::optional<Json> tools = offered_tools(*request.body);
  const jinja::Template& chosen = template_for(tools ? &*tools : nullptr);
  const bool takes_parts = chosen.reads_content_parts();
  Json::Array messages;
  for (const Json& message : request.messages) {
    Result<Json> one = prepared(message, takes_parts);
    if (!one.ok()) return one.status().in("messages[" + std::to_string(messages.size()) + "]");
    messages.push_back(std::move(one).value());
  }
  Json::Object given = variables(Json::array(std::move(messages)), tools ? &*tools : nullptr);
  const Json* const effort = request.body->find_set("reasoning_effort");
  const bool asked = effort != nullptr || request.body->find_set("reasoning") != nullptr;
  if (effort != nullptr) given.push_back({"reasoning_effort", *effort});
  if (request.thinking || asked) {
    given.push_back({"thinking", Json::boolean(request.thinking)});
    given.push_back({"enable_thinking", Json::boolean(request.thinking)});
  }
  const Json* const kwargs = request.body->find_set("chat_template_kwargs");
  if (kwargs != nullptr && kwargs->is_object()) {
    // Their names are unique among themselves, and there may be very many.
    const auto own = static_cast<std::ptrdiff_t>(given.size());
    for (const JsonMember& member : *kwargs->as_object()) {
      const bool ours = member.key == "messages" || member.key == "tools" ||
                        member.key == "documents" || member.key == "add_generation_prompt";
      if (ours) {
        return invalid_argument("chat_template_kwargs: \"" + member.key + "\" cannot be set");
      }
      const auto place =
          std::find_if(given.begin(), given.begin() + own,
                       [&member](const JsonMember& there) { return there.key == member.key; });
      if (place != given.begin() + own) {
        place->value = member.value;
      } else {
        given.push_back(member);
      }
    }
  }
  Result<std::string> text = chosen.render(Json::object(std::move(given)));
  if (!text.ok()) return text.status().in("the chat template");
  return text;
}

}  // namespace fathom::text
