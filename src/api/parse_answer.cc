#include <utility>

#include "api/core.h"
#include "api/json_writer.h"
#include "api/request_fields.h"
#include "api/tool_fields.h"
#include "text/answer_parser.h"

namespace fathom::api {

namespace {

// The parser's name in the body; that of the service when there is none, or for "auto".
template <class Format>
Format read_format(FieldReader& fields,
                   std::string_view name,
                   Result<Format> (*format_of)(std::string_view),
                   Format own) {
  const std::string given = fields.text(name, "auto");
  if (given == "auto") return own;
  const Result<Format> format = format_of(given);
  if (format.ok()) return *format;
  fields.refuse(Refusal::semantic(fields.path(name) + ": " + format.status().message()));
  return own;
}

// A whole text through a parser.
std::vector<text::AnswerPiece> pieces_of(const std::string& text,
                                         const text::AnswerParserOptions& options) {
  text::AnswerParser parser(options);
  std::vector<text::AnswerPiece> pieces;
  parser.push(text, pieces);
  parser.finish(pieces);
  return pieces;
}

void read_text(FieldReader& fields, std::string& out) {
  if (fields.find("text") == nullptr) fields.refuse(Refusal::shape("text: is missing"));
  out = fields.text("text", "");
}

}  // namespace

http::Response parse_function_call(const Core& core, const Json& body) {
  FieldReader fields(body);
  std::string text;
  read_text(fields, text);
  text::AnswerParserOptions options;
  options.forward_unknown_tools = core.options.forward_unknown_tools;
  options.tool_calls =
      read_format(fields, "tool_call_parser", &text::tool_call_format, core.options.tool_calls);
  Json::Array tools;
  if (const Json* given = fields.find("tools")) {
    if (given->is_array()) {
      tools = *given->as_array();
    } else {
      fields.refuse_kind("tools", *given, "an array");
    }
  }
  if (fields.refusal()) return error_response(*fields.refusal());
  if (const Status status = check_tools(tools); !status.ok()) {
    return error_response(Refusal::semantic(status.message()));
  }
  options.tools = &tools;

  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
  for (text::AnswerPiece& piece : pieces_of(text, options)) {
    using Kind = text::AnswerPiece::Kind;
    if (piece.kind == Kind::kContent) content += piece.text;
    if (piece.kind == Kind::kCallBegin) calls.emplace_back(std::move(piece.text), "");
    if (piece.kind == Kind::kCallArguments) calls.back().second += piece.text;
  }
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().string("normal_text", content).begin_array("calls");
  std::int64_t index = 0;
  for (const auto& [name, arguments] : calls) {
    writer.begin_object()
        .integer("tool_index", index++)
        .string("name", name)
        .string("parameters", arguments)
        .end_object();
  }
  writer.end_array().end_object();
  return json_response(std::move(out));
}

http::Response separate_reasoning(const Core& core, const Json& body) {
  FieldReader fields(body);
  std::string text;
  read_text(fields, text);
  text::AnswerParserOptions options;
  options.reasoning =
      read_format(fields, "reasoning_parser", &text::reasoning_format, core.options.reasoning);
  if (fields.refusal()) return error_response(*fields.refusal());

  std::string thoughts;
  std::string content;
  for (const text::AnswerPiece& piece : pieces_of(text, options)) {
    const bool thought = piece.kind == text::AnswerPiece::Kind::kReasoning;
    (thought ? thoughts : content) += piece.text;
  }
  std::string out;
  JsonWriter(out)
      .begin_object()
      .string("reasoning_text", thoughts)
      .string("text", content)
      .end_object();
  return json_response(std::move(out));
}

}  // namespace fathom::api
