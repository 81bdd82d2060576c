#include "backend/cuda/twin_testing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/cpu_ops.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"

namespace fathom::cuda {

TensorView Twin::view(void* data) const {
  TensorView view;
  view.data = data;
  view.dtype = dtype;
  view.rank = static_cast<int>(shape.size());
  std::int64_t stride = 1;
  for (int i = view.rank; i-- > 0;) {
    const auto at = static_cast<std::size_t>(i);
    view.shape.at(at) = shape[at];
    view.stride.at(at) = stride;
    stride *= shape[at];
  }
  return view;
}

std::int64_t Twin::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Device* TwinTest::gpu() {
  static const std::unique_ptr<Device> device = [] {
    auto opened = CudaDevice::open(0);
    if (!opened.ok()) std::cout << opened.status().message() << "\n";
    return opened.ok() ? std::unique_ptr<Device>(std::move(opened).value()) : nullptr;
  }();
  return device.get();
}

void TwinTest::SetUp() {
  if (gpu() == nullptr) GTEST_SKIP() << "there is no Hopper GPU here";
  cpu_ = std::make_unique<cpu::CpuDevice>(4);
  cpu_ops_ = cpu::make_cpu_ops();
  gpu_ops_ = make_cuda_ops();
  cpu_stream_ = cpu_->create_stream();
  gpu_stream_ = gpu()->create_stream();
}

void TwinTest::upload(Twin& twin) {
  gpu()->copy_to_device(*gpu_stream_, twin.device.data(), twin.host.data(), twin.host.size());
  const Status done = gpu_stream_->synchronize();
  ASSERT_TRUE(done.ok()) << done.message();
}

Twin TwinTest::poisoned(DType dtype, std::vector<std::int64_t> shape) {
  Twin twin;
  twin.dtype = dtype;
  twin.shape = std::move(shape);
  twin.host.resize(static_cast<std::size_t>(twin.elements()) * size_of(dtype));
  for (std::byte& byte : twin.host) byte = static_cast<std::byte>(random_());
  twin.device = gpu()->allocate(std::max<std::size_t>(twin.host.size(), 1)).value();
  upload(twin);
  return twin;
}

Twin TwinTest::normal(DType dtype, std::vector<std::int64_t> shape, float scale) {
  Twin twin = poisoned(dtype, std::move(shape));
  std::normal_distribution<float> numbers(0, scale);
  for (std::int64_t i = 0; i < twin.elements(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const float number = numbers(random_);
    switch (dtype) {
      case DType::kF32:
        twin.as<float>()[at] = number;
        break;
      case DType::kBF16:
        twin.as<BFloat16>()[at] = to_bfloat16(number);
        break;
      case DType::kF8E4M3:
        twin.as<Float8E4M3>()[at] = to_float8_e4m3(number * 100);
        break;
      case DType::kF16:  // any bits but those of infinities and NaN
        twin.as<std::uint16_t>()[at] &= 0xBFFFU;
        break;
      default:
        break;
    }
  }
  upload(twin);
  return twin;
}

Twin TwinTest::scales(std::vector<std::int64_t> shape) {
  Twin twin = normal(DType::kF32, std::move(shape));
  for (float& scale : twin.as<float>()) scale = std::exp2(-5 + std::fmod(scale, 3.0F));
  upload(twin);
  return twin;
}

Twin TwinTest::integers(std::vector<std::int64_t> shape, const std::vector<std::int32_t>& values) {
  Twin twin = poisoned(DType::kI32, std::move(shape));
  EXPECT_EQ(static_cast<std::int64_t>(values.size()), twin.elements());
  std::copy(values.begin(), values.end(), twin.as<std::int32_t>().begin());
  upload(twin);
  return twin;
}

void TwinTest::expect_equal(const Twin& twin, const char* what) {
  std::vector<std::byte> got(twin.host.size());
  gpu()->copy_to_host(*gpu_stream_, got.data(), twin.device.data(), got.size());
  const Status done = gpu_stream_->synchronize();
  ASSERT_TRUE(done.ok()) << done.message();
  std::size_t wrong = 0;
  std::size_t first = 0;
  const std::size_t size = size_of(twin.dtype);
  for (std::size_t i = 0; i < got.size(); i += size) {
    if (std::memcmp(&got[i], &twin.host[i], size) == 0) continue;
    if (wrong++ == 0) first = i / size;
  }
  EXPECT_EQ(wrong, 0U) << what << ": " << wrong << " of " << got.size() / size
                       << " elements differ, the first is " << first;
}

std::vector<float> TwinTest::device_numbers(const Twin& twin) {
  std::vector<std::byte> bytes(twin.host.size());
  gpu()->copy_to_host(*gpu_stream_, bytes.data(), twin.device.data(), bytes.size());
  const Status done = gpu_stream_->synchronize();
  EXPECT_TRUE(done.ok()) << done.message();
  std::vector<float> numbers(static_cast<std::size_t>(twin.elements()));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (twin.dtype == DType::kF32) {
      std::memcpy(&numbers[i], bytes.data() + i * sizeof(float), sizeof(float));
    } else {
      BFloat16 narrow{};
      std::memcpy(&narrow, bytes.data() + i * sizeof narrow, sizeof narrow);
      numbers[i] = to_float(narrow);
    }
  }
  return numbers;
}

}  // namespace fathom::cuda
