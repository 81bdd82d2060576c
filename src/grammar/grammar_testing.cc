#include "grammar/grammar_testing.h"

#include <algorithm>
#include <future>
#include <limits>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace fathom::grammar {

CompilerOptions byte_vocabulary(const std::vector<std::string>& more) {
  CompilerOptions options;
  for (int byte = 0; byte < 256; ++byte) {
    options.token_bytes.emplace_back(1, static_cast<char>(byte));
  }
  options.token_bytes.insert(options.token_bytes.end(), more.begin(), more.end());
  options.token_bytes.emplace_back();
  options.token_bytes.emplace_back("</s>");
  options.vocab_size = static_cast<std::int32_t>(options.token_bytes.size()) + 5;
  options.stop_tokens = {static_cast<TokenId>(options.token_bytes.size()) - 1};
  return options;
}

Result<std::shared_ptr<const Grammar>> compile_now(Compiler& compiler, const Source& source) {
  std::promise<void> done;
  const auto compilation = compiler.compile(source, [&] { done.set_value(); });
  done.get_future().wait();
  return compilation->result();
}

std::shared_ptr<const Grammar> compiled(Compiler& compiler, const Source& source) {
  auto result = compile_now(compiler, source);
  FATHOM_CHECK_MSG(result.ok(), result.status().message() + ": " + source.text);
  return *result;
}

std::vector<bool> allowed(Matcher& matcher, std::int32_t vocab_size) {
  std::vector<std::uint32_t> mask(mask_words(vocab_size), 0xdeadbeefU);
  matcher.fill_mask(mask);
  std::vector<bool> out(static_cast<std::size_t>(vocab_size));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = (mask[i / 32] >> (i % 32) & 1U) != 0;
  return out;
}

namespace {

// Where JSON text stands. Other grammars' texts are read as if they were JSON: it only leans a
// walk.
struct JsonState {
  bool in_string = false;
  bool escaped = false;

  void read(std::string_view bytes) {
    for (const char c : bytes) {
      if (escaped) {
        escaped = false;
      } else if (in_string && c == '\\') {
        escaped = true;
      } else if (c == '"') {
        in_string = !in_string;
      }
    }
  }
};

// How far a token leads from an end: 0 is best. A token of several bytes may open what it closes,
// so single bytes come first.
int distance(const JsonState& state, std::string_view bytes) {
  if (state.in_string) {
    if (bytes == "\"") return 0;
    if (bytes.size() == 1 && bytes != "\\") return 1;
    return bytes.find('\\') == std::string_view::npos ? 2 : 3;
  }
  if (bytes == "}" || bytes == "]") return 0;
  if (bytes == "," || bytes == ":") return 1;  // a number goes no further
  if (bytes == "\"") return 2;
  if (bytes.find_first_not_of(" \t\r\n") == std::string_view::npos) return 6;
  if (bytes == "{" || bytes == "[") return 5;
  return bytes.size() == 1 ? 3 : 4;
}

// One of the tokens that lead soonest to an end.
TokenId nearest_end(const std::vector<TokenId>& choices,
                    const CompilerOptions& options,
                    const JsonState& state,
                    std::mt19937& random) {
  std::vector<TokenId> nearest;
  int least = std::numeric_limits<int>::max();
  for (const TokenId id : choices) {
    const int far = distance(state, options.token_bytes[static_cast<std::size_t>(id)]);
    if (far > least) continue;
    if (far < least) nearest.clear();
    least = far;
    nearest.push_back(id);
  }
  return nearest[random() % nearest.size()];
}

}  // namespace

std::optional<std::string> random_walk(Matcher& matcher,
                                       const CompilerOptions& options,
                                       std::mt19937& random,
                                       int soft_limit) {
  std::string text;
  JsonState state;
  std::vector<TokenId> choices;
  for (int step = 0; step < 50 * soft_limit; ++step) {
    const std::vector<bool> mask = allowed(matcher, options.vocab_size);
    choices.clear();
    for (std::size_t i = 0; i < mask.size(); ++i) {
      if (mask[i]) choices.push_back(static_cast<TokenId>(i));
    }
    if (choices.empty()) return std::nullopt;
    const auto stop = std::find_if(choices.begin(), choices.end(), [&](TokenId id) {
      return std::find(options.stop_tokens.begin(), options.stop_tokens.end(), id) !=
             options.stop_tokens.end();
    });
    TokenId next = choices[random() % choices.size()];
    const bool hurry = random() % 4 == 0 || step > soft_limit;
    if (hurry && stop != choices.end()) {
      next = *stop;
    } else if (hurry && random() % 8 != 0) {
      next = nearest_end(choices, options, state, random);
    }
    if (!matcher.accept(next)) return std::nullopt;
    if (matcher.finished()) return text;
    const std::string& bytes = options.token_bytes[static_cast<std::size_t>(next)];
    state.read(bytes);
    text += bytes;
  }
  return std::nullopt;
}

bool takes(const Grammar& grammar, const CompilerOptions& options, const std::string& text) {
  const auto matcher = grammar.new_matcher();
  for (const char c : text) {
    if (!matcher->accept(static_cast<unsigned char>(c))) return false;
  }
  return matcher->accept(options.stop_tokens[0]) && matcher->finished();
}

}  // namespace fathom::grammar
