#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "grammar/compiler.h"

// The smallest languages that can show a mask at work, compiled when a test says so.
namespace fathom::test_support {

// The source "N": N tokens, the i-th of them (from 0) with an id of i modulo `classes`, then a stop
// token. Stop tokens are no others. The source "!N" has a matcher that allows more than it accepts,
// that of "~N" is too slow when it has taken two.
class StepGrammar final : public grammar::Grammar,
                          public std::enable_shared_from_this<StepGrammar> {
 public:
  static constexpr std::int32_t kClasses = 7;

  StepGrammar(std::int32_t vocab,
              std::vector<grammar::TokenId> stops,
              std::int32_t classes,
              int length,
              bool lies,
              bool slow,
              std::function<void()> on_mask)
      : vocab_(vocab),
        stops_(std::move(stops)),
        classes_(classes),
        length_(length),
        lies_(lies),
        slow_(slow),
        on_mask_(std::move(on_mask)) {}

  bool allows(std::int32_t state, grammar::TokenId token) const {
    const bool stop = std::find(stops_.begin(), stops_.end(), token) != stops_.end();
    return state < length_ ? !stop && token % classes_ == state % classes_
                           : state == length_ && stop;
  }
  std::unique_ptr<grammar::Matcher> new_matcher() const override;

 private:
  friend class StepMatcher;
  std::int32_t vocab_;
  std::vector<grammar::TokenId> stops_;
  std::int32_t classes_;
  std::int32_t length_;
  bool lies_;
  bool slow_;
  std::function<void()> on_mask_;
};

class StepMatcher final : public grammar::Matcher {
 public:
  explicit StepMatcher(std::shared_ptr<const StepGrammar> grammar) : grammar_(std::move(grammar)) {}

  void fill_mask(std::span<std::uint32_t> mask) override {
    if (grammar_->on_mask_) grammar_->on_mask_();
    std::fill(mask.begin(), mask.end(), 0U);
    for (std::int32_t token = 0; token < grammar_->vocab_; ++token) {
      if (grammar_->lies_ || grammar_->allows(state_, token)) {
        mask[static_cast<std::size_t>(token) / 32] |= 1U << (token % 32);
      }
    }
  }
  bool accept(grammar::TokenId token) override {
    if (!grammar_->allows(state_, token)) return false;
    ++state_;
    return true;
  }
  bool finished() const override { return state_ > grammar_->length_; }
  bool too_slow() const override { return grammar_->slow_ && state_ > 1; }
  void rollback(std::int32_t tokens) override { state_ -= tokens; }

 private:
  std::shared_ptr<const StepGrammar> grammar_;
  std::int32_t state_ = 0;
};

inline std::unique_ptr<grammar::Matcher> StepGrammar::new_matcher() const {
  return std::make_unique<StepMatcher>(shared_from_this());
}

class StepCompilation final : public grammar::Compilation {
 public:
  StepCompilation(Result<std::shared_ptr<const grammar::Grammar>> result, bool done)
      : result_(std::move(result)), done_(done) {}
  bool done() const override {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  Result<std::shared_ptr<const grammar::Grammar>> result() const override { return result_; }
  void end() {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }

 private:
  const Result<std::shared_ptr<const grammar::Grammar>> result_;
  mutable std::mutex mutex_;
  bool done_;  // guarded by mutex_
};

// Threads: any.
class StepCompiler final : public grammar::Compiler {
 public:
  StepCompiler(std::int32_t vocab,
               std::vector<grammar::TokenId> stops,
               std::int32_t classes = StepGrammar::kClasses)
      : vocab_(vocab), stops_(std::move(stops)), classes_(classes) {}

  // Is called whenever a mask is filled, by the thread that does. Set before the first compilation.
  std::function<void()> on_mask;

  // From now on compilations are done when release() is called.
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void release() {
    std::vector<Waiting> waiting;
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
      waiting = std::exchange(waiting_, {});
    }
    for (const Waiting& each : waiting) {
      each.compilation->end();
      each.on_done();
    }
  }

  std::shared_ptr<grammar::Compilation> compile(const grammar::Source& source,
                                                std::function<void()> on_done) override {
    std::unique_lock lock(mutex_);
    auto made = std::make_shared<StepCompilation>(grammar_of(source.text), !held_);
    if (held_) {
      waiting_.push_back({made, std::move(on_done)});
    } else {
      lock.unlock();
      on_done();
    }
    return made;
  }
  grammar::CompilerCounts counts() const override { return {}; }

 private:
  struct Waiting {
    std::shared_ptr<StepCompilation> compilation;
    std::function<void()> on_done;
  };

  Result<std::shared_ptr<const grammar::Grammar>> grammar_of(const std::string& text) const {
    const bool lies = text.starts_with('!');
    const bool slow = text.starts_with('~');
    const char* const begin = text.data() + (lies || slow ? 1 : 0);
    int length = 0;
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), length);
    if (error != std::errc() || end != text.data() + text.size() || length < 0) {
      return invalid_argument("the grammar is \"" + text + "\", expected a number");
    }
    return std::shared_ptr<const grammar::Grammar>(
        std::make_shared<StepGrammar>(vocab_, stops_, classes_, length, lies, slow, on_mask));
  }

  const std::int32_t vocab_;
  const std::vector<grammar::TokenId> stops_;
  const std::int32_t classes_;
  std::mutex mutex_;
  bool held_ = false;             // guarded by mutex_
  std::vector<Waiting> waiting_;  // guarded by mutex_
};

}  // namespace fathom::test_support
