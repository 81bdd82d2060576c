// Operations on rows of logits and the expanded form of attention on the GPU against the CPU, bit
// by bit, as in ops_test.cc.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backend/cuda/twin_testing.h"

namespace fathom::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kVocabularies[] = {1, 5, 255, 256, 257, 4096, 129280};
constexpr std::int64_t kLargeVocab = 100'000;  // from here on one pass is enough

// What rows of logits are made of.
enum class Kind {
  kNormal,
  kSharp,        // wide apart
  kTies,         // few different ones, zeros of both signs among them
  kEqual,        // all the same
  kMasked,       // most are -infinity
  kFew,          // three are not
  kSomeNan,      // some are NaN
  kNanMasked,    // both
  kAllMasked,    // -infinity alone
  kAllNan,       // NaN alone
  kNanOrMasked,  // nothing else
  kInfinite,     // some are +infinity
  kCount,
};

class CudaSampling : public TwinTest {
 protected:
  std::size_t below(std::size_t bound) { return random_() % bound; }

  float logit(Kind kind, float normal) {
    switch (kind) {
      case Kind::kSharp:
        return normal * 30;
      case Kind::kTies:
        return std::round(normal) * (below(2) == 0 ? 1.0F : -1.0F);
      case Kind::kEqual:
        return 1.25F;
      case Kind::kMasked:
        return below(10) == 0 ? normal : -kInfinity;
      case Kind::kFew:
      case Kind::kAllMasked:
        return -kInfinity;
      case Kind::kSomeNan:
        return below(10) == 0 ? kNan : normal;
      case Kind::kNanMasked:
        if (below(3) == 0) return kNan;
        return below(2) == 0 ? -kInfinity : std::round(normal);
      case Kind::kAllNan:
        return kNan;
      case Kind::kNanOrMasked:
        return below(2) == 0 ? kNan : -kInfinity;
      case Kind::kInfinite:
        if (below(5) == 0) return kInfinity;
        return normal;
      default:
        return normal;
    }
  }

  // Each row of a random kind.
  Twin logits(std::int64_t rows, std::int64_t vocab) {
    Twin twin = normal(DType::kF32, {rows, vocab}, 3);
    const std::span<float> numbers = twin.as<float>();
    const auto width = static_cast<std::size_t>(vocab);
    for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
      const auto kind = static_cast<Kind>(below(static_cast<std::size_t>(Kind::kCount)));
      const std::span<float> own = numbers.subspan(row * width, width);
      for (float& number : own) number = logit(kind, number);
      if (kind != Kind::kFew) continue;
      for (int i = 0; i < 3; ++i) own[below(width)] = static_cast<float>(i);
    }
    upload(twin);
    return twin;
  }

  Twin floats(const std::vector<float>& values) {
    Twin twin = poisoned(DType::kF32, {static_cast<std::int64_t>(values.size())});
    std::copy(values.begin(), values.end(), twin.as<float>().begin());
    upload(twin);
    return twin;
  }
  Twin numbers(const std::vector<std::int32_t>& values) {
    return integers({static_cast<std::int64_t>(values.size())}, values);
  }
  Twin ids(std::int64_t rows, std::int64_t columns, std::int64_t vocab) {
    Twin twin = poisoned(DType::kI32, {rows, columns});
    for (std::int32_t& id : twin.as<std::int32_t>()) {
      id = static_cast<std::int32_t>(below(static_cast<std::size_t>(vocab)));
    }
    upload(twin);
    return twin;
  }
};

// Every combination of settings, a row each.
struct Settings {
  std::vector<float> temperature;
  std::vector<std::int32_t> top_k;
  std::vector<float> top_p;
  std::vector<float> min_p;

  explicit Settings(std::int64_t vocab) {
    for (const float t : {0.0F, 0.3F, 1.0F, 1.7F}) {
      for (const std::int32_t k : {0, 1, 3, 50, static_cast<std::int32_t>(vocab)}) {
        for (const float p : {1.0F, 0.9F, 0.5F, 1e-6F}) {
          for (const float least : {0.0F, 0.02F, 1.0F}) {
            temperature.push_back(t);
            top_k.push_back(k);
            top_p.push_back(p);
            min_p.push_back(least);
          }
        }
      }
    }
  }
};

TEST_F(CudaSampling, DrawsTheTokensOfTheCpu) {
  for (const std::int64_t vocab : kVocabularies) {
    const Settings settings(vocab);
    const auto rows = static_cast<std::int64_t>(settings.top_k.size());
    Twin temperature = floats(settings.temperature);
    Twin top_k = numbers(settings.top_k);
    Twin top_p = floats(settings.top_p);
    Twin min_p = floats(settings.min_p);
    for (int pass = 0; pass < (vocab < kLargeVocab ? 12 : 1); ++pass) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab << ", pass " << pass);
      Twin x = logits(rows, vocab);
      Twin seed = poisoned(DType::kI32, {rows, 2});
      Twin sample = poisoned(DType::kI32, {rows});
      Twin position = poisoned(DType::kI32, {rows});
      Twin token = poisoned(DType::kI32, {rows});
      on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
        ops.sample(s, {view(x), view(temperature), view(top_k), view(top_p), view(min_p),
                       view(seed), view(sample), view(position), view(token)});
      });
      expect_equal(token, "sample");
    }
  }
}

TEST_F(CudaSampling, DecidesOnDraftsAsTheCpu) {
  for (const std::int64_t vocab : kVocabularies) {
    const Settings settings(vocab);
    const auto rows = static_cast<std::int64_t>(settings.top_k.size());
    const auto width = static_cast<std::size_t>(vocab);
    Twin temperature = floats(settings.temperature);
    Twin top_k = numbers(settings.top_k);
    Twin top_p = floats(settings.top_p);
    Twin min_p = floats(settings.min_p);
    for (int pass = 0; pass < (vocab < kLargeVocab ? 12 : 2); ++pass) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab << ", pass " << pass);
      Twin x = logits(rows, vocab);
      Twin draft = poisoned(DType::kI32, {rows});
      for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
        const std::span<const float> own = x.as<float>().subspan(row * width, width);
        const auto largest = std::max_element(own.begin(), own.end());
        const std::size_t id =
            below(2) == 0 ? static_cast<std::size_t>(largest - own.begin()) : below(width);
        draft.as<std::int32_t>()[row] = below(8) == 0 ? -1 : static_cast<std::int32_t>(id);
      }
      upload(draft);
      Twin seed = poisoned(DType::kI32, {rows, 2});
      Twin position = poisoned(DType::kI32, {rows});
      Twin token = poisoned(DType::kI32, {rows});
      constexpr float kSingle[] = {1, 0.5F, 0.02F, 0};
      constexpr float kAcc[] = {0.7F, 1, 0};
      on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
        ops::SampleArgs args{view(x),        view(temperature), view(top_k),
                             view(top_p),    view(min_p),       view(seed),
                             view(position), view(position),    view(token)};
        args.draft = view(draft);
        args.accept_threshold_single = kSingle[pass % 4];
        args.accept_threshold_acc = kAcc[pass % 3];
        ops.sample(s, args);
      });
      expect_equal(token, "sample");
    }
  }
}

TEST_F(CudaSampling, DrawsEveryTokenOfARowOfEqualOnes) {
  constexpr std::int64_t kRows = 512;
  constexpr std::int64_t kVocab = 37;
  Twin x = normal(DType::kF32, {kRows, kVocab});
  std::fill(x.as<float>().begin(), x.as<float>().end(), -2.0F);
  upload(x);
  Twin temperature = floats(std::vector<float>(kRows, 0.7F));
  Twin top_k = numbers(std::vector<std::int32_t>(kRows, 0));
  Twin all = floats(std::vector<float>(kRows, 1.0F));
  Twin min_p = floats(std::vector<float>(kRows, 0.0F));
  Twin seed = poisoned(DType::kI32, {kRows, 2});
  Twin sample = numbers(std::vector<std::int32_t>(kRows, 0));
  Twin token = poisoned(DType::kI32, {kRows});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.sample(s, {view(x), view(temperature), view(top_k), view(all), view(min_p), view(seed),
                   view(sample), view(sample), view(token)});
  });
  expect_equal(token, "sample");
  std::vector<bool> drawn(kVocab);
  for (const std::int32_t id : token.as<std::int32_t>())
    drawn.at(static_cast<std::size_t>(id)) = true;
  EXPECT_EQ(std::count(drawn.begin(), drawn.end(), true), kVocab);
}

TEST_F(CudaSampling, TakesRowsOfAWiderMatrix) {
  Twin x = logits(6, 300);
  Twin temperature = floats({1, 0, 0.5F, 1, 2, 1});
  Twin top_k = numbers({0, 0, 7, 0, 20, 1});
  Twin top_p = floats({1, 1, 1, 0.8F, 0.7F, 1});
  Twin min_p = floats({0, 0, 0.1F, 0, 0.1F, 0});
  Twin seed = poisoned(DType::kI32, {6, 4});
  Twin position = poisoned(DType::kI32, {6});
  Twin token = poisoned(DType::kI32, {6});
  Twin logprob = poisoned(DType::kF32, {6});
  Twin top_ids = poisoned(DType::kI32, {6, 9});
  Twin top_logprobs = poisoned(DType::kF32, {6, 11});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    const TensorView part = view(x).columns(40, 200);
    ops.sample(s, {part, view(temperature), view(top_k), view(top_p), view(min_p),
                   view(seed).columns(1, 2), view(position), view(position), view(token)});
    ops.logprobs(s, {part,
                     view(temperature),
                     view(token),
                     view(logprob),
                     view(top_ids).columns(2, 4),
                     view(top_logprobs).columns(3, 4),
                     {},
                     {}});
  });
  expect_equal(token, "sample");
  expect_equal(logprob, "logprob");
  expect_equal(top_ids, "top_ids");
  expect_equal(top_logprobs, "top_logprobs");
}

TEST_F(CudaSampling, GivesTheLogprobsOfTheCpu) {
  for (const std::int64_t vocab : kVocabularies) {
    for (const std::int64_t wanted : {0, 1, 5, 128}) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab << ", top " << wanted);
      const std::int64_t rows = 60;
      const std::int64_t top = std::min(wanted, vocab);
      const std::int64_t asked_count = wanted == 1 ? 0 : 3;
      std::vector<float> temperatures;
      for (std::int64_t i = 0; i < rows; i += 4) {
        temperatures.insert(temperatures.end(), {0.0F, 0.3F, 1.0F, 1.7F});
      }
      Twin x = logits(rows, vocab);
      Twin temperature = floats(temperatures);
      Twin token = ids(rows, 1, vocab);
      token.shape = {rows};
      Twin logprob = poisoned(DType::kF32, {rows});
      Twin top_ids = poisoned(DType::kI32, {rows, top});
      Twin top_logprobs = poisoned(DType::kF32, {rows, top});
      Twin asked = ids(rows, asked_count, vocab);
      for (std::size_t i = 0; i < asked.as<std::int32_t>().size(); i += 4) {
        asked.as<std::int32_t>()[i] = -1;
      }
      upload(asked);
      Twin asked_logprobs = poisoned(DType::kF32, {rows, asked_count});
      on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
        ops::LogprobsArgs args;
        args.logits = view(x);
        args.temperature = view(temperature);
        args.token = view(token);
        args.logprob = view(logprob);
        if (top > 0) {
          args.top_ids = view(top_ids);
          args.top_logprobs = view(top_logprobs);
        }
        if (asked_count > 0) {
          args.asked = view(asked);
          args.asked_logprobs = view(asked_logprobs);
        }
        ops.logprobs(s, args);
      });
      expect_equal(logprob, "logprob");
      expect_equal(top_ids, "top_ids");
      expect_equal(top_logprobs, "top_logprobs");
      expect_equal(asked_logprobs, "asked_logprobs");
    }
  }
}

TEST_F(CudaSampling, TakesTheArgmaxAndLogSumOfTheCpu) {
  for (const std::int64_t vocab : kVocabularies) {
    SCOPED_TRACE(testing::Message() << "vocab " << vocab);
    Twin x = logits(40, vocab);
    Twin token = poisoned(DType::kI32, {40});
    Twin log_sum = poisoned(DType::kF32, {40});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      ops.argmax(s, {view(x), view(token), view(log_sum)});
    });
    expect_equal(token, "argmax");
    expect_equal(log_sum, "log_sum");
  }
}

struct ExpandedCase {
  std::int64_t heads;
  std::int64_t plain;    // n
  std::int64_t rotated;  // r
  std::int64_t values;   // v
  std::int64_t k;
};
constexpr ExpandedCase kExpandedCases[] = {{1, 1, 1, 1, 1},        {2, 5, 3, 7, 63},
                                           {3, 17, 1, 33, 64},     {2, 16, 16, 16, 65},
                                           {4, 128, 64, 128, 200}, {2, 33, 8, 300, 1100}};

TEST_F(CudaSampling, AttendsInTheExpandedFormAsTheCpu) {
  for (const ExpandedCase& one : kExpandedCases) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(testing::Message() << "k " << one.k << ", values " << one.values);
      const std::int64_t positions = one.k + one.k / 2;
      // The least, the most, and others between them.
      const std::vector<std::int64_t> counts = {1, one.k, (one.k + 1) / 2, one.k - one.k / 3,
                                                one.k};
      const auto tokens = static_cast<std::int64_t>(counts.size());
      Twin query = normal(type, {tokens, one.heads, one.plain + one.rotated}, 3);
      Twin key_value = normal(type, {positions, one.heads, one.plain + one.values});
      Twin key_rope = normal(type, {positions, one.rotated});
      Twin selected = poisoned(DType::kI32, {tokens, one.k});
      Twin count = poisoned(DType::kI32, {tokens});
      std::vector<std::int32_t> all(static_cast<std::size_t>(positions));
      for (std::size_t t = 0; t < counts.size(); ++t) {
        std::iota(all.begin(), all.end(), 0);
        std::shuffle(all.begin(), all.end(), random_);
        std::sort(all.begin(), all.begin() + counts[t]);
        std::copy_n(all.begin(), counts[t],
                    selected.as<std::int32_t>().begin() + static_cast<std::int64_t>(t) * one.k);
        count.as<std::int32_t>()[t] = static_cast<std::int32_t>(counts[t]);
      }
      upload(selected);
      upload(count);
      Twin y = poisoned(type, {tokens, one.heads, one.values});
      on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
        ops::ExpandedAttentionArgs args;
        args.query = view(query);
        args.key = view(key_value).columns(0, one.plain);
        args.key_rope = view(key_rope);
        args.value = view(key_value).columns(one.plain, one.values);
        args.selected = view(selected);
        args.count = view(count);
        args.y = view(y);
        args.scale = 0.125F;
        ops.expanded_attention(s, args);
      });
      expect_equal(y, "expanded_attention");
    }
  }
}

}  // namespace
}  // namespace fathom::cuda
