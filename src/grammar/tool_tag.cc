#include "grammar/tool_tag.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

namespace fathom::grammar {

namespace {

// The mark-up of text.md's DSML; "｜" is U+FF5C.
constexpr const char* kBlockBegin = "<｜DSML｜function_calls>\n";
constexpr const char* kBlockEnd = "</｜DSML｜function_calls>";
constexpr const char* kInvokeEnd = "</｜DSML｜invoke>\n";

Json format(const char* type) {
  Json out = Json::object();
  out.set("type", Json::string(type));
  return out;
}

Status check_name(const std::string& name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  });
  if (plain) return {};
  return invalid_argument("tool \"" + name +
                          "\": a name has letters, digits, \"_\", \"-\" and \".\"");
}

Json call_of(const ToolSchema& tool) {
  Json content = format("json_schema");
  Json parameters = tool.strict && tool.parameters.is_object() ? tool.parameters : Json::object();
  if (parameters.find("type") == nullptr && parameters.find("$ref") == nullptr) {
    parameters.set("type", Json::string("object"));
  }
  content.set("json_schema", std::move(parameters));
  content.set("style", Json::string("deepseek_xml"));
  Json tag = format("tag");
  tag.set("begin", Json::string("<｜DSML｜invoke name=\"" + tool.name + "\">\n"));
  tag.set("content", std::move(content));
  tag.set("end", Json::string(kInvokeEnd));
  return tag;
}

// The calls of one block.
Json calls(Json::Array tags, bool one) {
  Json out = format("tags_with_separator");
  out.set("tags", Json::array(std::move(tags)));
  out.set("separator", Json::string(""));
  out.set("at_least_one", Json::boolean(true));
  out.set("stop_after_first", Json::boolean(one));
  return out;
}

Json block(const std::string& begin, Json content) {
  Json tag = format("tag");
  tag.set("begin", Json::string(begin));
  tag.set("content", std::move(content));
  tag.set("end", Json::string(kBlockEnd));
  return tag;
}

}  // namespace

Result<std::string> tool_call_tag(std::span<const ToolSchema> tools, const ToolChoice& choice) {
  if (tools.empty()) return invalid_argument("there are no tools");
  const bool named = choice.mode == ToolChoice::Mode::kNamed;
  Json::Array tags;
  std::set<std::string> names;
  for (const ToolSchema& tool : tools) {
    FATHOM_RETURN_IF_ERROR(check_name(tool.name));
    if (!names.insert(tool.name).second) {
      return invalid_argument("tool \"" + tool.name + "\" is given twice");
    }
    if (!named || tool.name == choice.name) tags.push_back(call_of(tool));
  }
  if (tags.empty()) return invalid_argument("tool \"" + choice.name + "\" is not among the tools");
  Json inside = calls(std::move(tags), named || !choice.parallel);
  Json root = format("structural_tag");
  if (choice.mode == ToolChoice::Mode::kAuto) {
    Json triggered = format("triggered_tags");
    triggered.set("triggers", Json::array({Json::string("<｜DSML｜function_calls>")}));
    triggered.set("tags", Json::array({block(kBlockBegin, std::move(inside))}));
    triggered.set("excludes", Json::array({Json::string("<think>"), Json::string("</think>")}));
    triggered.set("stop_after_first", Json::boolean(true));
    root.set("format", std::move(triggered));
  } else {
    root.set("format", block(std::string("\n\n") + kBlockBegin, std::move(inside)));
  }
  return to_json(root);
}

}  // namespace fathom::grammar
