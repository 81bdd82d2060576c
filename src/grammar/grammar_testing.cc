#include "grammar/grammar_testing.h"

#include <algorithm>
#include <future>
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

// How soon a token leads to an end: 0 is best.
int distance(std::string_view bytes) {
  constexpr std::string_view kClosing = "}]\"0";
  if (bytes.size() == 1 && kClosing.find(bytes[0]) != std::string_view::npos) {
    return static_cast<int>(kClosing.find(bytes[0]));
  }
  if (bytes.find_first_not_of(" \t\r\n") == std::string_view::npos) return 100;
  return bytes == "," || bytes == "{" || bytes == "[" ? 50 : 10;
}

}  // namespace

std::optional<std::string> random_walk(Matcher& matcher,
                                       const CompilerOptions& options,
                                       std::mt19937& random,
                                       int soft_limit) {
  std::string text;
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
      next = *std::min_element(choices.begin(), choices.end(), [&](TokenId a, TokenId b) {
        const auto bytes = [&](TokenId id) {
          return std::string_view(options.token_bytes[static_cast<std::size_t>(id)]);
        };
        return distance(bytes(a)) < distance(bytes(b));
      });
    }
    if (!matcher.accept(next)) return std::nullopt;
    if (matcher.finished()) return text;
    text += options.token_bytes[static_cast<std::size_t>(next)];
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
