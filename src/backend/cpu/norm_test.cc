#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"
#include "base/math.h"

namespace fathom::cpu {
namespace {

std::vector<float> row_of(const HostTensor& tensor, std::int64_t row, std::int64_t n) {
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = tensor.get(row * n + i);
  return x;
}

// Canonical bits of a normed row: (x · inverse) · w.
std::vector<float> rms_reference(std::vector<float> x, const HostTensor& w, float epsilon) {
  const float mean = canonical_sum_of_squares(x) / static_cast<float>(x.size());
  const float inverse = 1.0F / std::sqrt(mean + epsilon);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = x[i] * inverse * w.get(static_cast<std::int64_t>(i));
  }
  return x;
}

void expect_row(const HostTensor& y,
                std::int64_t row,
                const std::vector<float>& want,
                DType dtype) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    const auto at = row * static_cast<std::int64_t>(want.size()) + static_cast<std::int64_t>(i);
    ASSERT_EQ(bits_of(y.get(at)), bits_of(rounded(want[i], dtype))) << "row " << row << " at " << i;
  }
}

struct Types {
  DType x;
  DType w;
};
constexpr Types kTypes[] = {{DType::kF32, DType::kF32},  // NOLINT(*-avoid-c-arrays)
                            {DType::kF32, DType::kF16},
                            {DType::kBF16, DType::kF32},
                            {DType::kBF16, DType::kBF16}};

TEST(RmsNorm, HasTheCanonicalBitsForEveryWidthAndDType) {
  std::mt19937 random(1);
  CpuStream stream(1);
  for (const Types types : kTypes) {
    for (const std::int64_t n : kAwkwardWidths) {
      HostTensor x(types.x, {3, n}, 5);
      HostTensor w(types.w, {n});
      HostTensor y(types.x, {3, n}, 3);
      x.fill_wide(random);
      w.fill(random);

      rms_norm(stream, {x.view(), w.view(), y.view(), 1e-6F});

      for (std::int64_t t = 0; t < 3; ++t) {
        expect_row(y, t, rms_reference(row_of(x, t, n), w, 1e-6F), types.x);
      }
      EXPECT_TRUE(y.margins_are_poison());
    }
  }
}

// Two sums of n terms and five roundings; (n/16 + 8) · 2^-24 bounds the lanes' and the tree's.
TEST(RmsNorm, StaysWithinItsBoundOfTheDefinition) {
  constexpr std::int64_t kWidth = 7168;
  std::mt19937 random(2);
  CpuStream stream(1);
  HostTensor x(DType::kF32, {2, kWidth});
  HostTensor w(DType::kF32, {kWidth});
  HostTensor y(DType::kF32, {2, kWidth});
  x.fill_wide(random);
  w.fill(random);

  rms_norm(stream, {x.view(), w.view(), y.view(), 1e-6F});

  for (std::int64_t t = 0; t < 2; ++t) {
    double squares = 0;
    for (std::int64_t i = 0; i < kWidth; ++i) squares += std::pow(x.get(t * kWidth + i), 2);
    for (std::int64_t i = 0; i < kWidth; ++i) {
      const double want = x.get(t * kWidth + i) / std::sqrt(squares / kWidth + 1e-6F) * w.get(i);
      EXPECT_NEAR(y.get(t * kWidth + i), want,
                  std::fabs(want) * (kWidth / 16.0 + 8) * std::exp2(-24));
    }
  }
}

TEST(RmsNorm, MayWriteOverItsInputAndTakesNoRows) {
  std::mt19937 random(3);
  CpuStream stream(1);
  HostTensor x(DType::kBF16, {2, 129});
  HostTensor w(DType::kF32, {129});
  HostTensor y(DType::kBF16, {2, 129});
  x.fill_wide(random);
  w.fill(random);
  rms_norm(stream, {x.view(), w.view(), y.view(), 1e-5F});

  rms_norm(stream, {x.view(), w.view(), x.view(), 1e-5F});
  rms_norm(stream, {x.view().rows(0, 0), w.view(), y.view().rows(0, 0), 1e-5F});

  EXPECT_EQ(x.content(), y.content());
}

TEST(AddRmsNorm, NormsTheSumBeforeItIsRounded) {
  std::mt19937 random(4);
  CpuStream stream(1);
  for (const Types types : kTypes) {
    for (const std::int64_t n : kAwkwardWidths) {
      HostTensor x(types.x, {2, n}, 1);
      HostTensor residual(types.x, {2, n}, 2);
      HostTensor w(types.w, {n});
      x.fill_wide(random);
      residual.fill_wide(random);
      w.fill(random);
      std::vector<std::vector<float>> sums;
      for (std::int64_t t = 0; t < 2; ++t) {
        std::vector<float> sum = row_of(x, t, n);
        const std::vector<float> other = row_of(residual, t, n);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
        sums.push_back(sum);
      }

      add_rms_norm(stream, {x.view(), residual.view(), w.view(), x.view(), 1e-6F});

      for (std::int64_t t = 0; t < 2; ++t) {
        const auto& sum = sums[static_cast<std::size_t>(t)];
        expect_row(residual, t, sum, types.x);
        expect_row(x, t, rms_reference(sum, w, 1e-6F), types.x);
      }
      EXPECT_TRUE(x.margins_are_poison());
      EXPECT_TRUE(residual.margins_are_poison());
    }
  }
}

TEST(LayerNorm, HasTheCanonicalBitsForEveryWidthAndDType) {
  std::mt19937 random(5);
  CpuStream stream(1);
  for (const Types types : kTypes) {
    for (const std::int64_t n : kAwkwardWidths) {
      HostTensor x(types.x, {2, n}, 1);
      HostTensor w(types.w, {n});
      HostTensor b(DType::kF32, {n});
      HostTensor y(types.x, {2, n}, 4);
      x.fill_wide(random);
      w.fill(random);
      b.fill(random);

      layer_norm(stream, {x.view(), w.view(), b.view(), y.view(), 1e-6F});

      for (std::int64_t t = 0; t < 2; ++t) {
        std::vector<float> row = row_of(x, t, n);
        const float mean = canonical_sum(row) / static_cast<float>(n);
        for (float& value : row) value -= mean;
        const float variance = canonical_sum_of_squares(row) / static_cast<float>(n);
        const float inverse = 1.0F / std::sqrt(variance + 1e-6F);
        for (std::size_t i = 0; i < row.size(); ++i) {
          const auto at = static_cast<std::int64_t>(i);
          row[i] = row[i] * inverse * w.get(at) + b.get(at);
        }
        expect_row(y, t, row, types.x);
      }
      EXPECT_TRUE(y.margins_are_poison());
    }
  }
}

TEST(LayerNorm, ShiftsAndScalesAKnownRow) {
  CpuStream stream(1);
  HostTensor x(DType::kF32, {1, 4});
  HostTensor w(DType::kF32, {4});
  HostTensor b(DType::kF32, {4});
  HostTensor y(DType::kF32, {1, 4});
  for (std::int64_t i = 0; i < 4; ++i) {
    x.set(i, i % 2 == 0 ? 3.0F : 7.0F);  // mean 5, variance 4
    w.set(i, 2);
    b.set(i, 10);
  }

  layer_norm(stream, {x.view(), w.view(), b.view(), y.view(), 0});

  EXPECT_EQ(y.get(0), 8.0F);
  EXPECT_EQ(y.get(1), 12.0F);
}

TEST(SiluMul, HasTheBitsOfItsFormula) {
  std::mt19937 random(6);
  CpuStream stream(1);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t n : {1, 15, 16, 17, 511, 512, 513, 1030}) {
      HostTensor gate(dtype, {2, n}, 1);
      HostTensor up(dtype, {2, n}, 2);
      gate.fill_wide(random);
      up.fill_wide(random);
      std::vector<float> want;
      for (std::int64_t i = 0; i < 2 * n; ++i) {
        const float z = gate.get(i);
        want.push_back(rounded(z / (1.0F + exp_f32(-z)) * up.get(i), dtype));
      }

      silu_mul(stream, {gate.view(), up.view(), up.view()});

      for (std::int64_t i = 0; i < 2 * n; ++i) {
        ASSERT_EQ(bits_of(up.get(i)), bits_of(want[static_cast<std::size_t>(i)])) << i;
      }
      EXPECT_TRUE(up.margins_are_poison());
    }
  }
}

TEST(SiluMul, GoesToZeroAndToTheIdentityAtTheEnds) {
  CpuStream stream(1);
  HostTensor gate(DType::kF32, {1, 4});
  HostTensor up(DType::kF32, {1, 4});
  HostTensor y(DType::kF32, {1, 4});
  const std::array<float, 4> z = {-200, -90, 0, 200};
  for (std::int64_t i = 0; i < 4; ++i) {
    gate.set(i, z[static_cast<std::size_t>(i)]);
    up.set(i, 3);
  }

  silu_mul(stream, {gate.view(), up.view(), y.view()});

  EXPECT_EQ(y.get(0), 0.0F);
  EXPECT_EQ(y.get(1), 0.0F);
  EXPECT_EQ(y.get(2), 0.0F);
  EXPECT_EQ(y.get(3), 600.0F);
}

// Enough rows that three threads share them; each row again by itself.
TEST(Norms, BitsDependOnNeitherThreadsNorNeighbours) {
  constexpr std::int64_t kRows = 67;
  constexpr std::int64_t kWidth = 1025;
  std::mt19937 random(7);
  HostTensor x(DType::kBF16, {kRows, kWidth});
  HostTensor up(DType::kBF16, {kRows, kWidth});
  HostTensor w(DType::kBF16, {kWidth});
  x.fill_wide(random);
  up.fill_wide(random);
  w.fill(random);
  using Op = std::function<void(CpuStream&, TensorView, TensorView, TensorView, TensorView)>;
  const std::vector<Op> operations = {[](auto& s, auto a, auto, auto weight, auto y) {
                                        rms_norm(s, {a, weight, y, 1e-6F});
                                      },
                                      [](auto& s, auto a, auto r, auto weight, auto y) {
                                        add_rms_norm(s, {a, r, weight, y, 1e-6F});
                                      },
                                      [](auto& s, auto a, auto, auto weight, auto y) {
                                        layer_norm(s, {a, weight, weight, y, 1e-6F});
                                      },
                                      [](auto& s, auto a, auto b, auto, auto y) {
                                        silu_mul(s, {a, b, y});
                                      }};
  CpuStream one(1);
  CpuStream three(3);

  for (const Op& run : operations) {
    HostTensor other = up;
    HostTensor want(DType::kBF16, {kRows, kWidth});
    run(one, x.view(), other.view(), w.view(), want.view());

    HostTensor threaded(DType::kBF16, {kRows, kWidth});
    HostTensor alone(DType::kBF16, {kRows, kWidth});
    other = up;
    run(three, x.view(), other.view(), w.view(), threaded.view());
    other = up;
    for (std::int64_t t = 0; t < kRows; ++t) {
      run(one, x.view().rows(t, 1), other.view().rows(t, 1), w.view(), alone.view().rows(t, 1));
    }

    EXPECT_EQ(threaded.content(), want.content());
    EXPECT_EQ(alone.content(), want.content());
  }
}

}  // namespace
}  // namespace fathom::cpu
