#include "model/weight_upload.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_device.h"

namespace fathom::model {
namespace {

struct Tensor {
  std::vector<std::byte> from;
  std::size_t at = 0;  // on the device
};

TEST(WeightUpload, BringsTensorsOfEverySizeWhereTheyBelong) {
  cpu::CpuDevice device(1);
  std::mt19937 random(5);
  // Small ones side by side, one larger than a block, gaps, and one out of order.
  std::vector<Tensor> tensors;
  std::size_t at = 0;
  for (const std::size_t bytes :
       {std::size_t{1}, std::size_t{255}, std::size_t{256}, std::size_t{4097},
        (std::size_t{64} << 20) + 12345, std::size_t{100}, (std::size_t{3} << 20) + 7}) {
    Tensor tensor;
    tensor.from.resize(bytes);
    for (std::size_t i = 0; i < bytes; i += 97) tensor.from[i] = static_cast<std::byte>(random());
    tensor.at = at;
    at += (bytes + 255) / 256 * 256 + (bytes == 4097 ? 512 : 0);
    tensors.push_back(std::move(tensor));
  }
  std::swap(tensors[1], tensors[3]);
  Buffer memory = device.allocate(at).value();
  auto upload = WeightUpload::create(device).value();
  for (const Tensor& tensor : tensors) {
    upload->add(static_cast<std::byte*>(memory.data()) + tensor.at, tensor.from.data(),
                tensor.from.size());
  }
  ASSERT_TRUE(upload->finish().ok());

  for (const Tensor& tensor : tensors) {
    EXPECT_EQ(std::memcmp(static_cast<std::byte*>(memory.data()) + tensor.at, tensor.from.data(),
                          tensor.from.size()),
              0)
        << tensor.from.size() << " bytes";
  }
}

TEST(WeightUpload, SourcesMayGoAfterAFlush) {
  cpu::CpuDevice device(1);
  Buffer memory = device.allocate(1024).value();
  auto upload = WeightUpload::create(device).value();
  {
    const std::vector<std::byte> from(1000, std::byte{42});
    upload->add(memory.data(), from.data(), from.size());
    upload->flush();
  }
  ASSERT_TRUE(upload->finish().ok());
  const std::vector<std::byte> expected(1000, std::byte{42});
  EXPECT_EQ(std::memcmp(memory.data(), expected.data(), expected.size()), 0);
}

}  // namespace
}  // namespace fathom::model
