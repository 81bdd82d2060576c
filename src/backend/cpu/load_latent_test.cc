#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/instruction_sets_testing.h"
#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

constexpr std::int64_t kPositions = 130;  // two pages and two tokens
constexpr std::int64_t kPages = 7;

config::KvLayout layout_of(DType latent, std::int32_t c, std::int32_t r) {
  config::KvLayout layout;
  layout.latent_dtype = latent;
  layout.latent_dim = c;
  layout.rope_dim = r;
  return layout;
}

// A cache that holds one sequence, the second of its table, in scattered pages; the rest is poison.
struct Cached {
  Cached(const config::KvLayout& format, DType input, std::mt19937& random)
      : layout(format),
        latent(input, {kPositions, layout.latent_dim}),
        rope(input, {kPositions, layout.rope_dim}),
        bytes(DType::kU8, {kPages, layout.latent_page_bytes()}) {
    latent.fill_wide(random);
    rope.fill_wide(random);
    for (std::int64_t i = 0; i < 5; ++i) latent.set(layout.latent_dim + i, 0);
    table.set_ints({0, 0, 0, 5, 1, 4});
    HostTensor positions(DType::kI32, {kPositions});
    HostTensor sequences(DType::kI32, {kPositions});
    for (std::int64_t s = 0; s < kPositions; ++s) {
      positions.set_int(s, static_cast<std::int32_t>(s));
      sequences.set_int(s, 1);
    }
    CpuStream stream(1);
    store_latent(stream, {latent.view(),
                          rope.view(),
                          {positions.view(), sequences.view(), table.view()},
                          {bytes.view(), layout}});
  }
  ops::LoadLatentArgs args(const TensorView& y) {
    return {table.view(), {bytes.view(), layout}, y, 1};
  }
  // What the cache's format makes of each number.
  std::vector<float> numbers() {
    const std::int64_t c = layout.latent_dim;
    const std::int64_t r = layout.rope_dim;
    HostTensor values(DType::kF8E4M3, {kPositions, c});
    HostTensor scales(DType::kF32, {kPositions, ceil_div(c, kScaleBlock)});
    CpuStream stream(1);
    quantize(stream, {latent.view(), values.view(), scales.view(), true});
    const DType plain = layout.latent_dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
    std::vector<float> all;
    for (std::int64_t s = 0; s < kPositions; ++s) {
      for (std::int64_t k = 0; k < c; ++k) {
        all.push_back(layout.latent_dtype == DType::kF8E4M3
                          ? values.get(s * c + k) *
                                scales.get(s * ceil_div(c, kScaleBlock) + k / kScaleBlock)
                          : rounded(latent.get(s * c + k), plain));
      }
      for (std::int64_t k = 0; k < r; ++k) all.push_back(rounded(rope.get(s * r + k), plain));
    }
    return all;
  }

  config::KvLayout layout;
  HostTensor latent;
  HostTensor rope;
  HostTensor table{DType::kI32, {2, 3}};
  HostTensor bytes;
};

void expect_what_was_stored(Cached& cached, DType dtype) {
  const std::int64_t width = std::int64_t{cached.layout.latent_dim} + cached.layout.rope_dim;
  const std::vector<float> want = cached.numbers();
  CpuStream stream(2);
  for (const std::int64_t n : {0, 1, 63, 64, 65, 130}) {
    HostTensor y(dtype, {n, width}, /*margin=*/3);
    const ops::LoadLatentArgs args = cached.args(y.view());
    ASSERT_EQ(validate(args).message(), "");

    load_latent(stream, args);

    for (std::int64_t i = 0; i < n * width; ++i) {
      ASSERT_EQ(bits_of(y.get(i)), bits_of(rounded(want[static_cast<std::size_t>(i)], dtype)))
          << "position " << i / width << " number " << i % width;
    }
    EXPECT_TRUE(y.margins_are_poison());
  }
}

TEST(LoadLatent, GivesTheNumbersOfEveryFormat) {
  on_every_instruction_set([] {
    std::mt19937 random(1);
    for (const DType cache : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
      for (const auto& [c, r] : {std::pair(512, 64), std::pair(131, 6), std::pair(32, 10)}) {
        SCOPED_TRACE(std::string(dtype_name(cache)) + " " + std::to_string(c));
        Cached cached(layout_of(cache, c, r), DType::kF32, random);

        expect_what_was_stored(cached, DType::kF32);
        if (cache != DType::kF32) expect_what_was_stored(cached, DType::kBF16);
      }
    }
  });
}

// The exactness that the contract states for bf16.
TEST(LoadLatent, RoundsNothingInBf16) {
  std::mt19937 random(2);
  for (const DType cache : {DType::kBF16, DType::kF8E4M3}) {
    Cached cached(layout_of(cache, 512, 64), DType::kBF16, random);

    for (const float number : cached.numbers()) {
      ASSERT_EQ(bits_of(rounded(number, DType::kBF16)), bits_of(number));
    }
  }
}

TEST(LoadLatent, StopsAtAPagePastTheCache) {
  std::mt19937 random(3);
  CpuStream stream(1);
  Cached cached(layout_of(DType::kBF16, 32, 10), DType::kBF16, random);
  cached.table.set_int(4, kPages);
  HostTensor y(DType::kBF16, {65, 42});

  EXPECT_DEATH(load_latent(stream, cached.args(y.view())), "page");
}

}  // namespace
}  // namespace fathom::cpu
