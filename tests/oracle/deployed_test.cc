#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "support/model_runner.h"
#include "support/safetensors_file.h"

// Deployed arithmetic against exact arithmetic (which golden_test holds to the reference), under
// equal expert choices and selected positions: the exact run's choices are replayed.
//
// The bound is derived, per prompt, as a relative root-mean-square error of all logits:
//
//   unit errors     u = 2^-8 / √3 for a rounding to bf16, q = 2^-4 / √3 for one to e4m3: the
//                   root mean square of an error uniform in half a step, relative to the smallest
//                   number with that step (so an upper bound of the relative error).
//   one layer       its roundings are independent, so their squares add: the counts are those of
//                   docs/arithmetic.md 12. The sum is relative to what the layer adds to the
//                   residual stream; the exact run says how large that is beside the stream.
//   propagation     an error of the stream before a layer reaches the logits with the network's own
//                   gain. It is measured on the exact network, by disturbing the stream by 1e-3 of
//                   noise there: a property of the function, not of the deployed run.
//   safety          a factor of 2 for what first-order, independent errors leave out: the same
//                   quantised input feeding several products, and the softmax.

namespace fathom::oracle {
namespace {

using test_support::ModelRunner;
using test_support::RunnerOptions;
using test_support::SafetensorsFile;

const double kBf16Error = 0x1p-8 / std::sqrt(3.0);
const double kFp8Error = 0x1p-4 / std::sqrt(3.0);

// Choices and residual streams of a prompt that ran in one step.
class Recorder : public model::Probe {
 public:
  void residual(std::int32_t layer, const TensorView& hidden) override {
    std::vector<float> all;
    for (std::int64_t t = 0; t < hidden.shape[0]; ++t) {
      const auto* row = hidden.row<float>(t);
      all.insert(all.end(), row, row + hidden.shape[1]);
    }
    streams[layer] = std::move(all);
  }
  void selection(std::int32_t layer,
                 std::int64_t /*first_row*/,
                 const TensorView& rows,
                 const TensorView& row_counts,
                 const TensorView& /*scores*/) override {
    width = rows.shape[1];
    for (std::int64_t t = 0; t < rows.shape[0]; ++t) {
      const auto* row = rows.row<std::int32_t>(t);
      selected[layer].insert(selected[layer].end(), row, row + width);
      counts[layer].push_back(row_counts.row<std::int32_t>(0)[t]);
    }
  }
  void experts(std::int32_t layer, const TensorView& rows, const TensorView& /*weights*/) override {
    chosen = rows.shape[1];
    for (std::int64_t t = 0; t < rows.shape[0]; ++t) {
      const auto* row = rows.row<std::int32_t>(t);
      expert_rows[layer].insert(expert_rows[layer].end(), row, row + chosen);
    }
  }

  std::int64_t width = 0;
  std::int64_t chosen = 0;
  std::map<std::int32_t, std::vector<float>> streams;
  std::map<std::int32_t, std::vector<std::int32_t>> selected;
  std::map<std::int32_t, std::vector<std::int32_t>> counts;
  std::map<std::int32_t, std::vector<std::int32_t>> expert_rows;
};

class Recorded final : public model::Replay {
 public:
  explicit Recorded(Recorder& from) : from_(from) {}
  TensorView selected(std::int32_t layer) override {
    return view(from_.selected[layer], from_.width);
  }
  TensorView count(std::int32_t layer) override {
    std::vector<std::int32_t>& counts = from_.counts[layer];
    return {counts.data(), DType::kI32, {static_cast<std::int64_t>(counts.size())}};
  }
  TensorView experts(std::int32_t layer) override {
    return view(from_.expert_rows[layer], from_.chosen);
  }

 private:
  static TensorView view(std::vector<std::int32_t>& numbers, std::int64_t width) {
    return {
        numbers.data(), DType::kI32, {static_cast<std::int64_t>(numbers.size()) / width, width}};
  }
  Recorder& from_;
};

// Adds noise of a known relative size to the residual stream before one layer.
class Disturbance final : public model::Probe {
 public:
  Disturbance(std::int32_t layer, double size) : layer_(layer), size_(size) {}
  void residual(std::int32_t layer, const TensorView& hidden) override {
    if (layer != layer_) return;
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (std::int64_t t = 0; t < hidden.shape[0]; ++t) {
      auto* row = hidden.row<float>(t);
      double square = 0;
      for (std::int64_t i = 0; i < hidden.shape[1]; ++i) square += double{row[i]} * row[i];
      const double rms = std::sqrt(square / static_cast<double>(hidden.shape[1]));
      for (std::int64_t i = 0; i < hidden.shape[1]; ++i) {
        row[i] += static_cast<float>(rms * size_) * normal(random);
      }
    }
  }
  void selection(std::int32_t /*layer*/,
                 std::int64_t /*row*/,
                 const TensorView& /*selected*/,
                 const TensorView& /*count*/,
                 const TensorView& /*scores*/) override {}
  void experts(std::int32_t /*layer*/,
               const TensorView& /*experts*/,
               const TensorView& /*weights*/) override {}

 private:
  std::int32_t layer_;
  double size_;
};

double norm(std::span<const float> numbers) {
  double square = 0;
  for (const float number : numbers) square += double{number} * number;
  return std::sqrt(square);
}

double distance(std::span<const float> a, std::span<const float> b) {
  double square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = double{a[i]} - b[i];
    square += difference * difference;
  }
  return std::sqrt(square);
}

std::vector<float> all_logits(const ModelRunner::Step& step) {
  std::vector<float> all;
  for (const std::vector<float>& row : step.logits) all.insert(all.end(), row.begin(), row.end());
  return all;
}

// Relative error of what one layer adds to the stream (docs/arithmetic.md 12).
double layer_error(bool fp8_weights, bool fp8_cache) {
  // Attention rounds to bf16: norm, q_a, its norm, q_b, the absorbed query, its rotated part,
  // kv_a, its norm, the rotated key, p, the attended latent, the heads' values, o: 13. The MLP: the
  // norm, gate, up, their product, down, and with experts the combined sum: 6. The stream itself is
  // rounded twice.
  constexpr double kBf16Roundings = 13 + 6 + 2;
  // To e4m3: the inputs of q_a and kv_a, of q_b, of o; of gate and of up, of down. A cached latent
  // is read twice, as key and as value.
  const double fp8_roundings = (fp8_weights ? 6.0 : 0.0) + (fp8_cache ? 2.0 : 0.0);
  return std::sqrt(kBf16Roundings * kBf16Error * kBf16Error +
                   fp8_roundings * kFp8Error * kFp8Error);
}

struct Comparison {
  double error = 0;  // relative, measured
  double bound = 0;  // relative, derived
};

Comparison compare(const std::filesystem::path& folder,
                   std::span<const std::int32_t> ids,
                   config::KvCacheDType cache) {
  RunnerOptions options;
  options.threads = 2;
  options.max_tokens = static_cast<std::int32_t>(ids.size());
  ModelRunner exact(folder, options);
  const ModelRunner::Piece prompt{exact.add_sequence(), 0, {ids.begin(), ids.end()}};
  Recorder recorder;
  const std::vector<float> want = all_logits(exact.forward({&prompt, 1}, &recorder));
  Recorded replay(recorder);

  options.arithmetic = config::Arithmetic::kDeployed;
  options.kv_cache_dtype = cache;
  ModelRunner deployed(folder, options);
  const ModelRunner::Piece same{deployed.add_sequence(), 0, prompt.ids};
  Comparison result;
  result.error =
      distance(all_logits(deployed.forward({&same, 1}, nullptr, &replay)), want) / norm(want);

  constexpr double kNoise = 1e-3;
  const std::int32_t layers = exact.config().num_hidden_layers;
  const double each =
      layer_error(exact.config().quantization.has_value(), cache == config::KvCacheDType::kF8E4M3);
  // The last roundings: the final norm's output.
  double square = kBf16Error * kBf16Error;
  double gain = 1;
  for (std::int32_t layer = layers - 1; layer >= 0; --layer) {
    // What the layer added. After the last one the stream is not shown; what it adds is taken to be
    // as large as the stream before it.
    const std::vector<float>& before = recorder.streams[layer];
    double share = 1;
    if (layer + 1 < layers) {
      const std::vector<float>& after = recorder.streams[layer + 1];
      share = distance(after, before) / norm(after);
    }
    square += std::pow(gain * each * share, 2);
    Disturbance disturbance(layer, kNoise);
    const std::vector<float> disturbed =
        all_logits(exact.forward({&prompt, 1}, &disturbance, &replay));
    gain = std::max(gain, distance(disturbed, want) / norm(want) / kNoise);
  }
  result.bound = 2 * std::sqrt(square);
  return result;
}

void expect_within_bound(const std::filesystem::path& folder,
                         const std::string& prompt,
                         config::KvCacheDType cache) {
  const SafetensorsFile golden(folder / "golden.safetensors");
  const Comparison result = compare(folder, golden.ints(prompt + ".input_ids"), cache);
  ::testing::Test::RecordProperty(
      "p" + prompt + (cache == config::KvCacheDType::kBF16 ? "_bf16" : "_fp8"),
      std::to_string(result.error) + " of " + std::to_string(result.bound));
  EXPECT_LE(result.error, result.bound) << prompt;
  // A bound above this would let a wrong model through: mistakes give errors near 1.
  EXPECT_LE(result.bound, 0.5) << prompt;
  EXPECT_GT(result.error, 0) << prompt;
}

const std::filesystem::path kData = FATHOM_TEST_DATA;
const std::filesystem::path kTiny =
    std::filesystem::path(FATHOM_SOURCE_DIR) / "models" / "fathom-tiny";

TEST(Deployed, MicroBf16StaysWithinTheDerivedBound) {
  for (const char* prompt : {"7", "40", "90"}) {
    expect_within_bound(kData / "micro-bf16", prompt, config::KvCacheDType::kBF16);
    expect_within_bound(kData / "micro-bf16", prompt, config::KvCacheDType::kF8E4M3);
  }
}

TEST(Deployed, SlimFp8StaysWithinTheDerivedBound) {
  for (const char* prompt : {"9", "64", "150"}) {
    expect_within_bound(kData / "slim-fp8", prompt, config::KvCacheDType::kBF16);
    expect_within_bound(kData / "slim-fp8", prompt, config::KvCacheDType::kF8E4M3);
  }
}

TEST(Deployed, FathomTinyStaysWithinTheDerivedBound) {
  expect_within_bound(kTiny, "1", config::KvCacheDType::kBF16);
  expect_within_bound(kTiny, "3", config::KvCacheDType::kBF16);
  expect_within_bound(kTiny, "2", config::KvCacheDType::kF8E4M3);
}

// Free-running choices: where the reference's best token leads by more than 0.05, at least 99 % of
// the tokens are the same.
void expect_tokens_agree(config::KvCacheDType cache) {
  const SafetensorsFile golden(kTiny / "golden.safetensors");
  RunnerOptions options;
  options.arithmetic = config::Arithmetic::kDeployed;
  options.kv_cache_dtype = cache;
  options.threads = 2;
  ModelRunner runner(kTiny, options);
  int compared = 0;
  int equal = 0;
  for (int number = 0; number < 6; ++number) {
    const std::string prefix = std::to_string(number) + ".";
    const auto prompt = golden.ints(prefix + "input_ids");
    const auto greedy = golden.ints(prefix + "greedy");
    const auto margin = golden.floats(prefix + "greedy_margin");
    // Teacher-forced: the prompt and the reference's continuation as one text.
    std::vector<std::int32_t> ids(prompt.begin(), prompt.end());
    ids.insert(ids.end(), greedy.begin(), greedy.end() - 1);
    const int sequence = runner.add_sequence();
    const ModelRunner::Step step = runner.prefill(sequence, ids);
    for (std::size_t j = 0; j < greedy.size(); ++j) {
      if (margin[j] <= 0.05F) continue;
      ++compared;
      if (test_support::argmax(step.logits[prompt.size() - 1 + j]) == greedy[j]) ++equal;
    }
    runner.drop_sequence(sequence);
  }
  ::testing::Test::RecordProperty("equal",
                                  std::to_string(equal) + " of " + std::to_string(compared));
  EXPECT_GE(compared, 150);
  EXPECT_GE(equal, 0.99 * compared) << equal << " of " << compared;
}

TEST(Deployed, FathomTinyPicksTheReferencesTokens) {
  expect_tokens_agree(config::KvCacheDType::kBF16);
}

TEST(Deployed, FathomTinyPicksTheReferencesTokensWithAnFp8Cache) {
  expect_tokens_agree(config::KvCacheDType::kF8E4M3);
}

}  // namespace
}  // namespace fathom::oracle
