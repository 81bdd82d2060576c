// Products by cuBLASLt against the canonical kernels on the same device and inputs.
//
// Both add the same exact products of two inputs, in different orders, and round once. A tensor
// core keeps fewer bits than float32 while it adds; published measurements of Hopper's FP8 products
// find at least 13 below the largest of the terms that it adds together. So two results differ by
// at most 2^-12 of the sum of the terms' magnitudes, and by the rounding of each to the output's
// format.

#include "backend/cuda/fast_products.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/twin_testing.h"

namespace fathom::cuda {
namespace {

using ops::LinearInput;

class CudaFastProducts : public TwinTest {
 protected:
  void SetUp() override {
    TwinTest::SetUp();
    if (IsSkipped()) return;
    auto opened = FastProducts::open();
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    products_ = std::move(opened).value();
    fast_ = make_cuda_ops(products_);
  }

  // Compares two outputs; `magnitudes` are the canonical product of the inputs' magnitudes.
  void expect_close(const Twin& canonical, const Twin& fast, const Twin& magnitudes) {
    const std::vector<float> a = device_numbers(canonical);
    const std::vector<float> b = device_numbers(fast);
    const std::vector<float> m = device_numbers(magnitudes);
    // Of both: half a unit in the last place each, up to 2^-8 and 2^-24 of the number.
    const double rounding = canonical.dtype == DType::kBF16 ? 0x1p-7 : 0x1p-23;
    double dot = 0;
    double norms = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double x = static_cast<double>(a[i]);
      const double y = static_cast<double>(b[i]);
      const double bound =
          0x1p-12 * static_cast<double>(m[i]) + rounding * std::max(std::abs(x), std::abs(y));
      ASSERT_LE(std::abs(x - y), bound) << "element " << i << ": " << x << " and " << y;
      dot += x * y;
      norms += x * x + y * y;
    }
    EXPECT_LT(1 - 2 * dot / norms, canonical.dtype == DType::kBF16 ? 2e-5 : 1e-6);
  }

  // The same numbers without their signs.
  Twin magnitudes_of(const Twin& twin) {
    Twin made = poisoned(twin.dtype, twin.shape);
    made.host = twin.host;
    const std::size_t size = size_of(twin.dtype);
    for (std::size_t i = size - 1; i < made.host.size(); i += size) made.host[i] &= std::byte{0x7F};
    upload(made);
    return made;
  }

  std::shared_ptr<FastProducts> products_;
  std::unique_ptr<ops::OpSet> fast_;
};

struct Shape {
  std::int64_t rows;
  std::int64_t out;
  std::int64_t in;
};

TEST_F(CudaFastProducts, Fp8StaysWithinItsBound) {
  for (const Shape& shape :
       {Shape{4, 128, 512}, Shape{16, 1536, 7168}, Shape{64, 576, 7168}, Shape{67, 2048, 1536},
        Shape{130, 7168, 2048}, Shape{513, 1536, 7168}}) {
    for (const DType type : {DType::kBF16, DType::kF32}) {
      SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.out) + " x " +
                   std::to_string(shape.in) + " " + std::string(dtype_name(type)));
      Twin x = normal(DType::kF8E4M3, {shape.rows, shape.in});
      Twin xs = scales({shape.rows, ceil_div(shape.in, kScaleBlock)});
      Twin w = normal(DType::kF8E4M3, {shape.out, shape.in});
      Twin ws = scales({ceil_div(shape.out, kScaleBlock), ceil_div(shape.in, kScaleBlock)});
      Twin x_magnitudes = magnitudes_of(x);
      Twin w_magnitudes = magnitudes_of(w);
      Twin canonical = poisoned(type, {shape.rows, shape.out});
      Twin fast = poisoned(type, {shape.rows, shape.out});
      Twin magnitudes = poisoned(DType::kF32, {shape.rows, shape.out});
      const Status done = on_gpu([&](const ops::OpSet& ops, Stream& s, auto view) {
        const WeightView weight{view(w), view(ws)};
        ops.linear(s, {LinearInput{view(x), view(xs)}, weight, view(canonical)});
        ops.linear(s, {LinearInput{view(x_magnitudes), view(xs)},
                       WeightView{view(w_magnitudes), view(ws)}, view(magnitudes)});
        const ops::LinearArgs args{LinearInput{view(x), view(xs)}, weight, view(fast)};
        // It is served, so that the comparison is of two kernels.
        EXPECT_EQ(products_->linear(static_cast<CudaStream&>(s), args), shape.rows / 4 * 4);
        fast_->linear(s, args);
      });
      ASSERT_TRUE(done.ok()) << done.message();
      expect_close(canonical, fast, magnitudes);
    }
  }
}

TEST_F(CudaFastProducts, Bf16StaysWithinItsBound) {
  for (const Shape& shape : {Shape{4, 256, 7168}, Shape{64, 4096, 7168}, Shape{131, 64, 7168}}) {
    for (const DType type : {DType::kBF16, DType::kF32}) {
      SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.out));
      Twin x = normal(DType::kBF16, {shape.rows, shape.in});
      Twin w = normal(DType::kBF16, {shape.out, shape.in});
      Twin x_magnitudes = magnitudes_of(x);
      Twin w_magnitudes = magnitudes_of(w);
      Twin canonical = poisoned(type, {shape.rows, shape.out});
      Twin fast = poisoned(type, {shape.rows, shape.out});
      Twin magnitudes = poisoned(DType::kF32, {shape.rows, shape.out});
      const Status done = on_gpu([&](const ops::OpSet& ops, Stream& s, auto view) {
        ops.linear(s, {LinearInput{view(x), {}}, WeightView{view(w), {}}, view(canonical)});
        ops.linear(s, {LinearInput{view(x_magnitudes), {}}, WeightView{view(w_magnitudes), {}},
                       view(magnitudes)});
        const ops::LinearArgs args{LinearInput{view(x), {}}, WeightView{view(w), {}}, view(fast)};
        EXPECT_EQ(products_->linear(static_cast<CudaStream&>(s), args), shape.rows / 4 * 4);
        fast_->linear(s, args);
      });
      ASSERT_TRUE(done.ok()) << done.message();
      expect_close(canonical, fast, magnitudes);
    }
  }
}

TEST_F(CudaFastProducts, HeadsStayWithinTheirBound) {
  for (const Shape& shape : {Shape{4, 512, 128}, Shape{64, 128, 512}, Shape{37, 512, 128}}) {
    SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.out));
    constexpr std::int64_t kHeads = 16;
    Twin x = normal(DType::kBF16, {shape.rows, kHeads, shape.in});
    Twin w = normal(DType::kBF16, {kHeads, shape.out, shape.in});
    Twin x_magnitudes = magnitudes_of(x);
    Twin w_magnitudes = magnitudes_of(w);
    // Columns of wider rows, as the absorbed query's.
    Twin canonical = poisoned(DType::kBF16, {shape.rows, kHeads, shape.out + 64});
    Twin fast = poisoned(DType::kBF16, {shape.rows, kHeads, shape.out + 64});
    Twin magnitudes = poisoned(DType::kF32, {shape.rows, kHeads, shape.out + 64});
    const Status done = on_gpu([&](const ops::OpSet& ops, Stream& s, auto view) {
      for (Twin* y : {&canonical, &fast, &magnitudes}) {  // the rest of a row is compared, too
        const std::vector<std::byte> zeros(y->host.size());
        y->host = zeros;
        upload(*y);
      }
      ops.head_linear(s, {view(x), view(w), view(canonical).columns(0, shape.out)});
      ops.head_linear(
          s, {view(x_magnitudes), view(w_magnitudes), view(magnitudes).columns(0, shape.out)});
      const ops::HeadLinearArgs args{view(x), view(w), view(fast).columns(0, shape.out)};
      EXPECT_TRUE(products_->head_linear(static_cast<CudaStream&>(s), args));
      fast_->head_linear(s, args);
    });
    ASSERT_TRUE(done.ok()) << done.message();
    expect_close(canonical, fast, magnitudes);
  }
}

// What it does not serve has the canonical bits.
TEST_F(CudaFastProducts, OtherShapesAreTheCanonicalKernels) {
  for (const Shape& shape : {Shape{3, 128, 512}, Shape{8, 128, 576}, Shape{8, 65, 512}}) {
    Twin x = normal(DType::kF8E4M3, {shape.rows, shape.in});
    Twin xs = scales({shape.rows, ceil_div(shape.in, kScaleBlock)});
    Twin w = normal(DType::kF8E4M3, {shape.out, shape.in});
    Twin ws = scales({ceil_div(shape.out, kScaleBlock), ceil_div(shape.in, kScaleBlock)});
    Twin y = poisoned(DType::kBF16, {shape.rows, shape.out});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      const ops::LinearArgs args{LinearInput{view(x), view(xs)}, WeightView{view(w), view(ws)},
                                 view(y)};
      if (&ops == &gpu_ops()) {
        fast_->linear(s, args);
      } else {
        ops.linear(s, args);
      }
    });
    expect_equal(y, "linear");
  }
}

}  // namespace
}  // namespace fathom::cuda
