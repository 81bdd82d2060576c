#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernels.h"
#include "support/safetensors_file.h"

// Number formats against bytes that independent code has computed
// (tests/data/numerics.safetensors).
namespace fathom::cpu {
namespace {

const test_support::SafetensorsFile& recorded() {
  static const test_support::SafetensorsFile file(std::string(FATHOM_SOURCE_DIR) +
                                                  "/tests/data/numerics.safetensors");
  return file;
}

// Recorded inputs are only read; views have one type for reading and writing.
template <class T>
TensorView view(const T* data, DType dtype, std::initializer_list<std::int64_t> shape) {
  return {const_cast<T*>(data), dtype, shape};
}

template <class T>
std::vector<T> copy_of(std::span<const T> values) {
  return {values.begin(), values.end()};
}

TEST(Numerics, QuantisedActivationsEqualTheRecordedBytes) {
  CpuStream stream(1);
  for (const bool ue8m0 : {true, false}) {
    const std::string name = ue8m0 ? "act_quant.ue8m0" : "act_quant.plain";
    std::vector<std::uint8_t> values(std::size_t{6} * 384, 0xAA);
    std::vector<float> scales(std::size_t{6} * 3, NAN);

    quantize(stream, {view(recorded().bfloats("act_quant.x").data(), DType::kBF16, {6, 384}),
                      view(values.data(), DType::kF8E4M3, {6, 384}),
                      view(scales.data(), DType::kF32, {6, 3}), ue8m0});

    EXPECT_EQ(values, copy_of(recorded().bytes(name + ".values")));
    EXPECT_EQ(scales, copy_of(recorded().floats(name + ".scales")));
  }
}

TEST(Numerics, IndexerQueriesEqualTheRecordedBytes) {
  CpuStream stream(1);
  std::vector<std::uint8_t> values(std::size_t{9} * 128, 0xAA);
  std::vector<float> scales(9, NAN);

  quantize_index_query(
      stream,
      {view(recorded().bfloats("indexer_key.x").data(), DType::kBF16, {3, 3, 128}),
       view(values.data(), DType::kF8E4M3, {3, 3, 128}), view(scales.data(), DType::kF32, {3, 3})});

  EXPECT_EQ(values, copy_of(recorded().bytes("indexer_key.values")));
  EXPECT_EQ(scales, copy_of(recorded().floats("indexer_key.scales")));
}

// One sequence whose positions 0, 1, 2 … lie in page 1 from slot 0 on.
struct OneSequence {
  explicit OneSequence(std::size_t tokens) : positions(tokens), sequences(tokens) {
    for (std::size_t i = 0; i < tokens; ++i) positions[i] = static_cast<std::int32_t>(i);
  }
  ops::PagedTokens view_of() {
    const auto count = static_cast<std::int64_t>(positions.size());
    return {view(positions.data(), DType::kI32, {count}),
            view(sequences.data(), DType::kI32, {count}), view(&page, DType::kI32, {1, 1})};
  }
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> sequences;
  std::int32_t page = 1;
};

TEST(Numerics, StoredIndexerKeysEqualTheRecordedBytes) {
  CpuStream stream(1);
  OneSequence tokens(9);
  config::KvLayout layout;
  layout.index_dim = 128;
  std::vector<std::uint8_t> cache(std::size_t{2} * 8448, 0xAA);

  store_index_key(stream, {view(recorded().bfloats("indexer_key.x").data(), DType::kBF16, {9, 128}),
                           tokens.view_of(),
                           {view(cache.data(), DType::kU8, {2, 8448}), layout}});

  const std::uint8_t* page = cache.data() + 8448;
  EXPECT_EQ(std::vector<std::uint8_t>(page, page + std::ptrdiff_t{9} * 128),
            copy_of(recorded().bytes("indexer_key.values")));
  std::vector<float> scales(9);
  std::memcpy(scales.data(), page + 8192, 36);
  EXPECT_EQ(scales, copy_of(recorded().floats("indexer_key.scales")));
}

TEST(Numerics, LatentRecordsEqualTheRecordedBytes) {
  CpuStream stream(1);
  OneSequence tokens(5);
  config::KvLayout layout;
  layout.latent_dtype = DType::kF8E4M3;
  layout.latent_dim = 512;
  layout.rope_dim = 64;
  std::vector<std::uint8_t> cache(std::size_t{2} * 41984, 0xAA);

  store_latent(stream, {view(recorded().bfloats("kv656.latent").data(), DType::kBF16, {5, 512}),
                        view(recorded().bfloats("kv656.rope").data(), DType::kBF16, {5, 64}),
                        tokens.view_of(),
                        {view(cache.data(), DType::kU8, {2, 41984}), layout}});

  const std::uint8_t* page = cache.data() + 41984;
  EXPECT_EQ(std::vector<std::uint8_t>(page, page + std::ptrdiff_t{5} * 656),
            copy_of(recorded().bytes("kv656.bytes")));
}

// Scales that are not powers of two are a frequent mistake of such records; the recorded bytes
// would notice it, in the values as well as in the scales.
TEST(Numerics, LatentRecordsWithUnroundedScalesWouldHaveOtherBytes) {
  CpuStream stream(1);
  std::vector<std::uint8_t> values(std::size_t{5} * 512);
  std::vector<float> scales(std::size_t{5} * 4);

  quantize(stream,
           {view(recorded().bfloats("kv656.latent").data(), DType::kBF16, {5, 512}),
            view(values.data(), DType::kF8E4M3, {5, 512}), view(scales.data(), DType::kF32, {5, 4}),
            /*ue8m0=*/false});

  // (Single rows can agree: a largest value that is a power of two times 448, or a row of zeros.)
  int other_values = 0;
  int other_scales = 0;
  for (std::size_t token = 0; token < 5; ++token) {
    const std::uint8_t* record = recorded().bytes("kv656.bytes").data() + token * 656;
    if (std::memcmp(values.data() + token * 512, record, 512) != 0) ++other_values;
    std::array<float, 4> recorded_scales{};
    std::memcpy(recorded_scales.data(), record + 512, 16);
    if (!std::equal(recorded_scales.begin(), recorded_scales.end(),
                    scales.begin() + static_cast<std::ptrdiff_t>(token * 4))) {
      ++other_scales;
    }
  }
  EXPECT_GE(other_values, 3);
  EXPECT_GE(other_scales, 3);
}

// The bound for float32 sums in any order that is no longer than ours: a lane of a block adds 8
// products, the tree 4 levels, and two blocks are scaled and added. It is taken over each output's
// own terms, so that an output near zero is held to its terms' size and not to the largest output.
TEST(Numerics, Fp8ProductsStayWithinFourRoundingsOfTheirTerms) {
  CpuStream stream(1);
  constexpr std::int64_t kIn = 256;
  constexpr std::int64_t kOut = 200;
  const std::uint8_t* w = recorded().bytes("fp8_linear.w").data();
  const float* w_scales = recorded().floats("fp8_linear.w_scale_inv").data();
  const float* want = recorded().floats("fp8_linear.y").data();
  std::vector<std::uint8_t> x(4 * kIn);
  std::vector<float> x_scales(8);
  std::vector<float> y(4 * kOut, NAN);
  quantize(stream, {view(recorded().bfloats("fp8_linear.x").data(), DType::kBF16, {4, kIn}),
                    view(x.data(), DType::kF8E4M3, {4, kIn}),
                    view(x_scales.data(), DType::kF32, {4, 2}), true});

  linear(stream,
         {{view(x.data(), DType::kF8E4M3, {4, kIn}), view(x_scales.data(), DType::kF32, {4, 2})},
          {view(w, DType::kF8E4M3, {kOut, kIn}), view(w_scales, DType::kF32, {2, 2})},
          view(y.data(), DType::kF32, {4, kOut})});

  for (std::int64_t t = 0; t < 4; ++t) {
    for (std::int64_t o = 0; o < kOut; ++o) {
      double terms = 0;
      for (std::int64_t k = 0; k < kIn; ++k) {
        const double product =
            to_float(static_cast<Float8E4M3>(x[static_cast<std::size_t>(t * kIn + k)])) *
            static_cast<double>(to_float(static_cast<Float8E4M3>(w[o * kIn + k])));
        terms += std::fabs(product * x_scales[static_cast<std::size_t>(t * 2 + k / 128)] *
                           w_scales[o / 128 * 2 + k / 128]);
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(t * kOut + o)], want[t * kOut + o],
                  4 * std::exp2(-24) * terms)
          << "row " << t << " column " << o;
    }
  }
}

}  // namespace
}  // namespace fathom::cpu
