#include "config/parse_flags.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <unordered_map>
#include <utility>

namespace fathom::config {
namespace {

constexpr std::string_view kHelp = "--help";

struct Spelling {
  std::string text;
  const Flag* flag = nullptr;  // null: --help
  Generation generation = Generation::kSeed;
};

std::vector<Spelling> make_spellings() {
  std::vector<Spelling> all = {{std::string(kHelp), nullptr, Generation::kSeed}};
  for (const Flag* flag : all_flags()) {
    for (const std::string_view text : words(flag->spellings)) {
      all.push_back({std::string(text), flag, flag->generation});
    }
    for (const std::string_view text : words(flag->newer_spellings)) {
      all.push_back({std::string(text), flag, Generation::kNewer});
    }
  }
  return all;
}

const std::vector<Spelling>& spellings() {
  static const std::vector<Spelling> every = make_spellings();
  return every;
}

const Spelling* exact_spelling(std::string_view text) {
  static const std::unordered_map<std::string_view, const Spelling*> places = [] {
    std::unordered_map<std::string_view, const Spelling*> by_text;
    for (const Spelling& spelling : spellings()) by_text.emplace(spelling.text, &spelling);
    return by_text;
  }();
  const auto found = places.find(text);
  return found == places.end() ? nullptr : found->second;
}

// The one spelling that begins with `prefix` among one set of generations; null when there is none.
Result<const Spelling*> prefixed_spelling(std::string_view prefix, bool of_seed) {
  const Spelling* found = nullptr;
  bool one_flag = true;
  std::string matches;
  for (const Spelling& spelling : spellings()) {
    if ((spelling.generation == Generation::kSeed) != of_seed) continue;
    if (!spelling.text.starts_with(prefix)) continue;
    one_flag = one_flag && (found == nullptr || found->flag == spelling.flag);
    if (found == nullptr) found = &spelling;
    matches += (matches.empty() ? "" : ", ") + spelling.text;
  }
  if (one_flag) return found;
  return invalid_argument("ambiguous option: " + std::string(prefix) + " could match " + matches);
}

bool looks_like_negative_number(std::string_view word) {
  word.remove_prefix(1);
  const std::size_t point = word.find('.');
  const std::string_view whole = word.substr(0, point);
  const auto digits = [](std::string_view text) {
    return std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  if (point == std::string_view::npos) return !whole.empty() && digits(whole);
  const std::string_view fraction = word.substr(point + 1);
  return digits(whole) && !fraction.empty() && digits(fraction);
}

// What a word is to the parser.
struct Word {
  enum class Kind : std::uint8_t { kValue, kFlag, kUnknownFlag, kEndOfFlags };
  Kind kind = Kind::kValue;
  const Spelling* spelling = nullptr;   // with kFlag; null: -h
  std::optional<std::string> attached;  // after '='
};

Result<Word> classify(const std::string& text) {
  if (text.size() < 2 || text[0] != '-') return Word{};
  if (text == "--") return Word{Word::Kind::kEndOfFlags, nullptr, {}};
  if (const Spelling* spelling = exact_spelling(text)) return Word{Word::Kind::kFlag, spelling, {}};
  if (text == "-h") return Word{Word::Kind::kFlag, exact_spelling(kHelp), {}};

  std::string name = text;
  std::optional<std::string> attached;
  if (const std::size_t equals = text.find('='); equals != std::string::npos) {
    name = text.substr(0, equals);
    attached = text.substr(equals + 1);
    if (const Spelling* spelling = exact_spelling(name)) {
      return Word{Word::Kind::kFlag, spelling, attached};
    }
  }
  if (name.starts_with("--")) {
    for (const bool of_seed : {true, false}) {
      const Result<const Spelling*> found = prefixed_spelling(name, of_seed);
      FATHOM_RETURN_IF_ERROR(found.status());
      if (*found != nullptr) return Word{Word::Kind::kFlag, *found, attached};
    }
  }
  // As argparse: what contains a blank is taken for a value, too.
  if (looks_like_negative_number(text) || text.find(' ') != std::string::npos) return Word{};
  return Word{Word::Kind::kUnknownFlag, nullptr, {}};
}

// "--tensor-parallel-size/--tp-size"
std::string argument_name(const Flag& flag) {
  std::string name;
  for (const std::string_view list : {flag.spellings, flag.newer_spellings}) {
    for (const std::string_view text : words(list)) {
      name += (name.empty() ? "" : "/") + std::string(text);
    }
  }
  return name;
}

Status argument_error(const Flag& flag, const std::string& what) {
  return invalid_argument("argument " + argument_name(flag) + ": " + what);
}

// Goes through one list of words and gives their values to a FlagValues.
class Parser {
 public:
  Parser(std::span<const std::string> args, ValueSource source, ParsedFlags& parsed)
      : args_(args), source_(source), parsed_(parsed) {}

  Status run(bool model_may_come_first) {
    bool flags_ended = false;
    while (at_ < args_.size()) {
      const std::string& text = args_[at_];
      Word word;
      if (!flags_ended) {
        Result<Word> classified = classify(text);
        FATHOM_RETURN_IF_ERROR(classified.status());
        word = std::move(classified).value();
      }
      ++at_;
      switch (word.kind) {
        case Word::Kind::kEndOfFlags:
          flags_ended = true;
          unrecognized_ += " --";  // nothing can stand behind it
          break;
        case Word::Kind::kFlag:
          if (word.spelling->flag == nullptr) {
            if (word.attached.has_value()) return unwanted_value("-h/--help", *word.attached);
            parsed_.help = true;
            return {};
          }
          FATHOM_RETURN_IF_ERROR(take(*word.spelling, word.attached));
          break;
        case Word::Kind::kValue:
          if (model_may_come_first && at_ == 1) {
            parsed_.values.give("model_path", Json::string(text), source_, "--model-path");
            break;
          }
          [[fallthrough]];
        case Word::Kind::kUnknownFlag:
          unrecognized_ += " " + text;
          break;
      }
    }
    return {};
  }

  // Words that belong to no flag, each with a blank in front.
  const std::string& unrecognized() const { return unrecognized_; }

 private:
  static Status unwanted_value(const std::string& name, const std::string& value) {
    return invalid_argument("argument " + name + ": ignored explicit argument '" + value + "'");
  }

  // The words up to the next flag, at most `limit`.
  Result<std::vector<std::string>> take_words(std::size_t limit) {
    std::vector<std::string> taken;
    while (taken.size() < limit && at_ < args_.size()) {
      const Result<Word> word = classify(args_[at_]);
      FATHOM_RETURN_IF_ERROR(word.status());
      if (word->kind != Word::Kind::kValue) break;
      taken.push_back(args_[at_++]);
    }
    return taken;
  }

  Status take(const Spelling& spelling, const std::optional<std::string>& attached) {
    const Flag& flag = *spelling.flag;
    if (is_switch(flag.kind)) {
      if (attached.has_value()) return unwanted_value(argument_name(flag), *attached);
      parsed_.values.give(flag.name, Json::boolean(!spelling.text.starts_with("--no-")), source_,
                          spelling.text);
      return {};
    }
    std::vector<std::string> taken;
    if (attached.has_value()) {
      taken.push_back(*attached);
    } else {
      Result<std::vector<std::string>> found = take_words(is_list(flag.kind) ? args_.size() : 1);
      FATHOM_RETURN_IF_ERROR(found.status());
      taken = std::move(found).value();
    }
    if (taken.empty()) {
      if (flag.kind == FlagKind::kFloatOrBare) {
        taken.emplace_back("0.5");
      } else if (flag.kind != FlagKind::kStringListOrNone) {
        return argument_error(
            flag, is_list(flag.kind) ? "expected at least one argument" : "expected one argument");
      }
    }
    Json::Array values;
    for (const std::string& word : taken) {
      Result<Json> value = parse_value(flag, word);
      if (!value.ok()) return argument_error(flag, value.status().message());
      values.push_back(std::move(value).value());
    }
    parsed_.values.give(flag.name,
                        is_list(flag.kind) ? Json::array(std::move(values)) : std::move(values[0]),
                        source_, spelling.text);
    return {};
  }

  std::span<const std::string> args_;
  ValueSource source_;
  ParsedFlags& parsed_;
  std::size_t at_ = 0;
  std::string unrecognized_;
};

// Removes --config and its file from `args`.
Result<std::optional<std::string>> take_config_file(std::vector<std::string>& args) {
  std::optional<std::string> file;
  for (std::size_t at = 0; at < args.size() && args[at] != "--";) {
    const Result<Word> word = classify(args[at]);
    // A mistake is told when the words are parsed in their order.
    const bool here = word.ok() && word->kind == Word::Kind::kFlag &&
                      word->spelling->flag != nullptr && word->spelling->flag->name == "config";
    if (!here) {
      ++at;
      continue;
    }
    if (file.has_value()) {
      return invalid_argument("argument --config: given twice; one file can be named");
    }
    std::size_t count = 1;
    if (word->attached.has_value()) {
      file = *word->attached;
    } else if (at + 1 < args.size()) {
      file = args[at + 1];
      count = 2;
    } else {
      return invalid_argument("argument --config: expected one argument");
    }
    const auto first = args.begin() + static_cast<std::ptrdiff_t>(at);
    args.erase(first, first + static_cast<std::ptrdiff_t>(count));
  }
  return file;
}

Result<std::vector<std::string>> read_config_file(const std::string& file,
                                                  const FileReader& read_file) {
  const std::string where = "argument --config: " + file;
  if (!file.ends_with(".yaml") && !file.ends_with(".yml")) {
    return invalid_argument(where + " is no YAML file; its name must end in .yaml or .yml");
  }
  if (!read_file) return invalid_argument(where + " cannot be read here");
  const Result<std::string> text = read_file(file);
  if (!text.ok()) return text.status().in(where);
  Result<std::vector<std::string>> found = config_file_words(*text);
  if (!found.ok()) return found.status().in(where);
  return found;
}

}  // namespace

Result<ParsedFlags> parse_flags(std::span<const std::string> args, const ParseOptions& options) {
  ParsedFlags parsed;
  std::vector<std::string> words_left(args.begin(), args.end());
  const Result<std::optional<std::string>> file = take_config_file(words_left);
  FATHOM_RETURN_IF_ERROR(file.status());
  std::string unrecognized;
  if (file->has_value()) {
    const Result<std::vector<std::string>> from_file = read_config_file(**file, options.read_file);
    FATHOM_RETURN_IF_ERROR(from_file.status());
    Parser parser(*from_file, ValueSource::kConfigFile, parsed);
    if (const Status status = parser.run(false); !status.ok()) return status.in(**file);
    if (parsed.help) return invalid_argument(**file + ": help is no setting");
    if (parsed.values.given("config")) {
      return invalid_argument(**file + ": a file of flags cannot name another one");
    }
    unrecognized = parser.unrecognized();
    parsed.values.give("config", Json::string(**file), ValueSource::kCommandLine, "--config");
  }
  Parser parser(words_left, ValueSource::kCommandLine, parsed);
  FATHOM_RETURN_IF_ERROR(parser.run(options.model_may_come_first));
  if (parsed.help) return parsed;
  unrecognized += parser.unrecognized();
  if (!unrecognized.empty()) return invalid_argument("unrecognized arguments:" + unrecognized);
  return parsed;
}

}  // namespace fathom::config
