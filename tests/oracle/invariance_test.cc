#include <algorithm>
#include <bit>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/model_runner.h"

// A request's numbers are a function of the request alone: the same bits alone, in batches, in
// chunks, behind a cached prefix, on one thread and on several (docs/arithmetic.md 13). Random
// schedules are compared with the plainest one, bit by bit.

namespace fathom::oracle {
namespace {

using test_support::ModelRunner;
using test_support::RunnerOptions;

struct Case {
  const char* name;
  const char* folder;
  config::Arithmetic arithmetic;
  config::KvCacheDType kv_cache_dtype;
};

// Every row's bits of one sequence: main logits, hidden state, draft logits, in that order.
struct Bits {
  std::vector<std::vector<std::uint32_t>> rows;
  bool operator==(const Bits&) const = default;
};

void append(std::vector<std::uint32_t>& to, std::span<const float> numbers) {
  for (const float number : numbers) to.push_back(std::bit_cast<std::uint32_t>(number));
}

constexpr std::int32_t kPositions = 320;

std::vector<std::int32_t> random_ids(std::mt19937& random, std::size_t length) {
  std::vector<std::int32_t> ids(length);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % 512);
  return ids;
}

// A sequence on its way through a schedule. The draft layer follows the main model row by row; the
// token after the last one is taken to be 7.
struct Progress {
  int sequence = 0;
  std::vector<std::int32_t> ids;
  std::int32_t done = 0;
  Bits bits;

  std::int32_t left() const { return static_cast<std::int32_t>(ids.size()) - done; }
  std::int32_t next_id(std::int32_t position) const {
    const auto next = static_cast<std::size_t>(position) + 1;
    return next < ids.size() ? ids[next] : 7;
  }
};

// Runs one step of some of the sequences and keeps each row's bits. `sizes[i]` tokens of
// sequences[i]; 0 leaves it out.
void run_step(ModelRunner& runner,
              std::vector<Progress>& sequences,
              const std::vector<std::int32_t>& sizes) {
  std::vector<ModelRunner::Piece> pieces;
  std::vector<ModelRunner::Piece> draft_pieces;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    if (sizes[i] == 0) continue;
    const Progress& progress = sequences[i];
    ModelRunner::Piece piece{progress.sequence, progress.done, {}};
    ModelRunner::Piece draft = piece;
    for (std::int32_t k = 0; k < sizes[i]; ++k) {
      piece.ids.push_back(
          progress.ids.at(static_cast<std::size_t>(progress.done) + static_cast<std::size_t>(k)));
      draft.ids.push_back(progress.next_id(progress.done + k));
    }
    pieces.push_back(std::move(piece));
    draft_pieces.push_back(std::move(draft));
  }
  const ModelRunner::Step step = runner.forward(pieces);
  const ModelRunner::Step drafted = runner.draft(draft_pieces, step.hidden);
  const auto hidden = static_cast<std::size_t>(runner.config().hidden_size);
  std::size_t row = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    for (std::int32_t k = 0; k < sizes[i]; ++k, ++row) {
      std::vector<std::uint32_t>& bits = sequences[i].bits.rows.emplace_back();
      append(bits, step.logits[row]);
      append(bits, std::span(step.hidden).subspan(row * hidden, hidden));
      append(bits, drafted.logits[row]);
    }
    sequences[i].done += sizes[i];
  }
}

// The plainest schedule: one sequence, one step, one thread.
Bits alone(const std::filesystem::path& folder,
           RunnerOptions options,
           const std::vector<std::int32_t>& ids) {
  options.threads = 1;
  options.pages = kPositions / config::kPageTokens;
  ModelRunner runner(folder, options);
  std::vector<Progress> one(1);
  one[0].sequence = runner.add_sequence();
  one[0].ids = ids;
  run_step(runner, one, {static_cast<std::int32_t>(ids.size())});
  return one[0].bits;
}

// Steps of random sequences with random chunks, many of one token as in decode.
void run_randomly(ModelRunner& runner, std::vector<Progress>& sequences, std::mt19937& random) {
  while (std::ranges::any_of(sequences, [](const Progress& p) { return p.left() > 0; })) {
    std::vector<std::int32_t> sizes;
    std::int32_t room = 256;
    for (const Progress& progress : sequences) {
      std::int32_t size = 0;
      if (progress.left() > 0 && random() % 3 != 0) {
        size = random() % 2 == 0 ? 1 : 1 + static_cast<std::int32_t>(random() % 90);
      }
      size = std::min({size, progress.left(), room});
      room -= size;
      sizes.push_back(size);
    }
    run_step(runner, sequences, sizes);
  }
}

bool long_run() {
  return std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
}

class Invariance : public ::testing::TestWithParam<Case> {};

TEST_P(Invariance, ARowHasTheSameBitsHoweverItIsScheduled) {
  const std::filesystem::path folder = std::filesystem::path(FATHOM_TEST_DATA) / GetParam().folder;
  RunnerOptions options;
  options.arithmetic = GetParam().arithmetic;
  options.kv_cache_dtype = GetParam().kv_cache_dtype;
  options.max_tokens = kPositions;
  options.max_positions = kPositions;
  options.pages = 40;
  // Lengths at the borders of pages, of the selection (32 and 64) and past the original context.
  std::vector<std::size_t> lengths = {1, 31, 32, 33, 63, 64, 65, 128, 129, 300};
  if (!long_run()) lengths = {1, 33, 64, 65, 129, 300};

  const int seeds = long_run() ? 12 : 2;
  for (int seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(static_cast<unsigned>(seed));
    options.threads = 1 + seed % 3;
    ModelRunner runner(folder, options);
    std::ranges::shuffle(lengths, random);
    const std::size_t together = std::min<std::size_t>(lengths.size(), 6);
    std::vector<Progress> sequences(together);
    for (std::size_t i = 0; i < together; ++i) {
      sequences[i].sequence = runner.add_sequence();
      sequences[i].ids = random_ids(random, lengths[i]);
    }

    run_randomly(runner, sequences, random);

    for (const Progress& progress : sequences) {
      EXPECT_TRUE(progress.bits == alone(folder, options, progress.ids))
          << "a sequence of " << progress.ids.size() << " tokens";
    }
  }
}

TEST_P(Invariance, ACachedPrefixChangesNothing) {
  const std::filesystem::path folder = std::filesystem::path(FATHOM_TEST_DATA) / GetParam().folder;
  RunnerOptions options;
  options.arithmetic = GetParam().arithmetic;
  options.kv_cache_dtype = GetParam().kv_cache_dtype;
  options.max_tokens = kPositions;
  options.max_positions = kPositions;
  options.threads = 2;
  options.pages = 40;
  std::mt19937 random(11);
  ModelRunner runner(folder, options);
  std::vector<Progress> first(1);
  first[0].sequence = runner.add_sequence();
  first[0].ids = random_ids(random, 150);
  run_randomly(runner, first, random);

  // The second sequence begins with the same 129 tokens: two full pages are shared, and with them
  // the draft layer's rows, which depend on one token more.
  std::vector<Progress> second(1);
  second[0].ids.assign(first[0].ids.begin(), first[0].ids.begin() + 129);
  const std::vector<std::int32_t> own = random_ids(random, 100);
  second[0].ids.insert(second[0].ids.end(), own.begin(), own.end());
  second[0].sequence = runner.fork_sequence(first[0].sequence, 128);
  second[0].done = 128;
  run_randomly(runner, second, random);

  const Bits want = alone(folder, options, second[0].ids);
  ASSERT_EQ(second[0].bits.rows.size() + 128, want.rows.size());
  for (std::size_t i = 0; i < second[0].bits.rows.size(); ++i) {
    ASSERT_EQ(second[0].bits.rows[i], want.rows[128 + i]) << "position " << 128 + i;
  }
}

// The choices of every MoE layer of a step, row by row.
class ExpertProbe final : public model::Probe {
 public:
  struct Row {
    std::vector<std::int32_t> experts;
    std::vector<float> weights;
    bool operator==(const Row&) const = default;
  };

  void residual(std::int32_t /*layer*/, const TensorView& /*hidden*/) override {}
  void selection(std::int32_t /*layer*/,
                 std::int64_t /*first_row*/,
                 const TensorView& /*selected*/,
                 const TensorView& /*count*/,
                 const TensorView& /*scores*/) override {}
  void experts(std::int32_t /*layer*/,
               const TensorView& experts,
               const TensorView& weights) override {
    std::vector<Row>& rows = layers.emplace_back();
    const std::int64_t k = experts.shape[1];
    for (std::int64_t t = 0; t < experts.shape[0]; ++t) {
      const auto* chosen = experts.row<const std::int32_t>(t);
      const auto* weight = weights.row<const float>(t);
      rows.push_back({{chosen, chosen + k}, {weight, weight + k}});
    }
  }

  std::vector<std::vector<Row>> layers;
};

// A step without padding and the same with: two sequences, and rows of padding behind each.
struct PaddedPair {
  std::size_t first = 0;    // rows of the first sequence
  std::size_t second = 0;   // of the second
  std::size_t padding = 0;  // behind each

  // Where row i of the plain step is in the padded one.
  std::size_t place(std::size_t i) const { return i < first ? i : i + padding; }
  bool is_padding(std::size_t row) const {
    return (row >= first && row < first + padding) || row >= first + padding + second;
  }
};

void expect_equal_rows(const PaddedPair& pair,
                       const ModelRunner::Step& plain,
                       const ModelRunner::Step& padded) {
  const std::size_t hidden = plain.hidden.size() / plain.logits.size();
  const auto bits = [&](const ModelRunner::Step& step, std::size_t row) {
    std::vector<std::uint32_t> all;
    append(all, step.logits[row]);
    append(all, std::span(step.hidden).subspan(row * hidden, hidden));
    return all;
  };
  for (std::size_t i = 0; i < plain.logits.size(); ++i) {
    ASSERT_EQ(bits(plain, i), bits(padded, pair.place(i))) << "row " << i;
  }
}

void expect_experts(const PaddedPair& pair, const ExpertProbe& plain, const ExpertProbe& padded) {
  ASSERT_FALSE(plain.layers.empty());
  ASSERT_EQ(plain.layers.size(), padded.layers.size());
  for (std::size_t layer = 0; layer < plain.layers.size(); ++layer) {
    const auto& own = plain.layers[layer];
    const auto& rows = padded.layers[layer];
    for (std::size_t i = 0; i < own.size(); ++i) {
      ASSERT_EQ(own[i], rows[pair.place(i)]) << "row " << i;
    }
    for (std::size_t row = 0; row < rows.size(); ++row) {
      if (!pair.is_padding(row)) continue;
      const ExpertProbe::Row none{std::vector<std::int32_t>(rows[row].experts.size(), -1),
                                  std::vector<float>(rows[row].weights.size(), 0.0F)};
      ASSERT_EQ(rows[row], none) << "row " << row;
    }
  }
}

TEST_P(Invariance, PaddingRowsTouchNoOtherRowAndReadNoExpert) {
  const std::filesystem::path folder = std::filesystem::path(FATHOM_TEST_DATA) / GetParam().folder;
  RunnerOptions options;
  options.arithmetic = GetParam().arithmetic;
  options.kv_cache_dtype = GetParam().kv_cache_dtype;
  options.max_positions = kPositions;
  options.threads = 2;
  options.pages = 10;
  ModelRunner plain(folder, options);
  ModelRunner padded(folder, options);
  for (ModelRunner* runner : {&plain, &padded}) {
    runner->add_sequence();
    runner->add_sequence();
  }
  std::mt19937 random(12);
  std::int32_t first_done = 0;
  std::int32_t second_done = 0;
  for (const PaddedPair& pair : {PaddedPair{40, 70, 3}, PaddedPair{1, 1, 1}, PaddedPair{1, 2, 5}}) {
    const std::vector<ModelRunner::Piece> pieces{{0, first_done, random_ids(random, pair.first)},
                                                 {1, second_done, random_ids(random, pair.second)}};
    const ModelRunner::Piece padding{1, -1, random_ids(random, pair.padding)};
    const std::vector<ModelRunner::Piece> all{pieces[0], padding, pieces[1], padding};
    ExpertProbe of_plain;
    ExpertProbe of_padded;

    const ModelRunner::Step want = plain.forward(pieces, &of_plain);
    const ModelRunner::Step got = padded.forward(all, &of_padded);
    expect_equal_rows(pair, want, got);
    expect_equal_rows(pair, plain.draft(pieces, want.hidden, &of_plain),
                      padded.draft(all, got.hidden, &of_padded));
    expect_experts(pair, of_plain, of_padded);

    first_done += static_cast<std::int32_t>(pair.first);
    second_done += static_cast<std::int32_t>(pair.second);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models,
    Invariance,
    ::testing::Values(
        Case{"MicroExact", "micro-bf16", config::Arithmetic::kExact, config::KvCacheDType::kAuto},
        Case{"MicroDeployed", "micro-bf16", config::Arithmetic::kDeployed,
             config::KvCacheDType::kBF16},
        Case{"MicroDeployedFp8Cache", "micro-bf16", config::Arithmetic::kDeployed,
             config::KvCacheDType::kF8E4M3},
        Case{"SlimExact", "slim-fp8", config::Arithmetic::kExact, config::KvCacheDType::kAuto},
        Case{"SlimDeployed", "slim-fp8", config::Arithmetic::kDeployed,
             config::KvCacheDType::kBF16},
        Case{"SlimDeployedFp8Cache", "slim-fp8", config::Arithmetic::kDeployed,
             config::KvCacheDType::kF8E4M3}),
    [](const ::testing::TestParamInfo<Case>& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace fathom::oracle
