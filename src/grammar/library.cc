#include "grammar/library.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <xgrammar/xgrammar.h>

#include "base/check.h"
#include "base/json.h"
#include "grammar/json_schema.h"
#include "grammar/repetition.h"
#include "grammar/structural_tag.h"
#include "grammar/trial.h"
#include "grammar/utf8_guard.h"

namespace fathom::grammar {
namespace {

// The first warning of the library on this thread since it was cleared: something in the source
// that it would leave out.
thread_local std::string library_warning;  // NOLINT(*-avoid-non-const-global-variables)

}  // namespace
}  // namespace fathom::grammar

// The library is built to send its messages here (tools/run/xgrammar.sh).
namespace xgrammar {

// NOLINTBEGIN(readability-identifier-naming): the library's names
[[noreturn]] void LogFatalImpl(const std::string& file, int lineno, const std::string& message);
void LogMessageImpl(const std::string& file, int lineno, int level, const std::string& message);

[[noreturn]] void LogFatalImpl(const std::string& /*file*/,
                               int /*lineno*/,
                               const std::string& message) {
  throw std::runtime_error(message);
}

void LogMessageImpl(const std::string& /*file*/,
                    int /*lineno*/,
                    int level,
                    const std::string& message) {
  constexpr int kWarning = 2;
  if (level >= kWarning && fathom::grammar::library_warning.empty()) {
    fathom::grammar::library_warning = message;
  }
}

// NOLINTEND(readability-identifier-naming)

}  // namespace xgrammar

namespace fathom::grammar {

namespace {

std::vector<std::int32_t> sorted(std::vector<std::int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

// What matchers share.
struct Vocabulary {
  std::int32_t size = 0;
  std::vector<TokenId> stop_tokens;  // ascending
  Utf8Guard guard;
  std::int64_t max_step_ns = 0;
};

class LibraryMatcher final : public Matcher {
 public:
  LibraryMatcher(const xgrammar::CompiledGrammar& compiled,
                 std::shared_ptr<const Vocabulary> vocabulary)
      : matcher_(compiled), vocabulary_(std::move(vocabulary)) {}

  void fill_mask(std::span<std::uint32_t> mask) override {
    const std::int32_t size_of_vocabulary = vocabulary_->size;
    FATHOM_CHECK(mask.size() == mask_words(size_of_vocabulary));
    if (finished()) {
      std::fill(mask.begin(), mask.end(), 0);
      return;
    }
    auto size = static_cast<std::int64_t>(mask.size());
    DLTensor tensor{};
    tensor.data = mask.data();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = 1;
    tensor.dtype = {kDLInt, 32, 1};
    tensor.shape = &size;
    const std::int64_t begin = processor_ns();
    try {
      matcher_.FillNextTokenBitmask(&tensor);
    } catch (const std::exception&) {
      // A failure inside the library becomes a dead end.
      std::fill(mask.begin(), mask.end(), 0);
    }
    note_time(begin);
    // The last word's bits past the vocabulary stand for nothing.
    if (size_of_vocabulary % 32 != 0) mask.back() &= (1U << (size_of_vocabulary % 32)) - 1U;
    vocabulary_->guard.narrow(state(), mask);
    dead_end_ = std::all_of(mask.begin(), mask.end(), [](std::uint32_t word) { return word == 0; });
    if (dead_end_) {
      // No text leads on from here: a grammar with a part that can never end, or a vocabulary
      // that lacks a byte. The answer ends rather than the server.
      for (const TokenId stop : vocabulary_->stop_tokens) {
        mask[static_cast<std::size_t>(stop) / 32] |= 1U << (static_cast<std::uint32_t>(stop) % 32);
      }
    }
  }

  bool accept(TokenId token) override {
    if (finished() || token < 0 || token >= vocabulary_->size) return false;
    if (dead_end_) {
      ended_dead_ = is_stop(token);
      return ended_dead_;
    }
    if (vocabulary_->guard.refuses(state(), token)) return false;
    const std::int64_t begin = processor_ns();
    try {
      const bool taken = matcher_.AcceptToken(token);
      if (taken) {
        states_.push_back(vocabulary_->guard.after(token));
        // A step to the state behind the token: taken back with it. One that leads nowhere is a
        // wrong draft's, and no fault of the answer's.
        note_time(begin);
      }
      if (taken || !is_stop(token)) return taken;
    } catch (const std::exception&) {
      return false;
    }
    // The mask that allowed it may have been made before tokens were taken back.
    std::vector<std::uint32_t> mask(mask_words(vocabulary_->size));
    fill_mask(mask);
    ended_dead_ = dead_end_;
    return ended_dead_;
  }

  bool too_slow() const override { return slow_; }

  bool finished() const override { return ended_dead_ || matcher_.IsTerminated(); }

  void rollback(std::int32_t tokens) override {
    FATHOM_CHECK(tokens >= 0 && tokens <= kMaxRollback);
    if (tokens == 0) return;
    if (ended_dead_) {
      ended_dead_ = false;
      --tokens;
    }
    if (tokens > 0) {
      dead_end_ = false;
      matcher_.Rollback(tokens);
      states_.resize(states_.size() - static_cast<std::size_t>(tokens));
      slow_ = slow_ && states_.size() >= slow_at_;
    }
  }

 private:
  bool is_stop(TokenId token) const {
    return std::binary_search(vocabulary_->stop_tokens.begin(), vocabulary_->stop_tokens.end(),
                              token);
  }
  void note_time(std::int64_t begin) {
    if (slow_ || processor_ns() - begin <= vocabulary_->max_step_ns) return;
    slow_ = true;
    slow_at_ = states_.size();
  }
  Utf8State state() const { return states_.empty() ? Utf8State::kAny : states_.back(); }

  xgrammar::GrammarMatcher matcher_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::vector<Utf8State> states_;  // after each token that matcher_ took
  // A step to the state behind slow_at_ tokens, none of which was taken back, or of its mask, was.
  bool slow_ = false;
  std::size_t slow_at_ = 0;
  bool dead_end_ = false;
  bool ended_dead_ = false;  // by a stop token at a dead end, which matcher_ does not know
};

class LibraryGrammar final : public Grammar {
 public:
  LibraryGrammar(xgrammar::CompiledGrammar compiled, std::shared_ptr<const Vocabulary> vocabulary)
      : compiled_(std::move(compiled)), vocabulary_(std::move(vocabulary)) {}

  std::unique_ptr<Matcher> new_matcher() const override {
    return std::make_unique<LibraryMatcher>(compiled_, vocabulary_);
  }

 private:
  xgrammar::CompiledGrammar compiled_;
  std::shared_ptr<const Vocabulary> vocabulary_;
};

// JSON may begin with blanks: answers often do after a thinking part.
xgrammar::Grammar with_leading_blanks(const xgrammar::Grammar& json) {
  const std::string blanks = "root ::= [ \\n\\r\\t]{0," + std::to_string(kMaxJsonBlanks) + "}";
  return xgrammar::Grammar::Concat({xgrammar::Grammar::FromEBNF(blanks), json});
}

xgrammar::Grammar json_grammar(const std::string& schema) {
  return xgrammar::Grammar::FromJSONSchema(schema, /*any_whitespace=*/true, std::nullopt,
                                           std::nullopt, /*strict_mode=*/true, kMaxJsonBlanks);
}

// The library takes a pattern as an automaton over what a JSON string may hold where it can, and
// falls back to one that may write a bare quote.
Status check_pattern(const SchemaPattern& pattern, int max_depth, std::int64_t& total) {
  const std::string where = "schema at " + pattern.place;
  std::int64_t product = 0;
  FATHOM_RETURN_IF_ERROR(check_regex(pattern.text, max_depth, &product).in(where));
  total += product;
  if (total > kMaxTotalRepetition) {
    return invalid_argument(where + ": the repetitions of all patterns come to more than " +
                            std::to_string(kMaxTotalRepetition));
  }
  Json schema = Json::object();
  schema.set("type", Json::string("string"));
  schema.set("pattern", Json::string(pattern.text));
  try {
    const std::string text = json_grammar(to_json(schema)).ToString();
    if (text.find("json_string=true") != std::string::npos) return {};
  } catch (const std::exception& e) {
    return invalid_argument(where + ": " + e.what());
  }
  return invalid_argument(where +
                          ": the pattern is not supported: it matches no string without escapes, "
                          "or is not written in ASCII");
}

class XgrammarLibrary final : public Library {
 public:
  XgrammarLibrary(const CompilerOptions& options,
                  const std::vector<std::string>& vocabulary,
                  xgrammar::TokenizerInfo info)
      : vocabulary_(
            std::make_shared<Vocabulary>(Vocabulary{options.vocab_size, sorted(options.stop_tokens),
                                                    Utf8Guard(vocabulary), options.max_step_ns})),
        max_source_bytes_(options.max_source_bytes),
        max_depth_(options.max_depth),
        info_(std::move(info)),
        trial_(vocabulary, options.stop_tokens),
        // One thread: compilations run beside each other instead. Our cache knows our limits.
        compiler_(info_, /*max_threads=*/1, /*cache_enabled=*/false) {}

  Result<Compiled> compile(const Source& source) const override {
    library_warning.clear();
    try {
      Result<xgrammar::Grammar> grammar = read(source);
      if (!grammar.ok()) return grammar.status();
      FATHOM_RETURN_IF_ERROR(trial_.run(*grammar));
      xgrammar::CompiledGrammar compiled = compiler_.CompileGrammar(*grammar);
      if (!library_warning.empty()) return invalid_argument(clean(library_warning));
      const std::size_t bytes = compiled.MemorySizeBytes() + source.text.size();
      auto made = std::make_shared<LibraryGrammar>(std::move(compiled), vocabulary_);
      return Compiled{std::move(made), bytes};
    } catch (const std::bad_alloc&) {
      return Status(Code::kResourceExhausted, "no memory for this grammar");
    } catch (const std::exception& e) {
      return invalid_argument(clean(e.what()));
    }
  }

 private:
  // Messages go to clients: one line, of bounded length.
  static std::string clean(std::string_view message) {
    constexpr std::size_t kMaxBytes = 400;
    std::string out;
    for (const char c : message.substr(0, kMaxBytes)) {
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    return out;
  }

  Result<Json> parse(const std::string& text) const {
    return parse_json(text, {.max_bytes = max_source_bytes_, .max_depth = max_depth_});
  }

  Result<xgrammar::Grammar> read(const Source& source) const {
    switch (source.kind) {
      case Kind::kJsonSchema:
        return read_schema(source.text);
      case Kind::kRegex:
        FATHOM_RETURN_IF_ERROR(check_regex(source.text, max_depth_).in("regex"));
        return xgrammar::Grammar::FromRegex(source.text);
      case Kind::kEbnf:
        FATHOM_RETURN_IF_ERROR(check_ebnf(source.text, max_depth_).in("ebnf"));
        return xgrammar::Grammar::FromEBNF(source.text);
      case Kind::kStructuralTag:
        return read_tag(source.text);
    }
    return invalid_argument("unknown kind of grammar");
  }

  Status check_patterns(const std::vector<SchemaPattern>& patterns) const {
    std::int64_t total = 0;
    for (const SchemaPattern& pattern : patterns) {
      FATHOM_RETURN_IF_ERROR(check_pattern(pattern, max_depth_, total));
      if (!library_warning.empty()) {
        return invalid_argument("schema at " + pattern.place + ": " + clean(library_warning));
      }
    }
    return {};
  }

  Result<xgrammar::Grammar> read_schema(const std::string& text) const {
    Result<Json> schema = parse(text);
    if (!schema.ok()) return schema.status().in("schema");
    std::vector<SchemaPattern> patterns;
    Result<Json> normal = normalize_schema(*schema, patterns);
    if (!normal.ok()) return normal.status();
    FATHOM_RETURN_IF_ERROR(check_patterns(patterns));
    return with_leading_blanks(json_grammar(to_json(*normal)));
  }

  Result<xgrammar::Grammar> read_tag(const std::string& text) const {
    Result<Json> tag = parse(text);
    if (!tag.ok()) return tag.status().in("structural tag");
    std::vector<SchemaPattern> patterns;
    Result<Json> normal = normalize_structural_tag(*tag, max_depth_, patterns);
    if (!normal.ok()) return normal.status();
    FATHOM_RETURN_IF_ERROR(check_patterns(patterns));
    auto grammar = xgrammar::Grammar::FromStructuralTag(to_json(*normal), info_);
    if (const auto* error = std::get_if<xgrammar::StructuralTagError>(&grammar)) {
      return invalid_argument("structural tag: " +
                              std::visit([](const auto& e) { return clean(e.what()); }, *error));
    }
    return std::get<xgrammar::Grammar>(grammar);
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::size_t max_source_bytes_;
  int max_depth_;
  xgrammar::TokenizerInfo info_;
  Trial trial_;
  mutable xgrammar::GrammarCompiler compiler_;  // its calls may run at once
};

}  // namespace

Result<std::unique_ptr<Library>> Library::create(const CompilerOptions& options) {
  if (options.vocab_size <= 0 ||
      options.token_bytes.size() > static_cast<std::size_t>(options.vocab_size)) {
    return invalid_argument("grammar: the vocabulary has " +
                            std::to_string(options.token_bytes.size()) +
                            " tokens, the logits have " + std::to_string(options.vocab_size));
  }
  if (options.stop_tokens.empty()) return invalid_argument("grammar: there is no stop token");
  // A stop token ends the answer; it is no text, however it is spelled.
  std::vector<std::string> vocabulary = options.token_bytes;
  for (const TokenId stop : options.stop_tokens) {
    if (stop < 0 || stop >= options.vocab_size) {
      return invalid_argument("grammar: stop token " + std::to_string(stop) +
                              " is outside the vocabulary of " +
                              std::to_string(options.vocab_size));
    }
    if (static_cast<std::size_t>(stop) < vocabulary.size()) {
      vocabulary[static_cast<std::size_t>(stop)].clear();
    }
  }
  try {
    xgrammar::TokenizerInfo info(vocabulary, xgrammar::VocabType::RAW, options.vocab_size,
                                 sorted(options.stop_tokens));
    return std::unique_ptr<Library>(
        std::make_unique<XgrammarLibrary>(options, vocabulary, std::move(info)));
  } catch (const std::exception& e) {
    return Status(Code::kInternal, std::string("grammar: ") + e.what());
  }
}

}  // namespace fathom::grammar
