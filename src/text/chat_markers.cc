#include "text/chat_markers.h"

namespace fathom::text {

namespace {

struct Line {
  std::string_view text;
  bool blank_after = false;  // in the official block
};

constexpr Line kBeforeSchemas[] = {
    {"## Tools", true},
    {"You have access to a set of tools you can use to answer the user's question."},
    {"You can invoke functions by writing a \"<｜DSML｜function_calls>\" block like the following "
     "as "
     "part of your reply to the user:"},
    {"<｜DSML｜function_calls>"},
    {"<｜DSML｜invoke name=\"$FUNCTION_NAME\">"},
    {"<｜DSML｜parameter name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE"
     "</｜DSML｜parameter>"},
    {"..."},
    {"</｜DSML｜invoke>"},
    {"<｜DSML｜invoke name=\"$FUNCTION_NAME2\">"},
    {"..."},
    {"</｜DSML｜invoke>"},
    {"</｜DSML｜function_calls>", true},
    {"String and scalar parameters should be specified as is without any escaping or quotes, while "
     "lists and objects should use JSON format. The \"string\" attribute should be set to \"true\" "
     "for string type parameters and \"false\" for other types (numbers, booleans, arrays, "
     "objects).",
     true},
    {"If the thinking_mode is enabled, then after function results you should strongly consider "
     "outputting a thinking block. Here is an example:",
     true},
    {"<｜DSML｜function_calls>"},
    {"..."},
    {"</｜DSML｜function_calls>", true},
    {"<function_results>"},
    {"..."},
    {"</function_results>", true},
    {"<think>...thinking about results</think>", true},
    {"Here are the functions available in JSONSchema format:"},
    {"<functions>"},
};

}  // namespace

void append_tools_block(std::string& out, std::string_view schemas, bool official) {
  for (const Line& line : kBeforeSchemas) {
    out += line.text;
    out += official && line.blank_after ? "\n\n" : "\n";
  }
  out += schemas;
  out += "\n</functions>\n";
}

}  // namespace fathom::text
