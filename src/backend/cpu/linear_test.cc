#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/guarded_copy.h"
#include "backend/cpu/instruction_sets_testing.h"
#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

using Row = std::vector<float>;

// Row i of a matrix as numbers.
Row row_of(const HostTensor& matrix, std::int64_t i, std::int64_t width) {
  Row row;
  for (std::int64_t k = 0; k < width; ++k) row.push_back(matrix.get(i * width + k));
  return row;
}

void fill_scales(HostTensor& scales, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(0.25F, 3.0F);  // powers of two would hide roundings
  for (std::int64_t i = 0; i < scales.elements(); ++i) scales.set(i, uniform(random));
}

void fill_numbers(HostTensor& tensor, DType dtype, std::mt19937& random) {
  if (dtype == DType::kF16) {
    tensor.fill(random);
  } else {
    tensor.fill_wide(random);
  }
}

// A product's input: rows inside wider ones, as parts of other buffers are.
struct Input {
  Input(DType dtype, std::int64_t rows, std::int64_t width, std::mt19937& random)
      : in(width),
        values(dtype, {rows, width}, /*margin=*/3),
        scales(DType::kF32, {rows, ceil_div(width, kScaleBlock)}, /*margin=*/1),
        scaled(dtype == DType::kF8E4M3) {
    fill_numbers(values, dtype, random);
    fill_scales(scales, random);
  }
  ops::LinearInput rows(std::int64_t begin, std::int64_t count) {
    return {values.view().rows(begin, count),
            scaled ? scales.view().rows(begin, count) : TensorView()};
  }

  std::int64_t in;
  HostTensor values;
  HostTensor scales;
  bool scaled;
};

// A weight matrix that ends where reading further is fatal.
struct Weight {
  Weight(DType dtype, std::int64_t out, std::int64_t width, std::mt19937& random)
      : in(width),
        values(dtype, {out, width}),
        scales(DType::kF32, {ceil_div(out, kScaleBlock), ceil_div(width, kScaleBlock)}),
        scaled(dtype == DType::kF8E4M3) {
    fill_numbers(values, dtype, random);
    fill_scales(scales, random);
    stored = std::make_unique<GuardedCopy>(values.content());
    stored_scales = std::make_unique<GuardedCopy>(scales.content());
    view.values = values.view();
    view.values.data = stored->data();
    if (scaled) {
      view.scales = scales.view();
      view.scales.data = stored_scales->data();
    }
  }

  std::int64_t in;
  HostTensor values;
  HostTensor scales;
  bool scaled;
  std::unique_ptr<GuardedCopy> stored;
  std::unique_ptr<GuardedCopy> stored_scales;
  WeightView view;
};

// One output element by the rule for FP8 weights: lanes anew for each block, their totals by fma.
float blocked_dot(const Row& x, const Row& w, std::span<const float> factors) {
  std::array<float, 16> total{};
  for (std::size_t block = 0; block < factors.size(); ++block) {
    std::array<float, 16> lane{};
    for (std::size_t k = block * 128; k < std::min(block * 128 + 128, x.size()); ++k) {
      lane[k % 16] = std::fma(x[k], w[k], lane[k % 16]);
    }
    for (std::size_t l = 0; l < 16; ++l) total[l] = std::fma(lane[l], factors[block], total[l]);
  }
  return lane_tree(total);
}

// Rows [begin, end) of x · Wᵀ in float32, row after row.
Row reference(const Input& x,
              const Weight& w,
              std::int64_t out,
              std::int64_t begin,
              std::int64_t end) {
  const std::int64_t blocks = ceil_div(x.in, kScaleBlock);
  std::vector<Row> weights;
  for (std::int64_t o = 0; o < out; ++o) weights.push_back(row_of(w.values, o, w.in));
  Row y;
  Row factors(static_cast<std::size_t>(blocks));
  for (std::int64_t r = begin; r < end; ++r) {
    const Row row = row_of(x.values, r, x.in);
    for (std::int64_t o = 0; o < out; ++o) {
      const Row& weight = weights[static_cast<std::size_t>(o)];
      if (!w.scaled) {
        y.push_back(canonical_dot(row, weight));
        continue;
      }
      for (std::int64_t b = 0; b < blocks; ++b) {
        const float scale = w.scales.get(o / kScaleBlock * blocks + b);
        factors[static_cast<std::size_t>(b)] =
            x.scaled ? x.scales.get(r * blocks + b) * scale : scale;
      }
      y.push_back(blocked_dot(row, weight, factors));
    }
  }
  return y;
}

// Whether y holds the numbers wanted, rounded, and nothing behind or beside them was written.
::testing::AssertionResult holds(const HostTensor& y, std::span<const float> want, DType dtype) {
  const auto written = static_cast<std::int64_t>(want.size());
  for (std::int64_t i = 0; i < written; ++i) {
    const float wanted = rounded(want[static_cast<std::size_t>(i)], dtype);
    if (bits_of(y.get(i)) != bits_of(wanted)) {
      return ::testing::AssertionFailure()
             << "element " << i << " is " << y.get(i) << ", wanted " << wanted;
    }
  }
  const std::uint32_t poison = dtype == DType::kF32 ? 0xFFFFFFFFU : 0xFFFFU;
  for (std::int64_t i = written; i < y.elements(); ++i) {
    if (y.code(i) != poison) return ::testing::AssertionFailure() << "wrote element " << i;
  }
  if (!y.margins_are_poison()) return ::testing::AssertionFailure() << "wrote beside the rows";
  return ::testing::AssertionSuccess();
}

struct Formats {
  DType x;
  DType w;
};
constexpr std::array<Formats, 9> kFormats = {{{DType::kF32, DType::kF32},
                                              {DType::kF32, DType::kBF16},
                                              {DType::kF32, DType::kF16},
                                              {DType::kF32, DType::kF8E4M3},
                                              {DType::kBF16, DType::kF32},
                                              {DType::kBF16, DType::kBF16},
                                              {DType::kBF16, DType::kF16},
                                              {DType::kBF16, DType::kF8E4M3},
                                              {DType::kF8E4M3, DType::kF8E4M3}}};
constexpr std::array<DType, 2> kOutputs = {DType::kF32, DType::kBF16};

void expect_canonical(const Formats& formats,
                      std::int64_t in,
                      std::int64_t out,
                      std::span<const std::int64_t> row_counts,
                      CpuStream& stream,
                      std::mt19937& random) {
  const std::int64_t most = *std::max_element(row_counts.begin(), row_counts.end());
  Input x(formats.x, most, in, random);
  const Weight w(formats.w, out, in, random);
  const Row want = reference(x, w, out, 0, most);
  for (const std::int64_t rows : row_counts) {
    for (const DType dtype : kOutputs) {
      HostTensor y(dtype, {rows + 1, out}, /*margin=*/2);
      linear(stream, {x.rows(0, rows), w.view, y.view().rows(0, rows)});
      const auto written = static_cast<std::size_t>(rows * out);
      ASSERT_TRUE(holds(y, std::span(want).first(written), dtype))
          << dtype_name(formats.x) << " x " << dtype_name(formats.w) << " -> " << dtype_name(dtype)
          << ", rows " << rows << ", in " << in << ", out " << out;
    }
  }
}

TEST(Linear, HasTheCanonicalBitsForFewRowsOfEverySize) {
  constexpr std::array<std::int64_t, 7> kRows = {0, 1, 2, 3, 4, 5, 7};
  on_every_instruction_set([&] {
    std::mt19937 random(1);
    CpuStream stream(1);
    for (const Formats& formats : kFormats) {
      for (const std::int64_t in : {1, 15, 16, 17, 96, 127, 128, 129, 200, 512, 513, 640}) {
        for (const std::int64_t out : {1, 2, 3, 4, 5, 15, 16, 17, 33}) {
          expect_canonical(formats, in, out, kRows, stream, random);
        }
      }
    }
  });
}

// Two rows of blocks of scales, and more rows than share one decoded block.
TEST(Linear, HasTheCanonicalBitsForManyRowsAndColumnsOnSeveralThreads) {
  constexpr std::array<std::int64_t, 4> kRows = {2, 96, 97, 200};
  on_every_instruction_set([&] {
    std::mt19937 random(2);
    CpuStream one(1);
    CpuStream three(3);
    for (const Formats& formats : kFormats) {
      expect_canonical(formats, 17, 200, kRows, one, random);
      expect_canonical(formats, 513, 33, kRows, one, random);
      expect_canonical(formats, 129, 200, kRows, three, random);
      expect_canonical(formats, 640, 5, kRows, three, random);
    }
  });
}

TEST(Linear, ARowHasTheSameBitsAloneAndAnywhereInABatch) {
  constexpr std::int64_t kRows = 11;
  std::mt19937 random(3);
  CpuStream stream(1);
  for (const Formats& formats : kFormats) {
    Input x(formats.x, kRows, 200, random);
    const Weight w(formats.w, 17, 200, random);
    HostTensor together(DType::kF32, {kRows, 17});
    HostTensor shifted(DType::kF32, {kRows, 17});
    HostTensor alone(DType::kF32, {kRows, 17});

    linear(stream, {x.rows(0, kRows), w.view, together.view()});
    linear(stream, {x.rows(0, 1), w.view, shifted.view().rows(0, 1)});
    linear(stream, {x.rows(1, kRows - 1), w.view, shifted.view().rows(1, kRows - 1)});
    for (std::int64_t r = 0; r < kRows; ++r) {
      linear(stream, {x.rows(r, 1), w.view, alone.view().rows(r, 1)});
    }

    EXPECT_EQ(shifted.content(), together.content());
    EXPECT_EQ(alone.content(), together.content());
  }
}

TEST(Linear, TakesAPartOfAWiderWeight) {
  std::mt19937 random(4);
  CpuStream stream(1);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    Input x(DType::kF32, 5, 40, random);
    const Weight w(dtype, 7, 40, random);
    HostTensor wider(dtype, {7, 40}, /*margin=*/5);
    for (std::int64_t i = 0; i < wider.elements(); ++i) wider.set(i, w.values.get(i));
    HostTensor y(DType::kF32, {5, 7});

    linear(stream, {x.rows(0, 5), {wider.view(), {}}, y.view()});

    EXPECT_TRUE(holds(y, reference(x, w, 7, 0, 5), DType::kF32));
  }
}

void expect_head_products(const Formats& formats,
                          std::int64_t tokens,
                          std::int64_t in,
                          std::int64_t out,
                          CpuStream& stream,
                          std::mt19937& random) {
  constexpr std::int64_t kHeads = 3;
  HostTensor x(formats.x, {tokens + 1, kHeads, in}, /*margin=*/4);
  HostTensor w(formats.w, {kHeads, out, in});
  HostTensor y(DType::kBF16, {tokens + 1, kHeads, out}, /*margin=*/1);
  fill_numbers(x, formats.x, random);
  fill_numbers(w, formats.w, random);
  const GuardedCopy stored(w.content());
  TensorView weight = w.view();
  weight.data = stored.data();

  head_linear(stream, {x.view().rows(0, tokens), weight, y.view().rows(0, tokens)});

  Row want;
  for (std::int64_t i = 0; i < tokens * kHeads; ++i) {
    const Row row = row_of(x, i, in);
    for (std::int64_t o = 0; o < out; ++o) {
      want.push_back(canonical_dot(row, row_of(w, i % kHeads * out + o, in)));
    }
  }
  ASSERT_TRUE(holds(y, want, DType::kBF16)) << "tokens " << tokens << ", in " << in;
}

TEST(HeadLinear, HasTheCanonicalBitsOfEachHeadsProduct) {
  on_every_instruction_set([] {
    std::mt19937 random(5);
    CpuStream one(1);
    CpuStream three(3);
    for (const Formats& formats : kFormats) {
      if (formats.w == DType::kF16 || formats.w == DType::kF8E4M3) continue;
      for (const std::int64_t tokens : {0, 1, 3, 4, 5}) {
        expect_head_products(formats, tokens, 1, 5, one, random);
        expect_head_products(formats, tokens, 16, 4, one, random);
        expect_head_products(formats, tokens, 65, 33, one, random);
      }
      expect_head_products(formats, 97, 65, 33, three, random);
    }
  });
}

// Products of the rows [offsets[e], offsets[e + 1]) with matrix e; rows past the last stay.
void expect_grouped(const Formats& formats, const std::vector<std::int32_t>& offsets, int threads) {
  constexpr std::int64_t kRows = 130;
  constexpr std::int64_t kIn = 160;
  constexpr std::int64_t kOut = 18;
  std::mt19937 random(6);
  CpuStream stream(threads);
  const auto experts = static_cast<std::int64_t>(offsets.size()) - 1;
  Input x(formats.x, kRows, kIn, random);
  std::vector<std::unique_ptr<Weight>> weights;
  std::vector<WeightView> views;
  for (std::int64_t e = 0; e < experts; ++e) {
    weights.push_back(std::make_unique<Weight>(formats.w, kOut, kIn, random));
    views.push_back(weights.back()->view);
  }
  HostTensor bounds(DType::kI32, {experts + 1});
  for (std::int64_t e = 0; e <= experts; ++e) {
    bounds.set_int(e, offsets[static_cast<std::size_t>(e)]);
  }
  HostTensor y(DType::kF32, {kRows, kOut}, /*margin=*/2);

  grouped_linear(stream, {x.rows(0, kRows), views, bounds.view(), y.view()});

  Row want;
  for (std::size_t e = 0; e < weights.size(); ++e) {
    const Row part = reference(x, *weights[e], kOut, offsets[e], offsets[e + 1]);
    want.insert(want.end(), part.begin(), part.end());
  }
  ASSERT_TRUE(holds(y, want, DType::kF32));
}

TEST(GroupedLinear, MultipliesEachRowWithItsOwnExpert) {
  on_every_instruction_set([] {
    for (const Formats& formats : kFormats) {
      expect_grouped(formats, {0, 0, 1, 3, 3, 7, 20}, 1);
      expect_grouped(formats, {0, 40, 41, 41, 130}, 3);
    }
  });
}

TEST(GroupedLinear, AllRowsMayGoToOneExpertOrToNone) {
  for (const Formats& formats : kFormats) {
    expect_grouped(formats, {0, 0, 0, 120, 120}, 3);
    expect_grouped(formats, {0, 0, 0}, 1);
    expect_grouped(formats, {0, 130}, 1);
  }
}

}  // namespace
}  // namespace fathom::cpu
