#include "base/random.h"

#include <cmath>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

using Words = std::array<std::uint32_t, 4>;

// The known answers that come with the authors' library Random123 (philox4x32, 10 rounds).
TEST(Random, PhiloxGivesThePublishedAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Which word of counter and key each argument is may never change: recorded streams depend on it.
TEST(Random, ADrawIsTheFirstTwoWordsAtItsSeedSampleAndPosition) {
  const Words words = philox4x32({7, 3, 0, 0}, {0x89abcdef, 0x01234567});

  EXPECT_EQ(random_u64(0x0123456789abcdefU, 3, 7, RandomPurpose::kSample),
            std::uint64_t{words[1]} << 32U | words[0]);
}

TEST(Random, NeighboursInEveryArgumentDiffer) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    for (std::uint32_t sample = 0; sample < 16; ++sample) {
      for (std::uint32_t position = 0; position < 16; ++position) {
        seen.insert(random_u64(seed, sample, position, RandomPurpose::kSample));
        seen.insert(
            random_u64(seed + (std::uint64_t{1} << 40U), sample, position, RandomPurpose::kSample));
      }
    }
  }
  EXPECT_EQ(seen.size(), 2U * 16 * 16 * 16);
}

TEST(Random, AFractionIsTheHighest24Bits) {
  EXPECT_EQ(unit_f32(0), 0.0F);
  EXPECT_EQ(unit_f32((std::uint64_t{1} << 40U) - 1), 0.0F);
  EXPECT_EQ(unit_f32(std::uint64_t{1} << 40U), 0x1p-24F);
  EXPECT_EQ(unit_f32(std::uint64_t{1} << 63U), 0.5F);
  EXPECT_EQ(unit_f32(~std::uint64_t{0}), 1.0F - 0x1p-24F);
}

TEST(Random, BelowIsTheHighHalfOfTheProduct) {
  EXPECT_EQ(below(0, 1), 0U);
  EXPECT_EQ(below(~std::uint64_t{0}, 1), 0U);
  EXPECT_EQ(below(std::uint64_t{1} << 63U, 7), 3U);
  EXPECT_EQ(below(~std::uint64_t{0}, ~std::uint64_t{0}), ~std::uint64_t{0} - 1);
  std::mt19937_64 random(1);
  for (int i = 0; i < 10000; ++i) {
    const std::uint64_t a = random();
    const std::uint64_t b = (random() >> random() % 64) | 1U;
    const auto product = static_cast<unsigned __int128>(a) * b;
    ASSERT_EQ(below(a, b), static_cast<std::uint64_t>(product >> 64U)) << a << " " << b;
  }
}

// Sum of (count - expected)^2 / expected. With n bins its mean is n - 1 and its variance 2(n - 1).
double chi_square(const std::vector<int>& counts, double expected) {
  double sum = 0;
  for (const int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

// Five standard deviations to either side: a fit that is too good is as suspicious as a bad one.
void expect_plausible(double statistic, double degrees) {
  EXPECT_LT(std::fabs(statistic - degrees), 5 * std::sqrt(2 * degrees)) << statistic;
}

// Streams as they are used: successive positions, samples and seeds.
std::vector<std::uint64_t> stream(int which, int count) {
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < count; ++i) {
    const auto n = static_cast<std::uint32_t>(i);
    switch (which) {
      case 0:
        numbers.push_back(random_u64(42, 0, n, RandomPurpose::kSample));
        break;
      case 1:
        numbers.push_back(random_u64(42, n, 1000, RandomPurpose::kSample));
        break;
      case 2:
        numbers.push_back(random_u64(n, 0, 1000, RandomPurpose::kSample));
        break;
      default:
        numbers.push_back(random_u64(std::uint64_t{n} << 32U, 0, 1000, RandomPurpose::kSample));
        break;
    }
  }
  return numbers;
}

TEST(Random, FractionsFillTheUnitIntervalEvenly) {
  constexpr int kCount = 100000;
  constexpr int kBins = 256;
  for (int which = 0; which < 4; ++which) {
    SCOPED_TRACE(which);
    std::vector<int> counts(kBins);
    double sum = 0;
    for (const std::uint64_t number : stream(which, kCount)) {
      const float fraction = unit_f32(number);
      ++counts[static_cast<std::size_t>(fraction * kBins)];
      sum += static_cast<double>(fraction);
    }

    expect_plausible(chi_square(counts, kCount / double{kBins}), kBins - 1);
    EXPECT_NEAR(sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  }
}

TEST(Random, LowBitsAreAsEvenAsHighOnes) {
  constexpr int kCount = 100000;
  constexpr int kBins = 256;
  for (int which = 0; which < 4; ++which) {
    for (const unsigned shift : {0U, 24U, 32U, 56U}) {
      SCOPED_TRACE(which);
      std::vector<int> counts(kBins);
      for (const std::uint64_t number : stream(which, kCount)) ++counts[number >> shift & 0xFFU];

      expect_plausible(chi_square(counts, kCount / double{kBins}), kBins - 1);
    }
  }
}

// Pairs of neighbours fall into a 32 by 32 grid, and have no linear correlation.
TEST(Random, NeighboursAreIndependent) {
  constexpr int kCount = 200000;
  constexpr std::size_t kSide = 32;
  for (int which = 0; which < 4; ++which) {
    SCOPED_TRACE(which);
    const std::vector<std::uint64_t> numbers = stream(which, kCount + 1);
    std::vector<int> counts(kSide * kSide);
    double correlation = 0;
    for (std::size_t i = 0; i < kCount; ++i) {
      const auto a = static_cast<double>(unit_f32(numbers[i]));
      const auto b = static_cast<double>(unit_f32(numbers[i + 1]));
      const auto row = static_cast<std::size_t>(a * kSide);
      ++counts[row * kSide + static_cast<std::size_t>(b * kSide)];
      correlation += (a - 0.5) * (b - 0.5) * 12 / kCount;
    }

    // Overlapping pairs: the statistic of pairs less that of single numbers has 32^2 - 32 degrees.
    std::vector<int> singles(kSide);
    for (std::size_t i = 0; i < kCount; ++i) {
      ++singles[static_cast<std::size_t>(unit_f32(numbers[i]) * kSide)];
    }
    const double pairs = chi_square(counts, kCount / double{kSide * kSide});
    expect_plausible(pairs - chi_square(singles, kCount / double{kSide}), kSide * kSide - kSide);
    EXPECT_LT(std::fabs(correlation), 5 / std::sqrt(double{kCount}));
  }
}

}  // namespace
}  // namespace fathom
