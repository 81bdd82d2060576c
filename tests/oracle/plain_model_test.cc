#include "support/plain_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "model/rope_table.h"
#include "support/model_runner.h"
#include "support/plain_model_variants.h"
#include "support/safetensors_file.h"

// Exact arithmetic against a second, plain implementation in double precision, at sizes and for
// architectures that no recorded output covers.
//
// The bound of the logits. What float32 may differ by is computed, not read off: the plain model
// runs a second time, each operation's result disturbed by the rounding errors that a float32
// implementation has there (plain_model.cc, Rounding: number of roundings x unit x magnitude). The
// network carries them on as it does; what arrives at the logits is the expected error, as a root
// mean square over all rows of the text. The real run's root mean square may be kSafety times that:
// the model of the errors leaves out that some are not independent and that numbers of one row
// differ in size. Single logits may be kPeak times as far: six standard deviations, which hardly
// one of the 10^5 logits of a text passes by chance, in rows that amplify errors twice as much as
// others.
//
// Choices. Scores have a magnitude of 1 and inherit a relative error of a few 1e-6: a float32 score
// is off by less than kScoreNoise or kExpertNoise. Where the plain model's gap at the boundary is
// wider the choices are equal. Where a narrower gap decides the other way, the plain model follows
// the real one (everything after it depends on that) and the row counts as a near tie; more than
// 1 % of them is a failure.

namespace fathom::oracle {
namespace {

using test_support::ModelRunner;
using test_support::PlainChoice;
using test_support::PlainForced;
using test_support::PlainMatrix;
using test_support::PlainModel;
using test_support::PlainOutput;
using test_support::PlainSettings;
using test_support::RunnerOptions;
using test_support::SafetensorsFile;
using Ids = std::vector<std::int32_t>;

constexpr double kSafety = 2;
constexpr double kPeak = 6 * kSafety;
constexpr double kScoreNoise = 2e-5;
constexpr double kExpertNoise = 1e-5;

bool all_tests() {
  return std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
}

// A folder of its own, gone at the end.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(testing::TempDir() + "fathom_plain_model." + std::to_string(::getpid())) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// What the real model did with a text, rows in order.
class RealRun final : public model::Probe {
 public:
  void residual(std::int32_t /*layer*/, const TensorView& /*hidden*/) override {}
  void selection(std::int32_t layer,
                 std::int64_t /*first_row*/,
                 const TensorView& rows,
                 const TensorView& counts,
                 const TensorView& /*scores*/) override {
    for (std::int64_t t = 0; t < rows.shape[0]; ++t) {
      const auto* row = rows.row<std::int32_t>(t);
      selected[layer].emplace_back(row, row + counts.row<std::int32_t>(0)[t]);
    }
  }
  void experts(std::int32_t layer, const TensorView& rows, const TensorView& /*weights*/) override {
    for (std::int64_t t = 0; t < rows.shape[0]; ++t) {
      const auto* row = rows.row<std::int32_t>(t);
      Ids ids(row, row + rows.shape[1]);
      std::ranges::sort(ids);
      chosen[layer].push_back(std::move(ids));
    }
  }

  std::map<std::int32_t, std::vector<Ids>> selected;
  std::map<std::int32_t, std::vector<Ids>> chosen;
  std::vector<std::vector<float>> logits;
  std::vector<std::vector<float>> draft_logits;
};

// `ids` holds one token more than the rows that run: the draft layer sees it.
RealRun run_real(ModelRunner& runner, const Ids& ids, std::mt19937& random) {
  constexpr std::int32_t kDecoded = 5;  // the last tokens come one by one
  const auto rows = static_cast<std::int32_t>(ids.size()) - 1;
  RealRun run;
  const int sequence = runner.add_sequence();
  for (std::int32_t first = 0; first < rows;) {
    std::int32_t count = 1;
    if (first + kDecoded < rows) {
      count = std::uniform_int_distribution(1, std::min(96, rows - kDecoded - first))(random);
    }
    const auto begin = ids.begin() + first;
    const ModelRunner::Piece piece{sequence, first, {begin, begin + count}};
    const ModelRunner::Step step = runner.forward({&piece, 1}, &run);
    run.logits.insert(run.logits.end(), step.logits.begin(), step.logits.end());
    first += count;
    if (runner.config().num_nextn_predict_layers == 0) continue;
    const ModelRunner::Piece next{sequence, piece.first_position, {begin + 1, begin + 1 + count}};
    const ModelRunner::Step drafted = runner.draft({&next, 1}, step.hidden, &run);
    run.draft_logits.insert(run.draft_logits.end(), drafted.logits.begin(), drafted.logits.end());
  }
  runner.drop_sequence(sequence);
  return run;
}

struct PlainRun {
  PlainOutput main;
  PlainOutput draft;  // empty without a draft layer

  // Of every layer, the draft layer included.
  const std::vector<PlainChoice>* selected(std::int32_t layer) const {
    return find(main.selected.contains(layer) ? main.selected : draft.selected, layer);
  }
  const std::vector<PlainChoice>* experts(std::int32_t layer) const {
    return find(main.experts.contains(layer) ? main.experts : draft.experts, layer);
  }

 private:
  using Choices = std::map<std::int32_t, std::vector<PlainChoice>>;
  static const std::vector<PlainChoice>* find(const Choices& choices, std::int32_t layer) {
    const auto found = choices.find(layer);
    return found == choices.end() ? nullptr : &found->second;
  }
};

PlainRun run_plain(const PlainModel& model, const Ids& ids, const PlainSettings& settings = {}) {
  PlainRun run;
  const std::span<const std::int32_t> all(ids);
  run.main = model.forward(all.first(all.size() - 1), settings);
  if (model.config().num_nextn_predict_layers > 0) {
    run.draft = model.draft(all.subspan(1), run.main.hidden, settings);
  }
  return run;
}

double root_mean_square(const std::vector<double>& numbers) {
  double square = 0;
  for (const double number : numbers) square += number * number;
  return std::sqrt(square / static_cast<double>(numbers.size()));
}

double largest(const std::vector<double>& numbers) {
  double most = 0;
  for (const double number : numbers) {
    // A NaN must not look like a match.
    most = std::isnan(number) ? INFINITY : std::max(most, std::abs(number));
  }
  return most;
}

std::vector<double> differences(const std::vector<std::vector<float>>& got,
                                const PlainMatrix& want) {
  std::vector<double> out;
  for (std::size_t t = 0; t < got.size(); ++t) {
    const auto row = want.row(static_cast<std::int64_t>(t));
    for (std::size_t i = 0; i < row.size(); ++i) out.push_back(double{got[t][i]} - row[i]);
  }
  return out;
}

std::vector<double> differences(const PlainMatrix& got, const PlainMatrix& want) {
  std::vector<double> out;
  for (std::size_t i = 0; i < got.numbers.size(); ++i) {
    out.push_back(got.numbers[i] - want.numbers[i]);
  }
  return out;
}

void force_all(const std::map<std::int32_t, std::vector<PlainChoice>>& choices, PlainForced& to) {
  for (const auto& [layer, rows] : choices) {
    for (std::size_t t = 0; t < rows.size(); ++t) {
      to[{layer, static_cast<std::int64_t>(t)}] = rows[t].ids;
    }
  }
}

// A text as the plain model sees it, to compare real runs of its beginnings with.
class Reference {
 public:
  Reference(const PlainModel& model, Ids ids)
      : model_(model), ids_(std::move(ids)), plain_(run_plain(model, ids_)) {
    PlainSettings disturbed;
    for (const PlainOutput* output : {&plain_.main, &plain_.draft}) {
      force_all(output->selected, disturbed.selected);
      force_all(output->experts, disturbed.experts);
    }
    disturbed.rounding_seed = 1;
    const PlainRun noisy = run_plain(model, ids_, disturbed);
    main_.expected = root_mean_square(differences(noisy.main.logits, plain_.main.logits));
    if (!has_draft()) return;
    draft_.expected = root_mean_square(differences(noisy.draft.logits, plain_.draft.logits));
  }

  // The real model on the first `rows` tokens, in random pieces.
  void check(ModelRunner& runner, std::size_t rows, std::mt19937& random) {
    SCOPED_TRACE(std::to_string(rows) + " tokens");
    const Ids ids(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(rows) + 1);
    const RealRun real = run_real(runner, ids, random);
    ASSERT_EQ(real.logits.size(), rows);
    PlainSettings followed;
    PlainRun own;
    const PlainRun* plain = &plain_;
    while (follow_near_ties(real, *plain, followed)) {
      own = run_plain(model_, ids, followed);
      plain = &own;
    }
    near_ties_ += followed.selected.size() + followed.experts.size();
    expect_close(differences(real.logits, plain->main.logits), main_);
    if (!has_draft()) return;
    expect_close(differences(real.draft_logits, plain->draft.logits), draft_);
  }

  void expect_few_near_ties() const {
    EXPECT_LE(100 * near_ties_, compared_) << near_ties_ << " of " << compared_;
    EXPECT_GT(compared_, 0U);
  }

  std::string describe() const {
    std::array<char, 200> text{};
    std::snprintf(text.data(), text.size(),
                  "%zu near ties in %zu rows; errors %.1e expected, %.2f and %.1f times that at "
                  "most; draft %.1e, %.2f and %.1f",
                  near_ties_, compared_, main_.expected, main_.rms, main_.peak, draft_.expected,
                  draft_.rms, draft_.peak);
    return text.data();
  }

 private:
  bool has_draft() const { return model_.config().num_nextn_predict_layers > 0; }

  // Compares choices up to the first layer with near ties that fell the other way; true when there
  // is one, and what the real model chose is then in `followed`.
  bool follow_near_ties(const RealRun& real, const PlainRun& plain, PlainSettings& followed) {
    for (std::int32_t layer = 0; layer < model_.config().layers_with_cache(); ++layer) {
      const auto selected = real.selected.find(layer);
      if (selected == real.selected.end()) {
        ADD_FAILURE() << "layer " << layer << " selected nothing";
        return false;
      }
      if (follow(layer, selected->second, plain.selected(layer), kScoreNoise, followed.selected)) {
        return true;
      }
      const auto chosen = real.chosen.find(layer);
      if (chosen == real.chosen.end()) {
        EXPECT_EQ(plain.experts(layer), nullptr) << "layer " << layer;
        continue;
      }
      if (follow(layer, chosen->second, plain.experts(layer), kExpertNoise, followed.experts)) {
        return true;
      }
    }
    return false;
  }

  bool follow(std::int32_t layer,
              const std::vector<Ids>& got,
              const std::vector<PlainChoice>* want,
              double noise,
              PlainForced& followed) {
    if (want == nullptr) {
      ADD_FAILURE() << "layer " << layer << " has experts";
      return false;
    }
    bool any = false;
    compared_ += got.size();
    for (std::size_t t = 0; t < got.size(); ++t) {
      if (got[t] == (*want)[t].ids) continue;
      const bool near = (*want)[t].gap <= noise;
      EXPECT_TRUE(near) << "layer " << layer << " row " << t << ": another choice, gap "
                        << (*want)[t].gap;
      if (!near) return false;
      any = followed.emplace(std::pair(layer, static_cast<std::int64_t>(t)), got[t]).second || any;
    }
    return any;
  }

  // How far logits are off; the measured ones are the largest of all runs, in units of `expected`.
  struct Errors {
    double expected = 0;  // root mean square
    double rms = 0;
    double peak = 0;
  };

  static void expect_close(const std::vector<double>& off, Errors& errors) {
    const double rms = root_mean_square(off) / errors.expected;
    const double peak = largest(off) / errors.expected;
    EXPECT_LE(rms, kSafety);
    EXPECT_LE(peak, kPeak);
    errors.rms = std::max(errors.rms, rms);
    errors.peak = std::max(errors.peak, peak);
  }

  const PlainModel& model_;
  Ids ids_;
  PlainRun plain_;
  Errors main_;
  Errors draft_;
  std::size_t compared_ = 0;
  std::size_t near_ties_ = 0;
};

Ids random_ids(std::size_t count, std::int32_t vocabulary, std::mt19937& random) {
  std::uniform_int_distribution<std::int32_t> any(0, vocabulary - 1);
  Ids ids;
  while (ids.size() < count) ids.push_back(any(random));
  return ids;
}

// One text of the longest length; the real model runs its beginnings.
void check_lengths(const std::string& name,
                   const std::filesystem::path& folder,
                   const std::vector<std::size_t>& lengths,
                   std::uint32_t seed) {
  std::mt19937 random(seed);
  const PlainModel model(folder);
  Reference reference(model,
                      random_ids(std::ranges::max(lengths) + 1, model.config().vocab_size, random));
  RunnerOptions options;
  options.max_tokens = 96;
  options.max_positions = 640;
  options.pages = 10;
  ModelRunner runner(folder, options);
  for (const std::size_t length : lengths) reference.check(runner, length, random);
  SCOPED_TRACE(reference.describe());
  ::testing::Test::RecordProperty(name + std::to_string(seed), reference.describe());
  reference.expect_few_near_ties();
}

std::vector<std::uint32_t> seeds() {
  return all_tests() ? std::vector<std::uint32_t>{1, 2, 3, 4, 5} : std::vector<std::uint32_t>{1};
}

const std::filesystem::path kData = FATHOM_TEST_DATA;

// Recorded outputs first: what is compared with below is itself right.
void expect_golden(const std::filesystem::path& folder, const std::vector<int>& lengths) {
  const SafetensorsFile golden(folder / "golden.safetensors");
  const PlainModel model(folder);
  for (const int length : lengths) {
    SCOPED_TRACE(length);
    const std::string prefix = std::to_string(length) + ".";
    const auto prompt = golden.ints(prefix + "input_ids");
    Ids ids(prompt.begin(), prompt.end());
    ids.push_back(golden.ints(prefix + "greedy")[0]);

    const PlainRun run = run_plain(model, ids);

    const auto compare = [&](const PlainMatrix& got, const std::string& name) {
      const auto want = golden.floats(prefix + name);
      ASSERT_EQ(got.numbers.size(), want.size()) << name;
      double worst = 0;
      for (std::size_t i = 0; i < want.size(); ++i) {
        worst = std::max(worst, std::abs(got.numbers[i] - want[i]));
      }
      EXPECT_LE(worst, 1e-3) << name;
    };
    compare(run.main.logits, "logits");
    compare(run.draft.logits, "mtp_logits");
    for (const auto& [layer, rows] : run.main.selected) {
      const auto chosen = golden.ints(prefix + "topk." + std::to_string(layer));
      const std::size_t width = chosen.size() / rows.size();
      for (std::size_t t = 0; t < rows.size(); ++t) {
        Ids want;
        for (const std::int32_t s : chosen.subspan(t * width, width)) {
          if (s <= static_cast<std::int32_t>(t)) want.push_back(s);
        }
        EXPECT_EQ(rows[t].ids, want) << "layer " << layer << " row " << t;
      }
    }
  }
}

TEST(PlainModelItself, EqualsTheRecordedOutputs) {
  expect_golden(kData / "micro-bf16", {7, 40, 90});
  expect_golden(kData / "slim-fp8", {9, 64, 150});
}

TEST(ExactModel, MicroBf16EqualsThePlainModelAtEveryLength) {
  // The selection begins at 33 tokens, the original context ends at 128.
  for (const std::uint32_t seed : seeds()) {
    check_lengths("micro", kData / "micro-bf16", {1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300},
                  seed);
  }
}

TEST(ExactModel, SlimFp8EqualsThePlainModelAtEveryLength) {
  // The selection begins at 65 tokens, the original context ends at 256.
  for (const std::uint32_t seed : seeds()) {
    check_lengths("slim", kData / "slim-fp8", {1, 63, 64, 65, 127, 128, 129, 520}, seed);
  }
}

TEST(ExactModel, EqualsThePlainModelForOtherArchitectures) {
  for (const test_support::Variant& variant : test_support::plain_variants()) {
    SCOPED_TRACE(variant.name);
    for (const std::uint32_t seed : seeds()) {
      const TemporaryFolder folder;
      test_support::write_variant(variant, seed, folder.path());
      const auto top = static_cast<std::size_t>(variant.config.index_topk);
      check_lengths(variant.name, folder.path(), {1, top - 1, top, top + 1, 64, 65, 130}, seed);
    }
  }
}

// Far beyond the original context of 4096, without a text of that length: the rotations.
TEST(ExactModel, RotatesLikeThePlainModelUpToTheLastPosition) {
  const config::ModelConfig config =
      config::parse_model_config(
          read_small_file(std::filesystem::path(FATHOM_SOURCE_DIR) / "tests/data/real-config.json",
                          std::int64_t{1} << 20)
              .value())
          .value();
  const std::vector<float> frequencies = test_support::plain_frequencies(config);

  const model::RopeTable table = model::make_rope_table(config, config.max_position_embeddings);

  ASSERT_EQ(table.pairs, static_cast<std::int32_t>(frequencies.size()));
  double worst = 0;
  for (std::int32_t position = 0; position < table.positions; position += 61) {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const auto want = test_support::plain_rotation(frequencies[i], position);
      const std::size_t at = static_cast<std::size_t>(position) * frequencies.size() + i;
      worst =
          std::max({worst, std::abs(table.cos[at] - want.cos), std::abs(table.sin[at] - want.sin)});
    }
  }
  // Numbers up to 1 are rounded to float32 once: half a unit of 2^-24.
  EXPECT_LE(worst, 0x1p-25 + 1e-12);
}

}  // namespace
}  // namespace fathom::oracle
