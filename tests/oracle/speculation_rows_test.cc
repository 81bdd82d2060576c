#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "config/kv_layout.h"
#include "support/engine_runner.h"
#include "support/model_runner.h"
#include "support/random_beginning.h"

// Speculation leaves no trace in the caches. Requests run with drafts, many at once, in small
// chunks, with prefixes that they share, retractions and aborts. Then every page that the prefix
// cache holds has byte for byte
//
// - in the layers of the main model what an engine without drafts has there, and what one pass of
//   the bare model over the finished sequence writes;
// - in the draft layer what one pass of it over the finished sequence writes: row i of the main
//   model's hidden state at i and the token at i + 1.
//
// Whole pages are compared: they are what the engine still knows of a finished sequence. Their ends
// fall anywhere in prompts and answers. One test looks for the page of an answer's end.

namespace fathom::oracle {
namespace {

using test_support::between;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::ModelRunner;
using Tokens = std::vector<wire::TokenId>;

struct Case {
  const char* name;
  const char* folder;
  config::KvCacheDType kv_cache_dtype;
  std::int32_t drafts;
  bool overlap;
  bool switches;  // drafts are turned off and on again and again
  std::size_t requests;
};

constexpr std::int32_t kVocab = 512;
// Few tokens can be drawn, so that about a quarter of the drafts is right.
constexpr std::int32_t kDrawable = 4;

std::string folder_of(const Case& the_case) {
  return std::string(FATHOM_TEST_DATA "/") + the_case.folder;
}

std::span<const std::byte> page_of(const TensorView& layer, cache::PageId page) {
  const auto bytes = static_cast<std::size_t>(layer.shape[1]);
  return {static_cast<const std::byte*>(layer.data) + static_cast<std::size_t>(page) * bytes,
          bytes};
}

// Where the pages of one sequence lie.
struct Rows {
  const cache::KvStore& store;
  std::span<const cache::PageId> pages;
};

// Compares page `page` of two sequences in the layers [first, end).
void expect_equal_page(const Rows& a,
                       const Rows& b,
                       std::size_t page,
                       std::int32_t first,
                       std::int32_t end) {
  for (std::int32_t layer = first; layer < end; ++layer) {
    const auto equal = [&](const TensorView& in_a, const TensorView& in_b) {
      return std::ranges::equal(page_of(in_a, a.pages[page]), page_of(in_b, b.pages[page]));
    };
    EXPECT_TRUE(equal(a.store.latent(layer), b.store.latent(layer)))
        << "latent rows of layer " << layer << ", page " << page;
    EXPECT_TRUE(equal(a.store.index(layer), b.store.index(layer)))
        << "indexer rows of layer " << layer << ", page " << page;
  }
}

// Whether the first `rows` rows of two pages are the same in a layer.
bool same_first_rows(const cache::KvStore& a,
                     cache::PageId page_a,
                     const cache::KvStore& b,
                     cache::PageId page_b,
                     std::int32_t layer,
                     std::int32_t rows) {
  const config::KvLayout& layout = a.layout();
  const auto equal = [&](const TensorView& in_a, const TensorView& in_b, std::int64_t begin,
                         std::int64_t end) {
    const auto part = [&](const TensorView& in, cache::PageId page) {
      return page_of(in, page).subspan(static_cast<std::size_t>(begin),
                                       static_cast<std::size_t>(end - begin));
    };
    return std::ranges::equal(part(in_a, page_a), part(in_b, page_b));
  };
  const TensorView index_a = a.index(layer);
  const TensorView index_b = b.index(layer);
  return equal(a.latent(layer), b.latent(layer), 0, rows * layout.latent_record_bytes()) &&
         equal(index_a, index_b, layout.index_value_offset(0), layout.index_value_offset(rows)) &&
         (layout.index_dtype != DType::kF8E4M3 ||
          equal(index_a, index_b, layout.index_scale_offset(0), layout.index_scale_offset(rows)));
}

// The bare model, each layer in one pass over a finished sequence.
class OnePass {
 public:
  explicit OnePass(const Case& the_case) : runner_(folder_of(the_case), options(the_case)) {}

  // The rows of `tokens` but the last, whose row needs a token that does not exist. They hold until
  // the next call.
  Rows rows(const Tokens& tokens) {
    if (sequence_) runner_.drop_sequence(*sequence_);
    sequence_ = runner_.add_sequence();
    const ModelRunner::Piece piece{*sequence_, 0, {tokens.begin(), tokens.end() - 1}};
    const ModelRunner::Piece next{*sequence_, 0, {tokens.begin() + 1, tokens.end()}};
    const ModelRunner::Step step = runner_.forward({&piece, 1});
    runner_.draft({&next, 1}, step.hidden);
    return {runner_.store(), runner_.pages(*sequence_)};
  }
  std::int32_t main_layers() const { return runner_.config().num_hidden_layers; }

 private:
  static test_support::RunnerOptions options(const Case& the_case) {
    test_support::RunnerOptions options;
    options.arithmetic = config::Arithmetic::kDeployed;
    options.kv_cache_dtype = the_case.kv_cache_dtype;
    options.max_tokens = 704;
    options.max_positions = 704;
    options.pages = 16;
    return options;
  }

  ModelRunner runner_;
  std::optional<int> sequence_;
};

EngineRunnerOptions engine_options(const Case& the_case, std::int32_t drafts) {
  EngineRunnerOptions options;
  options.kv_cache_dtype = the_case.kv_cache_dtype;
  options.pages = 800;
  options.engine.context_tokens = 700;
  options.engine.first_unused_token = kDrawable;
  options.engine.drafts = drafts;
  return options;
}

wire::GenerateRequest random_request(std::mt19937& random) {
  wire::GenerateRequest request;
  if (random() % 2 == 0) {  // one of two beginnings
    std::mt19937 text(random() % 2);
    while (std::ssize(request.prompt) < 150) request.prompt.push_back(between(text, 0, kVocab - 1));
    request.prompt.resize(static_cast<std::size_t>(between(random, 60, 150)));
  }
  // Often up to a page's end exactly.
  std::ptrdiff_t length = std::ssize(request.prompt) + between(random, 1, 160);
  if (random() % 4 == 0) length = (length + 63) / 64 * 64;
  while (std::ssize(request.prompt) < length)
    request.prompt.push_back(between(random, 0, kVocab - 1));
  request.sampling.max_new_tokens =
      random() % 3 == 0 ? between(random, 200, 350) : between(random, 1, 80);
  request.sampling.temperature = random() % 4 == 0 ? 0 : 1;
  request.sampling.seed = random();
  // An end in the middle of what a step draws.
  if (random() % 5 == 0) {
    request.sampling.stop_token_ids = {between(random, 0, kDrawable - 1)};
    request.sampling.min_new_tokens =
        std::min(request.sampling.max_new_tokens, between(random, 0, 100));
  }
  request.stream = random() % 4 == 0;
  return request;
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<wire::TokenOutput> answers(EngineRunner& engine,
                                       std::span<const wire::GenerateRequest> requests,
                                       bool aborts) {
  std::vector<wire::RequestId> ids;
  ids.reserve(requests.size());
  for (const wire::GenerateRequest& request : requests) ids.push_back(engine.submit(request));
  for (std::size_t i = 0; aborts && i < ids.size(); i += 5) {
    if (!requests[i].stream) continue;
    engine.wait_for_tokens(ids[i], 30);
    engine.abort(ids[i]);
  }
  std::vector<wire::TokenOutput> outputs;
  outputs.reserve(ids.size());
  for (const wire::RequestId id : ids) outputs.push_back(engine.wait(id));
  const Status stopped = engine.stop();
  EXPECT_TRUE(stopped.ok()) << stopped.message();
  return outputs;
}

// What the schedules were like.
struct Seen {
  std::size_t pages = 0;
  std::size_t lacking = 0;  // of them, without draft rows
  int retractions = 0;
  std::int64_t cached = 0;
  wire::DraftCounts drafts;

  void add(const wire::TokenOutput& output) {
    retractions += output.retractions;
    cached += output.cached_tokens;
    drafts.drafts += output.drafts.drafts;
    drafts.accepted += output.drafts.accepted;
  }
};

void expect_equal_answer(const wire::TokenOutput& output, const wire::TokenOutput& expected) {
  if (output.finish != wire::Finish::kAbort) {
    EXPECT_EQ(output.tokens, expected.tokens);
    return;
  }
  ASSERT_LE(output.tokens.size(), expected.tokens.size());
  EXPECT_TRUE(std::equal(output.tokens.begin(), output.tokens.end(), expected.tokens.begin()));
}

class SpeculationRows : public testing::TestWithParam<Case> {};

TEST_P(SpeculationRows, AreThoseOfOnePass) {
  const bool all = std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  const std::size_t count = all ? 400 : GetParam().requests;
  std::mt19937 random(20251129);
  std::vector<wire::GenerateRequest> requests(count);
  for (wire::GenerateRequest& request : requests) request = random_request(random);

  EngineRunnerOptions roomy = engine_options(GetParam(), 0);
  roomy.pages = 8 * static_cast<std::int32_t>(count);
  EngineRunner plain(folder_of(GetParam()), roomy);
  const std::vector<wire::TokenOutput> expected = answers(plain, requests, /*aborts=*/false);

  OnePass one_pass(GetParam());
  const std::int32_t main_layers = one_pass.main_layers();
  Seen seen;
  // The pool is too small for them all, and what is evicted cannot be looked at: in parts.
  constexpr std::size_t kPart = 10;
  for (std::size_t first = 0; first < count; first += kPart) {
    EngineRunnerOptions crowded = engine_options(GetParam(), GetParam().drafts);
    crowded.pages = 13;
    crowded.engine.max_running = 12;
    crowded.engine.chunk_tokens = 57;
    crowded.engine.reserve_ratio = 0;
    crowded.engine.overlap = GetParam().overlap;
    if (GetParam().switches) {
      crowded.engine.draft_switch = {.window = 8, .retry = 10, .max_retry = 10, .least_gain = 1000};
    }
    EngineRunner engine(folder_of(GetParam()), crowded);
    const std::vector<wire::TokenOutput> outputs =
        answers(engine, std::span(requests).subspan(first, kPart), /*aborts=*/true);
    for (std::size_t i = 0; i < kPart; ++i) {
      SCOPED_TRACE("request " + std::to_string(first + i));
      expect_equal_answer(outputs[i], expected[first + i]);
      seen.add(outputs[i]);
      const Tokens whole = joined(requests[first + i].prompt, outputs[i].tokens);
      const std::vector<cache::PageId> found = engine.found_pages(whole);
      if (found.empty()) continue;
      seen.pages += found.size();
      const std::vector<cache::PageId> plain_pages = plain.found_pages(whole);
      ASSERT_GE(plain_pages.size(), found.size());
      const Rows rows{engine.store(), found};
      const Rows in_one_pass = one_pass.rows(whole);
      for (std::size_t page = 0; page < found.size(); ++page) {
        expect_equal_page(rows, {plain.store(), plain_pages}, page, 0, main_layers);
        const bool lacks = engine.lacks_draft_rows(found[page]);
        if (lacks) ++seen.lacking;
        expect_equal_page(rows, in_one_pass, page, 0, main_layers + (lacks ? 0 : 1));
      }
    }
  }
  RecordProperty("pages", static_cast<int>(seen.pages));
  RecordProperty("drafts", std::to_string(seen.drafts.drafts));
  RecordProperty("accepted", std::to_string(seen.drafts.accepted));
  RecordProperty("retractions", seen.retractions);
  RecordProperty("pages without draft rows", static_cast<int>(seen.lacking));
  RecordProperty("cached", std::to_string(seen.cached));
  // The schedule was what the test is about.
  EXPECT_GT(seen.pages, count / 2);
  EXPECT_EQ(seen.lacking > 0, GetParam().switches);
  EXPECT_LT(seen.lacking, seen.pages);
  EXPECT_GT(seen.drafts.accepted, seen.drafts.drafts / 20);
  EXPECT_GT(seen.drafts.accepted, std::ssize(requests));
  EXPECT_GE(seen.retractions, count >= 20 ? 1 : 0);
  EXPECT_GT(seen.cached, 0);
}

// Rows up to an answer's end, in a page that is not full. Nobody finds it, but nobody else needs
// pages either: it lies where the first layer has its rows.
TEST_P(SpeculationRows, ThoseOfAnAnswersEndAreThoseOfOnePass) {
  std::mt19937 random(20251130);
  OnePass one_pass(GetParam());
  std::int64_t accepted = 0;
  for (int i = 0; i < 8; ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    wire::GenerateRequest request;
    for (int j = 70 + 9 * i; j > 0; --j) request.prompt.push_back(between(random, 0, kVocab - 1));
    request.sampling.max_new_tokens = between(random, 2, 60);
    request.sampling.temperature = i % 2 == 0 ? 1 : 0;
    request.sampling.seed = random();
    // In the middle of what a step draws.
    if (i % 4 == 3) request.sampling.stop_token_ids = {i % kDrawable};
    EngineRunnerOptions options = engine_options(GetParam(), GetParam().drafts);
    options.pages = 16;
    options.engine.chunk_tokens = 57;
    options.engine.overlap = GetParam().overlap;
    EngineRunner engine(folder_of(GetParam()), options);
    const wire::TokenOutput output = answers(engine, {&request, 1}, /*aborts=*/false).front();
    accepted += output.drafts.accepted;
    const Tokens whole = joined(request.prompt, output.tokens);
    const auto rows = static_cast<std::int32_t>(whole.size()) - 1;
    const std::int32_t left = rows % config::kPageTokens;
    if (left == 0) continue;

    const Rows expected = one_pass.rows(whole);
    const cache::PageId last = expected.pages[static_cast<std::size_t>(rows / config::kPageTokens)];
    cache::PageId page = 0;
    while (page < options.pages &&
           !same_first_rows(engine.store(), page, expected.store, last, 0, left)) {
      ++page;
    }
    ASSERT_LT(page, options.pages);
    for (std::int32_t layer = 1; layer <= one_pass.main_layers(); ++layer) {
      EXPECT_TRUE(same_first_rows(engine.store(), page, expected.store, last, layer, left))
          << "layer " << layer << ", " << left << " rows";
    }
  }
  EXPECT_GT(accepted, 0);
}

// A page's last draft row is made of the token after the page.
TEST_P(SpeculationRows, APageIsFoundOnlyWhereTheTokenAfterItIsTheSame) {
  std::mt19937 random(7);
  Tokens page;
  while (page.size() < 64) page.push_back(between(random, 0, kVocab - 1));
  const auto request_for = [](const Tokens& prompt) {
    wire::GenerateRequest request;
    request.prompt = prompt;
    request.sampling.temperature = 0;
    request.sampling.max_new_tokens = 4;
    return request;
  };
  const Tokens one = joined(page, {100, 101, 102});
  const Tokens other = joined(page, {200, 101, 102});
  for (const std::int32_t drafts : {0, GetParam().drafts}) {
    SCOPED_TRACE("drafts " + std::to_string(drafts));
    EngineRunner engine(folder_of(GetParam()), engine_options(GetParam(), drafts));
    const auto run = [&](const Tokens& prompt) {
      return engine.wait(engine.submit(request_for(prompt))).cached_tokens;
    };
    EXPECT_EQ(run(one), 0);
    EXPECT_EQ(run(other), drafts > 0 ? 0 : 64);
    EXPECT_EQ(run(one), 64);
    EXPECT_EQ(run(other), 64);
    ASSERT_TRUE(engine.stop().ok());
    const std::vector<cache::PageId> pages_of_one = engine.found_pages(one);
    const std::vector<cache::PageId> pages_of_other = engine.found_pages(other);
    ASSERT_EQ(pages_of_one.size(), 1U);
    ASSERT_EQ(pages_of_other.size(), 1U);
    EXPECT_EQ(pages_of_one == pages_of_other, drafts == 0);
    OnePass one_pass(GetParam());
    const std::int32_t layers = one_pass.main_layers() + (drafts > 0 ? 1 : 0);
    expect_equal_page({engine.store(), pages_of_one}, one_pass.rows(one), 0, 0, layers);
    expect_equal_page({engine.store(), pages_of_other}, one_pass.rows(other), 0, 0, layers);
  }
}

// The token after a prompt that fills its pages is drawn: each sample has a last page of its own.
TEST_P(SpeculationRows, SamplesOfAPromptThatFillsItsPagesHaveTheirOwnLastPage) {
  std::mt19937 random(8);
  wire::GenerateRequest request;
  while (request.prompt.size() < 128) request.prompt.push_back(between(random, 0, kVocab - 1));
  request.sampling.temperature = 4;
  request.sampling.max_new_tokens = 70;
  EngineRunnerOptions options = engine_options(GetParam(), GetParam().drafts);
  options.engine.max_running = 8;
  EngineRunner engine(folder_of(GetParam()), options);
  std::vector<wire::GenerateRequest> requests(8, request);
  for (std::uint32_t sample = 0; sample < 8; ++sample) requests[sample].sampling.sample = sample;
  OnePass one_pass(GetParam());
  std::vector<cache::PageId> last_page_after(kDrawable, -1);
  for (const wire::TokenOutput& output : answers(engine, requests, /*aborts=*/false)) {
    const Tokens sequence = joined(request.prompt, output.tokens);
    const std::vector<cache::PageId> pages = engine.found_pages(sequence);
    ASSERT_EQ(pages.size(), 3U);
    const Rows expected = one_pass.rows(sequence);
    for (std::size_t page = 0; page < pages.size(); ++page) {
      expect_equal_page({engine.store(), pages}, expected, page, 0, one_pass.main_layers() + 1);
    }
    cache::PageId& last = last_page_after[static_cast<std::size_t>(sequence[128])];
    EXPECT_TRUE(last == -1 || last == pages[1]);
    last = pages[1];
  }
  std::erase(last_page_after, -1);
  EXPECT_GT(last_page_after.size(), 1U);
  std::ranges::sort(last_page_after);
  EXPECT_EQ(std::ranges::adjacent_find(last_page_after), last_page_after.end());
}

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    SpeculationRows,
    testing::Values(
        Case{"MicroBf16", "micro-bf16", config::KvCacheDType::kAuto, 1, false, false, 30},
        Case{"MicroBf16Fp8CacheAhead", "micro-bf16", config::KvCacheDType::kF8E4M3, 1, true, false,
             20},
        Case{"MicroBf16Chains", "micro-bf16", config::KvCacheDType::kAuto, 3, false, false, 20},
        Case{"MicroBf16Fp8CacheChainsAhead", "micro-bf16", config::KvCacheDType::kF8E4M3, 3, true,
             false, 30},
        Case{"MicroBf16OffAndOn", "micro-bf16", config::KvCacheDType::kAuto, 1, false, true, 30},
        Case{"SlimFp8Chains", "slim-fp8", config::KvCacheDType::kAuto, 3, false, false, 10}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::oracle
