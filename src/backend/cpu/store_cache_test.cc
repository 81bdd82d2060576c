#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

config::KvLayout layout_of(DType latent, DType index) {
  config::KvLayout layout;
  layout.latent_dtype = latent;
  layout.index_dtype = index;
  layout.latent_dim = 512;
  layout.rope_dim = 64;
  layout.index_dim = 128;
  return layout;
}

// Four tokens of two sequences: three pages apart, at both ends of a page and across its border.
struct Tokens {
  static constexpr std::int64_t kCount = 4;
  Tokens() {
    positions.set_ints({0, 63, 64, 130});
    sequences.set_ints({0, 0, 0, 1});
    page_table.set_ints({2, 0, 5, 1, 4, 3});
  }
  ops::PagedTokens view() { return {positions.view(), sequences.view(), page_table.view()}; }

  HostTensor positions{DType::kI32, {kCount}};
  HostTensor sequences{DType::kI32, {kCount}};
  HostTensor page_table{DType::kI32, {2, 3}};
};

// Page and slot of each token, read off the table by hand.
constexpr std::array<std::int64_t, 4> kPages = {2, 2, 0, 3};
constexpr std::array<std::int64_t, 4> kSlots = {0, 63, 0, 2};

// The cache as bytes, and which of them a test has accounted for.
class Cache {
 public:
  explicit Cache(std::int64_t page_bytes)
      : bytes(DType::kU8, {6, page_bytes}), seen_(static_cast<std::size_t>(6 * page_bytes)) {}

  template <class T>
  T read(std::int64_t at) {
    T value;
    std::memcpy(&value, static_cast<std::byte*>(bytes.view().data) + at, sizeof value);
    for (std::size_t i = 0; i < sizeof(T); ++i) seen_[static_cast<std::size_t>(at) + i] = true;
    return value;
  }
  void expect_the_rest_untouched() const {
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      if (!seen_[i]) {
        ASSERT_EQ(bytes.code(static_cast<std::int64_t>(i)), 0xAAU) << "byte " << i;
      }
    }
  }

  HostTensor bytes;

 private:
  std::vector<bool> seen_;
};

TEST(StoreLatent, Fp8RecordsAre656BytesInARow) {
  std::mt19937 random(1);
  CpuStream stream(1);
  Tokens tokens;
  Cache cache(41984);
  HostTensor latent(DType::kBF16, {4, 512}, 2);
  HostTensor rope(DType::kBF16, {4, 64}, 2);
  latent.fill_wide(random);
  rope.fill_wide(random);
  for (std::int64_t i = 0; i < 512; ++i) latent.set(1536 + i, 0);

  store_latent(stream, {latent.view(),
                        rope.view(),
                        tokens.view(),
                        {cache.bytes.view(), layout_of(DType::kF8E4M3, DType::kF8E4M3)}});

  // One quantised row tells the values, which quantize_test.cc has checked.
  HostTensor values(DType::kF8E4M3, {4, 512});
  HostTensor scales(DType::kF32, {4, 4});
  quantize(stream, {latent.view(), values.view(), scales.view(), true});
  for (std::int64_t t = 0; t < 4; ++t) {
    const auto at = static_cast<std::size_t>(t);
    const std::int64_t record = kPages[at] * 41984 + kSlots[at] * 656;
    for (std::int64_t i = 0; i < 512; ++i) {
      ASSERT_EQ(cache.read<std::uint8_t>(record + i), values.code(t * 512 + i));
    }
    for (std::int64_t g = 0; g < 4; ++g) {
      const auto scale = cache.read<float>(record + 512 + 4 * g);
      ASSERT_EQ(scale, scales.get(t * 4 + g));
      int exponent = 0;
      ASSERT_EQ(std::frexp(scale, &exponent), 0.5F) << "not a power of two";
    }
    for (std::int64_t i = 0; i < 64; ++i) {
      ASSERT_EQ(cache.read<std::uint16_t>(record + 528 + 2 * i), rope.code(t * 64 + i));
    }
  }
  cache.expect_the_rest_untouched();
}

TEST(StoreLatent, Bf16RecordsAreLatentThenRope) {
  std::mt19937 random(2);
  CpuStream stream(1);
  for (const DType input : {DType::kF32, DType::kBF16}) {
    Tokens tokens;
    Cache cache(73728);
    HostTensor latent(input, {4, 512}, 2);
    HostTensor rope(input, {4, 64}, 2);
    latent.fill_wide(random);
    rope.fill_wide(random);

    store_latent(stream, {latent.view(),
                          rope.view(),
                          tokens.view(),
                          {cache.bytes.view(), layout_of(DType::kBF16, DType::kF8E4M3)}});

    for (std::int64_t t = 0; t < 4; ++t) {
      const auto at = static_cast<std::size_t>(t);
      const std::int64_t record = kPages[at] * 73728 + kSlots[at] * 1152;
      for (std::int64_t i = 0; i < 512; ++i) {
        ASSERT_EQ(cache.read<BFloat16>(record + 2 * i), to_bfloat16(latent.get(t * 512 + i)));
      }
      for (std::int64_t i = 0; i < 64; ++i) {
        ASSERT_EQ(cache.read<BFloat16>(record + 1024 + 2 * i), to_bfloat16(rope.get(t * 64 + i)));
      }
    }
    cache.expect_the_rest_untouched();
  }
}

TEST(StoreLatent, ExactRecordsAreFloats) {
  std::mt19937 random(3);
  CpuStream stream(1);
  Tokens tokens;
  Cache cache(147456);
  HostTensor latent(DType::kF32, {4, 512});
  HostTensor rope(DType::kF32, {4, 64});
  latent.fill_wide(random);
  rope.fill_wide(random);

  store_latent(stream, {latent.view(),
                        rope.view(),
                        tokens.view(),
                        {cache.bytes.view(), layout_of(DType::kF32, DType::kF32)}});

  for (std::int64_t t = 0; t < 4; ++t) {
    const auto at = static_cast<std::size_t>(t);
    const std::int64_t record = kPages[at] * 147456 + kSlots[at] * 2304;
    for (std::int64_t i = 0; i < 512; ++i) {
      ASSERT_EQ(cache.read<float>(record + 4 * i), latent.get(t * 512 + i));
    }
    for (std::int64_t i = 0; i < 64; ++i) {
      ASSERT_EQ(cache.read<float>(record + 2048 + 4 * i), rope.get(t * 64 + i));
    }
  }
  cache.expect_the_rest_untouched();
}

// A latent that ends inside a group and places that are aligned to nothing.
TEST(StoreLatent, TakesOddDimensions) {
  std::mt19937 random(4);
  CpuStream stream(1);
  Tokens tokens;
  config::KvLayout layout = layout_of(DType::kF8E4M3, DType::kF8E4M3);
  layout.latent_dim = 131;
  layout.rope_dim = 6;
  Cache cache(9664);  // 64 records of 131 + 8 + 12 bytes
  HostTensor latent(DType::kBF16, {4, 131});
  HostTensor rope(DType::kBF16, {4, 6});
  latent.fill_wide(random);
  rope.fill_wide(random);

  store_latent(stream, {latent.view(), rope.view(), tokens.view(), {cache.bytes.view(), layout}});

  HostTensor values(DType::kF8E4M3, {4, 131});
  HostTensor scales(DType::kF32, {4, 2});
  quantize(stream, {latent.view(), values.view(), scales.view(), true});
  for (std::int64_t t = 0; t < 4; ++t) {
    const auto at = static_cast<std::size_t>(t);
    const std::int64_t record = kPages[at] * 9664 + kSlots[at] * 151;
    for (std::int64_t i = 0; i < 131; ++i) {
      ASSERT_EQ(cache.read<std::uint8_t>(record + i), values.code(t * 131 + i));
    }
    for (std::int64_t g = 0; g < 2; ++g) {
      ASSERT_EQ(cache.read<float>(record + 131 + 4 * g), scales.get(t * 2 + g));
    }
    for (std::int64_t i = 0; i < 6; ++i) {
      ASSERT_EQ(cache.read<std::uint16_t>(record + 139 + 2 * i), rope.code(t * 6 + i));
    }
  }
  cache.expect_the_rest_untouched();
}

TEST(StoreIndexKey, Fp8PagesAreAllValuesThenAllScales) {
  std::mt19937 random(5);
  CpuStream stream(1);
  Tokens tokens;
  Cache cache(8448);
  HostTensor key(DType::kBF16, {4, 128}, 2);
  key.fill_wide(random);

  store_index_key(
      stream,
      {key.view(), tokens.view(), {cache.bytes.view(), layout_of(DType::kBF16, DType::kF8E4M3)}});

  HostTensor query(DType::kBF16, {4, 1, 128});
  for (std::int64_t i = 0; i < query.elements(); ++i) query.set(i, key.get(i));
  HostTensor values(DType::kF8E4M3, {4, 1, 128});
  HostTensor scales(DType::kF32, {4, 1});
  quantize_index_query(stream, {query.view(), values.view(), scales.view()});
  for (std::int64_t t = 0; t < 4; ++t) {
    const auto at = static_cast<std::size_t>(t);
    const std::int64_t page = kPages[at] * 8448;
    for (std::int64_t i = 0; i < 128; ++i) {
      ASSERT_EQ(cache.read<std::uint8_t>(page + kSlots[at] * 128 + i), values.code(t * 128 + i));
    }
    ASSERT_EQ(cache.read<float>(page + 8192 + kSlots[at] * 4), scales.get(t));
  }
  cache.expect_the_rest_untouched();
}

TEST(StoreIndexKey, ExactKeysAreStoredAsTheyAre) {
  std::mt19937 random(6);
  CpuStream stream(1);
  for (const DType input : {DType::kF32, DType::kBF16}) {
    Tokens tokens;
    Cache cache(32768);
    HostTensor key(input, {4, 128});
    key.fill_wide(random);

    store_index_key(
        stream,
        {key.view(), tokens.view(), {cache.bytes.view(), layout_of(DType::kF32, DType::kF32)}});

    for (std::int64_t t = 0; t < 4; ++t) {
      const auto at = static_cast<std::size_t>(t);
      for (std::int64_t i = 0; i < 128; ++i) {
        ASSERT_EQ(cache.read<float>(kPages[at] * 32768 + kSlots[at] * 512 + 4 * i),
                  key.get(t * 128 + i));
      }
    }
    cache.expect_the_rest_untouched();
  }
}

TEST(StoreCache, BytesDependOnNeitherThreadsNorNeighbours) {
  constexpr std::int64_t kTokens = 384;
  std::mt19937 random(7);
  HostTensor latent(DType::kBF16, {kTokens, 512});
  HostTensor rope(DType::kBF16, {kTokens, 64});
  HostTensor key(DType::kBF16, {kTokens, 128});
  for (HostTensor* tensor : {&latent, &rope, &key}) tensor->fill_wide(random);
  HostTensor positions(DType::kI32, {kTokens});
  HostTensor sequences(DType::kI32, {kTokens});
  for (std::int64_t t = 0; t < kTokens; ++t) {
    positions.set_int(t, static_cast<std::int32_t>(t));
    sequences.set_int(t, 0);
  }
  HostTensor table(DType::kI32, {1, 6});
  table.set_ints({3, 1, 5, 0, 2, 4});
  const config::KvLayout layout = layout_of(DType::kF8E4M3, DType::kF8E4M3);
  const auto store = [&](CpuStream& stream, std::int64_t step) {
    HostTensor latents(DType::kU8, {6, 41984});
    HostTensor keys(DType::kU8, {6, 8448});
    for (std::int64_t t = 0; t < kTokens; t += step) {
      const ops::PagedTokens tokens{positions.view().rows(t, step), sequences.view().rows(t, step),
                                    table.view()};
      store_latent(stream, {latent.view().rows(t, step),
                            rope.view().rows(t, step),
                            tokens,
                            {latents.view(), layout}});
      store_index_key(stream, {key.view().rows(t, step), tokens, {keys.view(), layout}});
    }
    return std::pair(latents.content(), keys.content());
  };
  CpuStream one(1);
  CpuStream three(3);

  const auto want = store(one, kTokens);

  EXPECT_EQ(store(three, kTokens), want);
  EXPECT_EQ(store(one, 1), want);
}

TEST(StoreCache, PaddingRowsWriteNothing) {
  CpuStream stream(1);
  Tokens tokens;
  tokens.positions.set_ints({-1, -1, -1, -1});
  const config::KvLayout layout = layout_of(DType::kBF16, DType::kF8E4M3);
  Cache index(layout.index_page_bytes());
  Cache latent(layout.latent_page_bytes());
  HostTensor key(DType::kBF16, {4, 128});
  HostTensor numbers(DType::kBF16, {4, 512});
  HostTensor rotated(DType::kBF16, {4, 64});

  store_index_key(stream, {key.view(), tokens.view(), {index.bytes.view(), layout}});
  store_latent(stream,
               {numbers.view(), rotated.view(), tokens.view(), {latent.bytes.view(), layout}});

  index.expect_the_rest_untouched();
  latent.expect_the_rest_untouched();
}

TEST(StoreCache, StopsAtAPagePastTheCache) {
  CpuStream stream(1);
  Tokens tokens;
  tokens.page_table.set_int(0, 6);
  Cache cache(8448);
  HostTensor key(DType::kBF16, {4, 128});

  EXPECT_DEATH(
      store_index_key(stream, {key.view(),
                               tokens.view(),
                               {cache.bytes.view(), layout_of(DType::kBF16, DType::kF8E4M3)}}),
      "place.page");
}

}  // namespace
}  // namespace fathom::cpu
