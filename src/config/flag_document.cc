#include "config/flag_document.h"

#include <algorithm>

#include "config/environment.h"
#include "config/flag_table.h"

namespace fathom::config {
namespace {

constexpr std::size_t kHelpColumn = 6;
constexpr std::size_t kColumns = 96;

// "INT", "NAME", "FLOAT …"; empty for a switch.
std::string value_name(const Flag& flag) {
  switch (flag.kind) {
    case FlagKind::kSwitch:
    case FlagKind::kToggle:
      return "";
    case FlagKind::kInt:
      return "INT";
    case FlagKind::kFloat:
      return "NUMBER";
    case FlagKind::kFloatOrBare:
      return "[NUMBER]";
    case FlagKind::kString:
      return "TEXT";
    case FlagKind::kJson:
      return "JSON";
    case FlagKind::kIntList:
      return "INT …";
    case FlagKind::kFloatList:
      return "NUMBER …";
    case FlagKind::kStringList:
      return "TEXT …";
    case FlagKind::kStringListOrNone:
      return "[TEXT …]";
  }
  return "";
}

std::string choices_text(const Flag& flag) {
  std::string text;
  for (const std::string_view choice : words(flag.choices)) {
    text += (text.empty() ? "" : ", ") + std::string(choice);
  }
  return text;
}

std::string state_text(Support support, std::string_view values, std::string_view note) {
  const std::string what(note);
  std::string state;
  switch (support) {
    case Support::kBuilt:
      state = "works";
      break;
    case Support::kNoNeed:
      state = "no need: " + what;
      break;
    case Support::kBuiltOnGpu:
      state = "works on a GPU; no need on a CPU: " + what;
      break;
    case Support::kNoNeedOnCpu:
      state = "no need on a CPU: " + what + "; on a GPU not built yet";
      break;
    case Support::kNoNeedOnOneRank:
      state = "no need: " + what + "; with more ranks not built yet";
      break;
    case Support::kNotBuilt:
      return "not built yet";
  }
  if (values.empty()) return state;
  std::string listed;
  for (const std::string_view value : words(values)) {
    listed += (listed.empty() ? "" : ", ") + std::string(value);
  }
  return listed + ": " + state + "; other values: not built yet";
}

// Breaks `text` at blanks so that lines with `indent` blanks in front fit the terminal.
std::string wrapped(const std::string& text, std::size_t indent) {
  std::string lines;
  std::size_t used = kColumns;
  for (const std::string_view word : words(text)) {
    if (used + 1 + word.size() > kColumns) {
      lines += (lines.empty() ? "" : "\n") + std::string(indent, ' ') + std::string(word);
      used = indent + word.size();
    } else {
      lines += " " + std::string(word);
      used += 1 + word.size();
    }
  }
  return lines + "\n";
}

std::string all_spellings(const Flag& flag, const char* before, const char* after) {
  std::string text;
  for (const std::string_view list : {flag.spellings, flag.newer_spellings}) {
    for (const std::string_view spelling : words(list)) {
      text += (text.empty() ? "" : ", ") + (before + std::string(spelling) + after);
    }
  }
  return text;
}

std::string help_of(const Flag& flag) {
  std::string text(flag.help);
  if (const std::string choices = choices_text(flag); !choices.empty())
    text += " (" + choices + ")";
  if (!flag.initial.empty()) text += "; default " + std::string(flag.initial);
  return text + ". [" + state_text(flag.support, flag.values, flag.note) + "]";
}

// Cells of a Markdown table keep their bars to themselves.
std::string cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) {
    text.insert(at, "\\");
  }
  return text;
}

std::string flag_row(const Flag& flag) {
  std::string value = value_name(flag);
  if (const std::string choices = choices_text(flag); !choices.empty()) value = choices;
  std::string row = "| " + all_spellings(flag, "`", "`") + " | " + cell(value) + " | ";
  if (!flag.initial.empty()) row += "`" + cell(std::string(flag.initial)) + "`";
  row += " | " + cell(std::string(flag.help)) + " | ";
  return row + cell(state_text(flag.support, flag.values, flag.note)) + " |\n";
}

std::string variable_row(const Variable& variable) {
  std::string row = "| `" + std::string(variable.name) + "` | ";
  if (!variable.initial.empty()) row += "`" + std::string(variable.initial) + "`";
  row += " | " + cell(std::string(variable.help)) + " | ";
  return row + cell(state_text(variable.support, {}, variable.note)) + " |\n";
}

}  // namespace

std::string flag_usage() {
  return "usage: fathom launch_server [-h] [--model-path FOLDER] [--port INT] [--dry-run] ...\n"
         "       ('fathom launch_server --help' lists every flag)\n";
}

std::string flag_help() {
  std::string text =
      "usage: fathom launch_server [flags]\n"
      "       fathom serve [MODEL] [flags]\n\n"
      "Serves a model. Takes the launch flags of SGLang, of 0.5.7 and of later versions; any\n"
      "unambiguous beginning of a flag will do. What a flag means here stands in brackets.\n";
  for (const FlagGroup& group : flag_groups()) {
    text += "\n" + std::string(group.title) + ":\n";
    for (const Flag& flag : group.flags) {
      text += "  " + all_spellings(flag, "", "");
      if (const std::string value = value_name(flag); !value.empty()) text += " " + value;
      text += "\n" + wrapped(help_of(flag), kHelpColumn);
    }
  }
  return text;
}

std::string flag_document() {
  std::string text =
      "<!-- Written by `fathom flag_document > docs/flags.md` from the tables of src/config; a "
      "unit "
      "test compares. -->\n"
      "# Launch flags\n\n"
      "`fathom launch_server` (alias `serve`) takes the launch flags of SGLang, those of 0.5.7 and "
      "those of later\n"
      "versions that matter to this model, under all their spellings. Any unambiguous beginning of "
      "a flag will do;\n"
      "beginnings are looked up among the names of 0.5.7 first. `--flag value` and `--flag=value` "
      "are the same,\n"
      "lists end at the next flag, the last occurrence wins, and `--config FILE` puts the flags of "
      "a YAML file in front.\n\n"
      "The last column says what Fathom does: a flag *works*; or there is *no need* of it, and the "
      "log says what\n"
      "happens instead; or it is *not built yet*, and the start fails when it is set to something "
      "other than its\n"
      "default. `--dry-run` resolves and checks all of them, built or not.\n";
  for (const FlagGroup& group : flag_groups()) {
    text += "\n## " + std::string(group.title) + "\n\n";
    text += "| flag | value | default | what it means | in Fathom |\n|---|---|---|---|---|\n";
    for (const Flag& flag : group.flags) text += flag_row(flag);
  }
  text +=
      "\n## Environment\n\n| variable | default | what it means | in Fathom |\n"
      "|---|---|---|---|\n";
  for (const Variable& variable : environment_variables()) text += variable_row(variable);
  return text;
}

}  // namespace fathom::config
