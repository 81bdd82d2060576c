#include "grammar/compiler.h"

#include <atomic>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "grammar/grammar_testing.h"
#include "grammar/library.h"

namespace fathom::grammar {
namespace {

std::unique_ptr<Compiler> make(const CompilerOptions& options) {
  return std::move(Compiler::create(options)).value();
}

// Takes a while: each pattern is an automaton of its own.
Source slow_source(int salt) {
  std::string text = R"({"type":"object","properties":{)";
  for (int i = 0; i < 40; ++i) {
    text += (i > 0 ? ",\"p" : "\"p") + std::to_string(i) +
            R"(":{"type":"string","pattern":"^(a{0,90}b){0,)" + std::to_string(10 + salt) + "}" +
            std::to_string(i) + "$\"}";
  }
  return {Kind::kJsonSchema, text + "}}"};
}

// Its source "slow" takes until somebody lets it go on.
class GatedLibrary final : public Library {
 public:
  explicit GatedLibrary(std::shared_future<void> gate) : gate_(std::move(gate)) {}
  Result<Compiled> compile(const Source& source) const override {
    if (source.text == "slow") gate_.wait();
    return invalid_argument("compiled " + source.text);
  }

 private:
  std::shared_future<void> gate_;
};

TEST(Compiler, RefusesAVocabularyThatDoesNotFit) {
  CompilerOptions options = byte_vocabulary();
  options.vocab_size = 10;
  EXPECT_EQ(Compiler::create(options).status().message(),
            "grammar: the vocabulary has 258 tokens, the logits have 10");
  options = byte_vocabulary();
  options.stop_tokens = {options.vocab_size};
  EXPECT_EQ(Compiler::create(options).status().code(), Code::kInvalidArgument);
  options.stop_tokens = {};
  EXPECT_EQ(Compiler::create(options).status().message(), "grammar: there is no stop token");
}

TEST(Compiler, KeepsWhatItCompiled) {
  std::atomic<int> compilations = 0;
  CompilerOptions options = byte_vocabulary();
  options.on_compiled = [&](std::chrono::nanoseconds took) {
    EXPECT_GT(took.count(), 0);
    ++compilations;
  };
  const auto compiler = make(options);
  const Source source{Kind::kRegex, "a+"};
  const auto first = compiled(*compiler, source);

  int calls = 0;
  const auto again = compiler->compile(source, [&] { ++calls; });

  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(again->done());
  EXPECT_EQ(*again->result(), first);
  EXPECT_NE(compiled(*compiler, {Kind::kEbnf, "root ::= \"a\""}), first);
  EXPECT_EQ(compiler->counts().requests, 3);
  EXPECT_EQ(compiler->counts().cache_hits, 1);
  EXPECT_EQ(compilations, 2);
}

TEST(Compiler, ForgetsTheOldestUseFirst) {
  CompilerOptions options = byte_vocabulary();
  options.cache_bytes = std::size_t{24} << 10;
  const auto compiler = make(options);
  const Source source{Kind::kRegex, "abc"};
  const auto first = compiled(*compiler, source);
  for (int i = 0; i < 200; ++i) compiled(*compiler, {Kind::kRegex, "x" + std::to_string(i)});

  EXPECT_NE(compiled(*compiler, source), first);
  EXPECT_EQ(compiler->counts().cache_hits, 0);

  compiled(*compiler, source);
  EXPECT_EQ(compiler->counts().cache_hits, 1);
}

TEST(Compiler, AsksForTheSameSourceAreOneCompilation) {
  CompilerOptions options = byte_vocabulary();
  options.cache_bytes = 0;  // what is shared is the compilation, not its place in the cache
  const auto compiler = make(options);
  std::atomic<int> done{0};
  const auto blocker = compiler->compile(slow_source(1), [&] { ++done; });
  std::vector<std::shared_ptr<Compilation>> shared;
  shared.reserve(5);
  for (int i = 0; i < 5; ++i) {
    shared.push_back(compiler->compile({Kind::kRegex, "b+"}, [&] { ++done; }));
  }
  ASSERT_TRUE(compile_now(*compiler, {Kind::kRegex, "last"}).ok());

  EXPECT_EQ(done, 6);
  for (const auto& one : shared) EXPECT_EQ(*one->result(), *shared[0]->result());
}

TEST(Compiler, ASlowSourceHoldsUpNoQuickOne) {
  std::promise<void> gate;
  std::map<std::string, std::promise<void>> done;
  for (const char* text : {"first", "second", "third"}) done[text] = {};
  CompilerOptions options;
  options.threads = 2;
  const auto compiler =
      make_compiler(options, std::make_unique<GatedLibrary>(gate.get_future().share()));
  const auto slow = compiler->compile({Kind::kRegex, "slow"}, {});

  std::vector<std::shared_ptr<Compilation>> quick;
  quick.reserve(done.size());
  for (auto& one : done) {
    quick.push_back(
        compiler->compile({Kind::kRegex, one.first}, [&one] { one.second.set_value(); }));
  }
  for (auto& one : done) {
    EXPECT_EQ(one.second.get_future().wait_for(std::chrono::minutes(1)), std::future_status::ready);
  }
  EXPECT_FALSE(slow->done());
  gate.set_value();
}

TEST(Compiler, RefusesMoreThanMayWait) {
  CompilerOptions options = byte_vocabulary();
  options.max_waiting = 1;
  const auto compiler = make(options);
  int refused = 0;
  std::vector<std::shared_ptr<Compilation>> all;
  for (int i = 0; i < 4; ++i) {
    const auto one = all.emplace_back(compiler->compile(slow_source(i), {}));
    if (one->done() && !one->result().ok()) {
      ++refused;
      EXPECT_EQ(one->result().status().code(), Code::kResourceExhausted);
      EXPECT_EQ(one->result().status().message(), "1 grammars wait to be compiled already");
    }
  }
  EXPECT_GE(refused, 2);
  EXPECT_EQ(compiler->counts().failures, refused);
}

TEST(Compiler, EndsAWaitAtItsDeadline) {
  CompilerOptions options = byte_vocabulary();
  options.max_wait = std::chrono::milliseconds(1);
  const auto compiler = make(options);

  const auto result = compile_now(*compiler, slow_source(0));

  EXPECT_EQ(result.status().code(), Code::kResourceExhausted);
  EXPECT_EQ(result.status().message(), "the grammar was not compiled within 1 ms");
  EXPECT_EQ(compiler->counts().timeouts, 1);
}

TEST(Compiler, LeavesOutWhatNobodyWaitsForAnyMore) {
  const auto compiler = make(byte_vocabulary());
  std::atomic<int> called{0};
  const auto first = compiler->compile(slow_source(0), {});
  for (int i = 1; i < 200; ++i) {
    static_cast<void>(compiler->compile(slow_source(i), [&] { ++called; }));
  }
  EXPECT_TRUE(compile_now(*compiler, {Kind::kRegex, "a"}).ok());
  // The thread may have been at some of them when they were let go of.
  EXPECT_LE(called, 20);
}

TEST(Compiler, TellsWhoWaitsWhenItEnds) {
  std::atomic<int> done{0};
  std::vector<std::shared_ptr<Compilation>> all;
  {
    const auto compiler = make(byte_vocabulary());
    for (int i = 0; i < 5; ++i) all.push_back(compiler->compile(slow_source(i), [&] { ++done; }));
  }
  EXPECT_EQ(done, 5);
  for (const auto& one : all) EXPECT_TRUE(one->done());
  EXPECT_EQ(all.back()->result().status().code(), Code::kUnavailable);
}

TEST(Compiler, ServesManyThreadsAndOutlivesItsGrammars) {
  CompilerOptions options = byte_vocabulary();
  options.threads = 3;
  std::vector<std::unique_ptr<Matcher>> matchers(8);
  {
    const auto compiler = make(options);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < matchers.size(); ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 30; ++i) {
          const auto grammar = compiled(
              *compiler,
              {Kind::kJsonSchema, R"({"type":"array","maxItems":)" + std::to_string(i % 7) + "}"});
          matchers[t] = grammar->new_matcher();
          EXPECT_TRUE(allowed(*matchers[t], options.vocab_size)['[']);
        }
        EXPECT_FALSE(compile_now(*compiler, {Kind::kRegex, "("}).ok());
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(compiler->counts().requests, 8 * 31);
    EXPECT_EQ(compiler->counts().failures, 8);
  }
  for (const auto& matcher : matchers) EXPECT_TRUE(matcher->accept('['));
}

}  // namespace
}  // namespace fathom::grammar
