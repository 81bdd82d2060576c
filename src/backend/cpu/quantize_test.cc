#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

// The code whose value is nearest to x, an even one on ties, by trying all of them.
std::uint32_t nearest_code(double x) {
  std::uint32_t best = 0;
  double best_error = INFINITY;
  for (std::uint32_t code = 0; code < 0x7FU; ++code) {
    const double error = std::fabs(std::fabs(x) - to_float(static_cast<Float8E4M3>(code)));
    if (error < best_error || (error == best_error && code % 2 == 0)) {
      best = code;
      best_error = error;
    }
  }
  return best | (std::signbit(x) ? 0x80U : 0U);
}

float scale_of(double largest, bool ue8m0) {
  const double floored = std::max(largest, static_cast<double>(1e-4F));
  if (!ue8m0) return static_cast<float>(floored) * (1.0F / 448.0F);
  int exponent = -60;
  while (std::ldexp(448.0, exponent) < floored) ++exponent;
  return static_cast<float>(std::ldexp(1.0, exponent));
}

// Scale and codes of one group, elements [begin, end).
void expect_group(const HostTensor& x,
                  const HostTensor& values,
                  float scale,
                  bool ue8m0,
                  std::int64_t begin,
                  std::int64_t end) {
  double largest = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(x.get(i))));
  }
  ASSERT_EQ(scale, scale_of(largest, ue8m0));
  for (std::int64_t i = begin; i < end; ++i) {
    ASSERT_EQ(values.code(i), nearest_code(x.get(i) / scale)) << "element " << i;
  }
}

void expect_quantised(DType dtype, bool ue8m0, std::int64_t width, std::mt19937& random) {
  CpuStream stream(1);
  const std::int64_t groups = ceil_div(width, 128);
  HostTensor x(dtype, {3, width}, 2);
  HostTensor values(DType::kF8E4M3, {3, width}, 3);
  HostTensor scales(DType::kF32, {3, groups}, 1);
  x.fill_wide(random);
  for (std::int64_t i = 0; i < width; ++i) x.set(width + i, i == 0 ? 1e-7F : 0.0F);

  quantize(stream, {x.view(), values.view(), scales.view(), ue8m0});

  for (std::int64_t t = 0; t < 3; ++t) {
    for (std::int64_t g = 0; g < groups; ++g) {
      expect_group(x, values, scales.get(t * groups + g), ue8m0, t * width + 128 * g,
                   t * width + std::min(width, 128 * (g + 1)));
    }
  }
  EXPECT_TRUE(values.margins_are_poison());
  EXPECT_TRUE(scales.margins_are_poison());
}

TEST(Quantize, GroupsOf128HaveTheirScaleAndTheNearestCodes) {
  std::mt19937 random(1);
  for (const std::int64_t width : {1, 15, 16, 17, 127, 128, 129, 300}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      expect_quantised(dtype, true, width, random);
      expect_quantised(dtype, false, width, random);
    }
  }
}

TEST(Quantize, PowerOfTwoScalesAreTheSmallestThatFit) {
  CpuStream stream(1);
  HostTensor x(DType::kF32, {1, 1});
  HostTensor values(DType::kF8E4M3, {1, 1});
  HostTensor scales(DType::kF32, {1, 1});
  const auto scale = [&](float value) {
    x.set(0, value);
    quantize(stream, {x.view(), values.view(), scales.view(), true});
    return scales.get(0);
  };

  EXPECT_EQ(scale(448), 1.0F);
  EXPECT_EQ(values.code(0), 0x7EU);
  EXPECT_EQ(scale(449), 2.0F);
  EXPECT_EQ(scale(-3.5F), 0x1p-7F);
  EXPECT_EQ(values.code(0), 0xFEU);
  EXPECT_EQ(scale(0), 0x1p-22F);  // the floor: 1e-4 / 448 is a little above 2^-23
  EXPECT_EQ(values.code(0), 0U);
}

TEST(Quantize, BitsDependOnNeitherThreadsNorNeighbours) {
  std::mt19937 random(2);
  HostTensor x(DType::kBF16, {60, 1100});
  x.fill_wide(random);
  HostTensor want(DType::kF8E4M3, {60, 1100});
  HostTensor scales(DType::kF32, {60, 9});
  HostTensor threaded = want;
  HostTensor scales3 = scales;
  HostTensor alone = want;
  HostTensor scales1 = scales;
  CpuStream one(1);
  CpuStream three(3);

  quantize(one, {x.view(), want.view(), scales.view()});
  quantize(three, {x.view(), threaded.view(), scales3.view()});
  for (std::int64_t t = 0; t < 60; ++t) {
    quantize(one, {x.view().rows(t, 1), alone.view().rows(t, 1), scales1.view().rows(t, 1)});
  }

  EXPECT_EQ(threaded.content(), want.content());
  EXPECT_EQ(scales3.content(), scales.content());
  EXPECT_EQ(alone.content(), want.content());
  EXPECT_EQ(scales1.content(), scales.content());
}

// Row i of Sylvester's matrix has (-1)^popcount(i & j) in column j. Small whole numbers keep every
// sum exact, so only the factor and the rounding to bf16 are left.
std::vector<float> hadamard_reference(const HostTensor& x, std::int64_t at, std::int64_t d) {
  std::vector<float> y;
  for (std::int64_t i = 0; i < d; ++i) {
    float sum = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      const bool minus = std::popcount(static_cast<std::uint64_t>(i & j)) % 2 != 0;
      sum += minus ? -x.get(at + j) : x.get(at + j);
    }
    y.push_back(rounded(sum * (1.0F / std::sqrt(static_cast<float>(d))), DType::kBF16));
  }
  return y;
}

TEST(QuantizeIndexQuery, RotatesEachHeadAndTakesOneScaleForIt) {
  std::mt19937 random(3);
  CpuStream stream(1);
  for (const std::int64_t d : {1, 2, 4, 8, 16, 32, 128, 256}) {
    HostTensor query(DType::kBF16, {2, 3, d}, 8);
    for (std::int64_t i = 0; i < query.elements(); ++i) {
      query.set(i, static_cast<float>(static_cast<int>(random() % 33) - 16));
    }
    HostTensor values(DType::kF8E4M3, {2, 3, d}, 1);
    HostTensor scales(DType::kF32, {2, 3});

    quantize_index_query(stream, {query.view(), values.view(), scales.view()});

    for (std::int64_t head = 0; head < 6; ++head) {
      const std::vector<float> rotated = hadamard_reference(query, head * d, d);
      double largest = 0;
      for (const float value : rotated) largest = std::max(largest, std::fabs(double{value}));
      ASSERT_EQ(scales.get(head), scale_of(largest, true)) << d;
      for (std::int64_t i = 0; i < d; ++i) {
        const float value = rotated[static_cast<std::size_t>(i)] / scales.get(head);
        ASSERT_EQ(values.code(head * d + i), nearest_code(value)) << d;
      }
    }
    EXPECT_TRUE(values.margins_are_poison());
  }
}

}  // namespace
}  // namespace fathom::cpu
