#include "text/pre_tokenizer.h"

#include <array>
#include <cstddef>
#include <utility>

#include "text/pattern_scanner.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

bool isolates(const SplitStep& step, std::string_view pattern) {
  return !step.literal && !step.invert && step.behavior == SplitBehavior::kIsolated &&
         step.pattern == pattern;
}

bool is_deepseek_at(const std::vector<SplitStep>& steps, std::size_t at) {
  return at + 3 <= steps.size() && isolates(steps[at], kDeepSeekNumbers) &&
         isolates(steps[at + 1], kDeepSeekHanKana) && isolates(steps[at + 2], kDeepSeekWords);
}

// How many leading bytes belong to no valid character.
std::size_t invalid_prefix(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Front front = utf8_front(bytes.substr(at));
    if (front.kind == Utf8Kind::kWhole) break;
    at += front.size;
  }
  return at;
}

}  // namespace

Result<PreTokenizer> PreTokenizer::create(PreTokenizerSpec spec, Engine engine) {
  PreTokenizer result;
  const bool scanners = engine == Engine::kScanners;
  std::vector<SplitStep>& steps = spec.steps;
  std::size_t own_steps = steps.size();
  if (spec.gpt2_split) steps.push_back({.pattern = std::string(kGpt2Pattern)});
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (spec.add_prefix_space && i == own_steps) {
      result.stages_.push_back({Stage::Kind::kPrefixSpace, nullptr});
    }
    if (scanners && is_deepseek_at(steps, i) && i + 3 <= own_steps) {
      result.stages_.push_back({Stage::Kind::kDeepSeek, nullptr});
      i += 2;
    } else if (scanners && isolates(steps[i], kGpt2Pattern)) {
      result.stages_.push_back({Stage::Kind::kGpt2, nullptr});
    } else if (scanners && isolates(steps[i], kLlama3Pattern)) {
      result.stages_.push_back({Stage::Kind::kLlama3, nullptr});
    } else if (scanners && isolates(steps[i], kQwenPattern)) {
      result.stages_.push_back({Stage::Kind::kQwen, nullptr});
    } else {
      Result<std::unique_ptr<RegexSplit>> regex = RegexSplit::create(steps[i]);
      if (!regex.ok()) return regex.status().in("split step " + std::to_string(i));
      result.stages_.push_back({Stage::Kind::kRegex, std::move(*regex)});
    }
  }
  if (spec.add_prefix_space && own_steps == steps.size()) {
    result.stages_.push_back({Stage::Kind::kPrefixSpace, nullptr});
  }
  return result;
}

// Replaces the pieces from index `first` on by what `stage` makes of them.
void PreTokenizer::run_stage(const Stage& stage, Pieces& pieces, std::size_t first) {
  std::vector<std::string_view>& in = pieces.spare;
  in.assign(pieces.list.begin() + static_cast<std::ptrdiff_t>(first), pieces.list.end());
  pieces.list.resize(first);
  switch (stage.kind) {
    case Stage::Kind::kDeepSeek:
      for (const std::string_view piece : in) scan_deepseek(piece, pieces.list);
      break;
    case Stage::Kind::kGpt2:
      for (const std::string_view piece : in) scan_gpt2(piece, pieces.list);
      break;
    case Stage::Kind::kLlama3:
    case Stage::Kind::kQwen: {
      const int digits = stage.kind == Stage::Kind::kLlama3 ? 3 : 1;
      for (const std::string_view piece : in) scan_llama3(piece, digits, pieces.list);
      break;
    }
    case Stage::Kind::kRegex: {
      RegexSplit::Matcher matcher(*stage.regex);
      for (const std::string_view piece : in) matcher.split(piece, pieces.list);
      break;
    }
    case Stage::Kind::kPrefixSpace:
      for (const std::string_view piece : in) {
        if (piece.front() == ' ') {
          pieces.list.push_back(piece);
        } else {
          pieces.list.push_back(pieces.prefixed.emplace_back(" " + std::string(piece)));
        }
      }
      break;
  }
}

void PreTokenizer::split_valid(std::string_view text, Pieces& pieces) const {
  const std::size_t first = pieces.list.size();
  pieces.list.push_back(text);
  for (const Stage& stage : stages_) run_stage(stage, pieces, first);
}

void PreTokenizer::split(std::string_view text, Pieces& pieces) const {
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    if (valid > 0) split_valid(text.substr(0, valid), pieces);
    text.remove_prefix(valid);
    const std::size_t invalid = invalid_prefix(text);
    if (invalid > 0) pieces.list.push_back(text.substr(0, invalid));
    text.remove_prefix(invalid);
  }
}

}  // namespace fathom::text
