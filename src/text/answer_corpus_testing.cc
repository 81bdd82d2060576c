#include "text/answer_corpus_testing.h"

#include <utility>

#include "base/json.h"

namespace fathom::text {
namespace {

using Call = ToldAnswer::Call;

const Json::Array& tools() {
  static const Json offered = *parse_json(R"([
    {"type": "function", "function": {"name": "search", "parameters": {
      "type": "object", "properties": {"query": {"type": "string"}, "topn": {"type": "integer"}}}}},
    {"type": "function", "function": {"name": "now"}},
    {"type": "function", "function": {"name": "phone", "parameters": {
      "type": "object", "properties": {"number": {"type": ["string", "null"]}}}}},
    "not a tool", {"type": "function"}, {"function": {"name": 7}}])");
  return *offered.as_array();
}

std::string block(const std::string& calls) {
  return "<｜DSML｜function_calls>\n" + calls + "\n</｜DSML｜function_calls>";
}
std::string invoke(const std::string& name, const std::string& body) {
  return "<｜DSML｜invoke name=\"" + name + "\">\n" + body + "\n</｜DSML｜invoke>";
}
std::string parameter(const std::string& name,
                      const std::string& is_string,
                      const std::string& value) {
  return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + is_string + "\">" + value +
         "</｜DSML｜parameter>";
}
std::string search(const std::string& is_string, const std::string& value) {
  return block(invoke("search", parameter("query", is_string, value)));
}
Call searched(const std::string& value) { return {"search", "{\"query\": " + value + "}", true}; }

void add_plain(std::vector<AnswerCase>& cases) {
  const std::string one = search("true", "x");
  const Call x = searched("\"x\"");
  cases.push_back({"text alone", "Just text.\n\n", {.content = "Just text.\n\n"}});
  cases.push_back(
      {"an answer of the model card",
       "Sure!\n\n" + block(invoke("search", parameter("query", "true", "hi there") + "\n" +
                                                parameter("topn", "false", "10"))),
       {.content = "Sure!", .calls = {{"search", R"({"query": "hi there", "topn": 10})", true}}}});
  cases.push_back({"a call alone", "\n\n" + one, {.calls = {x}}});
  cases.push_back(
      {"one blank line introduces", "A \n\n\n" + one, {.content = "A \n", .calls = {x}}});
  cases.push_back({"one line break stays", "A\n" + one, {.content = "A\n", .calls = {x}}});
  cases.push_back({"no line break", "A" + one, {.content = "A", .calls = {x}}});
  cases.push_back(
      {"text behind", "A\n\n" + one + "\n\nB\n", {.content = "A\n\nB\n", .calls = {x}}});
  cases.push_back({"space behind", one + " \n\n", {.calls = {x}}});
  cases.push_back({"two blocks",
                   "A\n\n" + one + "\n\n" + search("true", "y") + "B\n\n" + one,
                   {.content = "AB", .calls = {x, searched("\"y\""), x}}});
  cases.push_back(
      {"two calls in a block",
       block(invoke("now", "") + "\n" + invoke("search", parameter("query", "true", "x"))),
       {.calls = {{"now", "{}", true}, x}}});
  cases.push_back(
      {"text in a block",
       block(invoke("now", "") + "\nand\n" + invoke("now", "")) + "\nend",
       {.content = "\nand\n\nend", .calls = {{"now", "{}", true}, {"now", "{}", true}}}});
  cases.push_back({"bare calls",
                   "A\n\n" + invoke("now", "") + "\n" + invoke("now", "") + "\n",
                   {.content = "A", .calls = {{"now", "{}", true}, {"now", "{}", true}}}});
  cases.push_back({"bare call with a block's end",
                   invoke("now", "") + "\n</｜DSML｜function_calls>",
                   {.calls = {{"now", "{}", true}}}});
  cases.push_back({"closed call",
                   block("<｜DSML｜invoke name=\"now\"/>\n<｜DSML｜invoke  name=\"now\" />"),
                   {.calls = {{"now", "{}", true}, {"now", "{}", true}}}});
  cases.push_back({"unknown tool",
                   "A\n\n" + block(invoke("rm", parameter("a", "true", "b") + "stray") + "\n" +
                                   invoke("now", "")),
                   {.content = "A", .calls = {{"now", "{}", true}}}});
  cases.push_back({.name = "unknown tool, forwarded",
                   .text = block(invoke("rm", parameter("a", "true", "b"))),
                   .told = {.calls = {{"rm", R"({"a": "b"})", true}}},
                   .forward_unknown_tools = true});
  cases.push_back({.name = "no parser",
                   .text = "A\n\n" + one,
                   .told = {.content = "A\n\n" + one},
                   .tool_calls = ToolCallFormat::kNone});
}

void add_no_blocks(std::vector<AnswerCase>& cases) {
  for (const std::string text :
       {"a <｜ b",
        "a <｜DSM rest",
        "<",
        "x</",
        "a\n\n<",
        "a\n\n<｜DSML｜function_calls",
        "see `<｜DSML｜function_calls>` there",
        "a\n\n<｜DSML｜function_calls>\n",
        "a\n\n<｜DSML｜function_calls>\n</｜DSML｜function_calls>\n\n",
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"se",
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"\"></｜DSML｜invoke>",
        "<｜DSML｜function_calls>\n<｜DSML｜invoke nome=\"now\">\n</｜DSML｜invoke>",
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"now\">what?</｜DSML｜invoke>",
        "<｜DSML｜invoke name=\"now\"><｜DSML｜parameter nime=\"a\">b</｜DSML｜parameter>",
        "</｜DSML｜function_calls>",
        "</｜DSML｜invoke> and </｜DSML｜parameter>",
        "<function_calls><invoke name=\"now\"></invoke></function_calls>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
        "</think>",
        "<think>",
        "\n\n\n\n",
        "\xEF\xBD",
        "broken \xFF\xEF\xBD< bytes"}) {
    cases.push_back({"no block: " + text, text, {.content = text}});
  }
  cases.push_back(
      {"a block after what is none",
       "a\n\n<｜DSML｜function_calls>\nLet me:\n\n" + search("true", "x"),
       {.content = "a\n\n<｜DSML｜function_calls>\nLet me:", .calls = {searched("\"x\"")}}});
  const std::string spaces(600, ' ');
  cases.push_back(
      {"spaces beyond a tag's",
       "<｜DSML｜function_calls>" + spaces + invoke("now", ""),
       {.content = "<｜DSML｜function_calls>" + spaces, .calls = {{"now", "{}", true}}}});
  cases.push_back({"spaces beyond those behind a call",
                   invoke("now", "") + spaces,
                   {.content = spaces, .calls = {{"now", "{}", true}}}});
}

void add_values(std::vector<AnswerCase>& cases) {
  struct Value {
    const char* is_string;
    const char* written;
    const char* told;
  };
  for (const Value& value : std::vector<Value>{
           {"true", "  two\n lines ", R"("  two\n lines ")"},
           {"true", "", R"("")"},
           {"true", "10", R"("10")"},
           {"true", "a\"b\\c\td\x01 中🙂/", R"("a\"b\\c\td\u0001 中🙂/")"},
           {"true", "<b>1 < 2</b> </｜DSML｜param <｜DSML｜parameter",
            R"("<b>1 < 2</b> </｜DSML｜param <｜DSML｜parameter")"},
           {"true", "half \xE4\xB8", "\"half \xEF\xBF\xBD\""},
           {"false", " 10\n", "10"},
           {"false", "null", "null"},
           {"false", "1e5", "100000.0"},
           {"false", "1e999", "1e999"},
           {"false", "12345678901234567890123", "12345678901234567890123"},
           {"false", "{\"a\":[1,{\"b\":\"}\"}],\"c\":{}}", R"({"a": [1, {"b": "}"}], "c": {}})"},
           {"false", "San Francisco", R"("San Francisco")"},
           {"false", "1e", R"("1e")"},
           {"false", "['a']", R"("['a']")"},
           {"false", "{\"a\":1", R"("{\"a\":1")"},
           {"false", "NaN", R"("NaN")"},
           {"false", "-Infinity", R"("-Infinity")"},
           {"false", "[NaN]", R"("[NaN]")"},
           {"false", "True", R"("True")"},
           {"false", "", R"("")"},
           {"false", " \n", R"("")"},
           {"false", "\"quoted\"", R"("quoted")"},
           {"False", "true", "true"},
           {"", "7", "7"}}) {
    std::string name = std::string("value ") + value.is_string + ": " + value.written;
    // The schema wants a string of `query`; `topn` takes anything.
    cases.push_back({std::move(name),
                     block(invoke("search", parameter("topn", value.is_string, value.written))),
                     {.calls = {{"search", std::string("{\"topn\": ") + value.told + "}", true}}}});
  }
  cases.push_back({"a number where the schema wants a string",
                   block(invoke("phone", parameter("number", "false", "0049")) +
                         invoke("phone", parameter("number", "false", "49")) +
                         invoke("phone", parameter("number", "false", "null")) +
                         invoke("phone", parameter("number", "false", "\"4 9\""))),
                   {.calls = {{"phone", R"({"number": "0049"})", true},
                              {"phone", R"({"number": "49"})", true},
                              {"phone", R"({"number": null})", true},
                              {"phone", R"({"number": "4 9"})", true}}}});
}

void add_bodies(std::vector<AnswerCase>& cases) {
  const Call x = searched("\"x\"");
  cases.push_back(
      {"parameter given twice",
       block(invoke("search", parameter("query", "true", "x") + parameter("query", "false", "1") +
                                  parameter("query", "true", "y"))),
       {.calls = {x}}});
  cases.push_back({"no string attribute",
                   invoke("now", "<｜DSML｜parameter name=\"a\" >1</｜DSML｜parameter>"),
                   {.calls = {{"now", R"({"a": 1})", true}}}});
  cases.push_back(
      {"spaces in tags",
       invoke("now",
              "<｜DSML｜parameter \n name=\"a \\ b\"\tstring=\"true\" >1</｜DSML｜parameter>"),
       {.calls = {{"now", R"({"a \\ b": "1"})", true}}}});
  cases.push_back({"text between parameters is told behind the call",
                   block(invoke("search", parameter("query", "true", "x") + "\nso and < so")) + "B",
                   {.content = "so and < so\nB", .calls = {x}}});
  cases.push_back(
      {"a broken parameter tag",
       invoke("search", parameter("query", "true", "x") +
                            "<｜DSML｜parameter nime=\"a\">1</｜DSML｜parameter>"),
       {.content = "<｜DSML｜parameter nime=\"a\">1</｜DSML｜parameter>\n", .calls = {x}}});
  cases.push_back({"a parameter that is not closed",
                   block("<｜DSML｜invoke name=\"search\"><｜DSML｜parameter name=\"query\" "
                         "string=\"true\">x</｜DSML｜invoke>" +
                         invoke("now", "")),
                   {.calls = {x, {"now", "{}", true}}}});
  cases.push_back({"a call that its block closes",
                   "<｜DSML｜function_calls><｜DSML｜invoke name=\"search\">" +
                       parameter("query", "true", "x") + "</｜DSML｜function_calls>\nB",
                   {.content = "\nB", .calls = {x}}});
  cases.push_back({"a value that its block closes",
                   "<｜DSML｜invoke name=\"search\"><｜DSML｜parameter name=\"topn\" "
                   "string=\"false\">[1]</｜DSML｜function_calls>B",
                   {.content = "B", .calls = {{"search", R"({"topn": [1]})", true}}}});
  cases.push_back({"a call that the next one closes",
                   block("<｜DSML｜invoke name=\"search\">" + parameter("query", "true", "x") +
                         "\n" + invoke("now", "")),
                   {.calls = {x, {"now", "{}", true}}}});
  cases.push_back({"JSON for a body",
                   block(invoke("search", "{\"query\":\"x }\",\n\"topn\":[1.50,{}]} ")),
                   {.calls = {{"search", "{\"query\":\"x }\",\n\"topn\":[1.50,{}]}", true}}}});
  cases.push_back({"broken JSON for a body",
                   block(invoke("search", "{\"query\": what}")) + "B",
                   {.content = "B", .calls = {{"search", "{\"query\": what}\n", false}}}});
  cases.push_back({"JSON with something behind",
                   invoke("search", "{} or\n{}"),
                   {.calls = {{"search", "{} or\n{}\n", false}}}});
  cases.push_back({"JSON that the block closes",
                   "<｜DSML｜invoke name=\"now\">{\"a\":1}\n</｜DSML｜function_calls>B",
                   {.content = "B", .calls = {{"now", "{\"a\":1}", true}}}});
  cases.push_back({"a thought's marker in a value",
                   search("true", "<think></think>"),
                   {.calls = {searched("\"<think></think>\"")}},
                   ToolCallFormat::kDeepSeekV32,
                   ReasoningFormat::kDeepSeekV3});
}

void add_cut(std::vector<AnswerCase>& cases) {
  const std::string begin = "A\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"search\">\n";
  struct Cut {
    std::string text;
    std::string arguments;
  };
  const std::string tag = "<｜DSML｜parameter name=\"query\" string=\"";
  for (const Cut& cut : std::vector<Cut>{
           {"", ""},
           {"<｜DSML｜para", ""},
           {"</｜DSML｜inv", ""},
           {tag + "true\">", "{\"query\": \""},
           {tag + "true\">hello wor", "{\"query\": \"hello wor"},
           {tag + "true\">hello </｜DSML｜par", "{\"query\": \"hello </｜DSML｜par"},
           {tag + "false\">[1, 2", "{\"query\": \"[1, 2"},  // the schema wants a string
           {tag + "true\">x</｜DSML｜parameter>\n", "{\"query\": \"x\""},
           {parameter("topn", "false", "1") +
                "<｜DSML｜parameter name=\"a\" string=\"false\">[1, tr",
            "{\"topn\": 1, \"a\": [1, tr"},
           {"<｜DSML｜parameter name=\"topn\" string=\"false\">San Fr", "{\"topn\": \"San Fr"},
           {"<｜DSML｜parameter name=\"topn\" string=\"false\">", "{\"topn\": "},
           {"{\"query\": \"a", "{\"query\": \"a"}}) {
    cases.push_back({"cut: " + cut.text,
                     begin + cut.text,
                     {.content = "A", .calls = {{"search", cut.arguments, false}}}});
  }
  cases.push_back({"cut behind a JSON body",
                   begin + "{\"a\":1}\n</｜DS",
                   {.content = "A", .calls = {{"search", "{\"a\":1}\n</｜DS", false}}}});
  cases.push_back({"cut in a block behind a call",
                   "<｜DSML｜function_calls>\n" + invoke("now", "") + "\n<｜DSML｜inv",
                   {.calls = {{"now", "{}", true}}}});
}

void add_thoughts(std::vector<AnswerCase>& cases) {
  const auto add = [&](ReasoningFormat format, bool starts, const std::string& text,
                       const std::string& reasoning, const std::string& content) {
    cases.push_back(
        {.name = "thoughts: " + text,
         .text = text,
         .told = {.reasoning = reasoning, .content = content},
         .tool_calls = cases.size() % 2 == 0 ? ToolCallFormat::kDeepSeekV32 : ToolCallFormat::kNone,
         .reasoning = format,
         .starts_thinking = starts});
  };
  const auto r1 = ReasoningFormat::kDeepSeekR1;
  const auto v3 = ReasoningFormat::kDeepSeekV3;
  for (int i = 0; i < 2; ++i) {  // with and without tools
    for (const ReasoningFormat format : {r1, v3}) {
      add(format, true, "ab</think>c", "ab", "c");
      add(format, true, " ab \n</think>\n\nc ", " ab \n", "\n\nc ");
      add(format, true, "<think>ab</think>c", "ab", "c");
      add(format, true, "<think><think>\nab</think>c", "\nab", "c");
      add(format, true, "a<think>b</think>c", "a<think>b", "c");
      add(format, true, "ab</think>c</think>d<think>e", "ab", "c</think>d<think>e");
      add(format, true, "never ends <", "never ends <", "");
      add(format, true, "never ends </thin", "never ends </thin", "");
      add(format, true, "</think>", "", "");
      add(format, true, "<thin", "<thin", "");
      cases.push_back({.name = "odd one", .text = "x", .told = {.content = "x"}});
    }
    add(v3, false, "a</think>b", "", "a</think>b");
    add(v3, false, "<think>a</think>b", "a", "b");
    add(v3, false, "x\n\n<think>a</think>\ny<think>", "a", "x\n\n\ny<think>");
    add(v3, false, "x <thin", "", "x <thin");
    add(v3, true, "a<tool_call>b</think>c", "a", "<tool_call>b</think>c");
    add(v3, true, "a<tool_ call>b</think>c", "a<tool_ call>b", "c");
    add(r1, true, "a<tool_call>b</think>c", "a<tool_call>b", "c");
    cases.push_back({.name = "odd one", .text = "x", .told = {.content = "x"}});
  }
  const std::string one = search("true", "x");
  cases.push_back({.name = "thoughts and a call",
                   .text = "ab</think>\n\n" + one,
                   .told = {.reasoning = "ab", .calls = {searched("\"x\"")}},
                   .reasoning = v3,
                   .starts_thinking = true});
  cases.push_back({.name = "a call in thoughts",
                   .text = "ab" + one + "</think>c",
                   .told = {.reasoning = "ab" + one, .content = "c"},
                   .reasoning = v3,
                   .starts_thinking = true});
  cases.push_back(
      {.name = "thoughts in the content",
       .text = "<think>ab" + one + "</think>c\n\n" + one,
       .told = {.content = "<think>ab" + one + "</think>c", .calls = {searched("\"x\"")}},
       .reasoning = v3,
       .separate_reasoning = false});
}

void add_older(std::vector<AnswerCase>& cases) {
  const auto v31 = [](const std::string& name, const std::string& arguments) {
    return "<｜tool▁call▁begin｜>" + name + "<｜tool▁sep｜>" + arguments + "<｜tool▁call▁end｜>";
  };
  const auto v3 = [](const std::string& name, const std::string& arguments) {
    return "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + name + "\n```json\n" + arguments +
           "\n```<｜tool▁call▁end｜>";
  };
  const std::string json = "{\"query\": \"a } <b> `\", \"topn\": 1}";
  const std::string begin = "<｜tool▁calls▁begin｜>";
  const std::string end = "<｜tool▁calls▁end｜>";
  const Call searched_json = {"search", json, true};
  const Call asked = {"now", "{}", true};
  const auto add = [&](ToolCallFormat format, const std::string& text, ToldAnswer told) {
    cases.push_back({"older: " + text, text, std::move(told), format});
  };
  const auto k31 = ToolCallFormat::kDeepSeekV31;
  const auto k3 = ToolCallFormat::kDeepSeekV3;
  add(k31, "A" + begin + v31("search", json) + v31("now", "{}") + end,
      {.content = "A", .calls = {searched_json, asked}});
  add(k31, "A\n\n" + begin + "\n" + v31(" now\n", "\n{}\n ") + "\n" + end + "\n B",
      {.content = "A\n B", .calls = {asked}});
  add(k31, v31("now", "") + v31("rm", "{}"), {.calls = {asked}});
  add(k31, begin + v31("now", "what?") + end, {.content = begin + v31("now", "what?") + end});
  add(k31, begin + v31("now", "{\"a\": what?}") + v31("now", "{}") + end,
      {.calls = {{"now", "{\"a\": what?}", false}, asked}});
  add(k31, begin + "<｜tool▁call▁begin｜>search<｜tool▁sep｜>{\"query\": \"a",
      {.calls = {{"search", "{\"query\": \"a", false}}});
  add(k31, begin + "<｜tool▁call▁begin｜>search<｜tool▁sep｜>", {.calls = {{"search", "", false}}});
  add(k31, begin + "<｜tool▁call▁begin｜>sear", {.content = begin + "<｜tool▁call▁begin｜>sear"});
  add(k31, begin + "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{\"a\":1}" + end + "B",
      {.content = "B", .calls = {{"now", "{\"a\":1}", true}}});
  add(k31, begin + "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{\"a\":1}",
      {.calls = {{"now", "{\"a\":1}", true}}});
  add(k31, "a <｜ b <｜tool▁ c", {.content = "a <｜ b <｜tool▁ c"});
  add(k3, "A\n\n" + begin + v3("search", json) + "\n" + v3("now", "{}") + end,
      {.content = "A", .calls = {searched_json, asked}});
  add(k3, begin + "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n{}<｜tool▁call▁end｜>" + end,
      {.calls = {asked}});
  add(k3, begin + v3("now", "{\"a\": what?}") + end,
      {.calls = {{"now", "{\"a\": what?}\n```", false}}});
  add(k3, begin + v3("now", "{}\n``` and"), {.calls = {{"now", "{}\n``` and\n```", false}}});
  add(k3, begin + "<｜tool▁call▁begin｜>function<｜tool▁sep｜>search\n```json\n{\"query\": \"a",
      {.calls = {{"search", "{\"query\": \"a", false}}});
}

void add_arrays(std::vector<AnswerCase>& cases) {
  const auto add = [&](const std::string& text, ToldAnswer told) {
    cases.push_back({"array: " + text, text, std::move(told), ToolCallFormat::kJsonArray});
  };
  const Call asked = {"now", "{}", true};
  add(R"([{"name": "search", "parameters": {"query": "x]}", "topn": 1}}])",
      {.calls = {{"search", R"({"query": "x]}", "topn": 1})", true}}});
  add(" [\n{\"name\":\"now\",\"arguments\":{} } ,\n {\"name\":\"now\",\"parameters\":{}}\n] \n",
      {.calls = {asked, asked}});
  add(R"([{"parameters": {"topn":1e5}, "name": "search"}, {"name": "now"}, {"id": 1, "name": "rm"}])",
      {.calls = {{"search", R"({"topn": 100000.0})", true}, asked}});
  add(R"([{"name": "now", "parameters": {}, "id": [1, "}"]}] text)",
      {.content = " text", .calls = {asked}});
  // Behind the arguments, what is no JSON any more is text, and so is what led to it.
  add(R"([{"name": "now", "parameters": {}, "id": 5 no}])",
      {.content = R"(, "id": 5 no}])", .calls = {asked}});
  add(R"([{"name": "now", "parameters": {}.5}])", {.content = ".5}]", .calls = {asked}});
  add(R"([{"name": "n\u006fw", "parameters": {}}])", {.calls = {asked}});
  for (const std::string text :
       {R"([])", R"([1])", R"({"name": "now", "parameters": {}})", "text", " [{\"nam",
        R"([{"name": 7, "parameters": {}}])", R"([{"name": "now", "parameters": 7}])",
        R"([{"name": "now", ])", " ", R"([{"parameters": {"a": 1)"}) {
    add(text, {.content = text});
  }
  add(R"([{"name": "now", "parameters": {}}, text)", {.content = ", text", .calls = {asked}});
  add(R"([{"name": "now", "parameters": {}} text)", {.content = " text", .calls = {asked}});
  add(R"([{"name": "now", "parameters": {}}, {"name": "no)", {.calls = {asked}});
  add(R"([{"name": "now", "parameters": {"a": [1, "b)",
      {.calls = {{"now", R"({"a": [1, "b)", false}}});
  add(R"([{"name": "now", "parameters": {"a": what}}])",
      {.content = "what}}]", .calls = {{"now", R"({"a": )", false}}});
  cases.push_back({.name = "array behind thoughts",
                   .text = "ab</think>\n[{\"name\":\"now\",\"parameters\":{}}]",
                   .told = {.reasoning = "ab", .calls = {asked}},
                   .tool_calls = ToolCallFormat::kJsonArray,
                   .reasoning = ReasoningFormat::kDeepSeekR1});
}

}  // namespace

AnswerParserOptions AnswerCase::options() const {
  return {.reasoning = reasoning,
          .starts_thinking = starts_thinking,
          .separate_reasoning = separate_reasoning,
          .tool_calls = tool_calls,
          .tools = &tools(),
          .forward_unknown_tools = forward_unknown_tools};
}

const std::vector<AnswerCase>& answer_cases() {
  static const std::vector<AnswerCase> all = [] {
    std::vector<AnswerCase> cases;
    add_plain(cases);
    add_no_blocks(cases);
    add_values(cases);
    add_bodies(cases);
    add_cut(cases);
    add_thoughts(cases);
    add_older(cases);
    add_arrays(cases);
    return cases;
  }();
  return all;
}

}  // namespace fathom::text
