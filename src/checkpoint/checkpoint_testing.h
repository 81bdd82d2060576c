#pragma once

// Small checkpoints on disk for the tests of this layer.

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "checkpoint/writer.h"

namespace fathom::checkpoint {

// A tensor with its bytes.
struct TestTensor {
  SafetensorsWriter::Tensor tensor;
  std::vector<std::byte> data;
};

// Every byte is `fill`.
inline TestTensor filled(std::string name,
                         DType dtype,
                         std::vector<std::int64_t> shape,
                         unsigned char fill = 0) {
  TestTensor made{{std::move(name), dtype, std::move(shape)}, {}};
  made.data.assign(static_cast<std::size_t>(made.tensor.bytes()), std::byte{fill});
  return made;
}

inline TestTensor floats(std::string name,
                         std::vector<std::int64_t> shape,
                         const std::vector<float>& values) {
  TestTensor made = filled(std::move(name), DType::kF32, std::move(shape));
  EXPECT_EQ(made.data.size(), values.size() * 4);
  std::memcpy(made.data.data(), values.data(), made.data.size());
  return made;
}

// A new, empty folder that is removed with the object.
class TestFolder {
 public:
  TestFolder() {
    static std::atomic<int> made{0};
    path_ = testing::TempDir() + "fathom_checkpoint." + std::to_string(::getpid()) + "." +
            std::to_string(made.fetch_add(1));
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

  void write_text(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

  void write_tensors(const std::string& name, const std::vector<TestTensor>& tensors) const {
    std::vector<SafetensorsWriter::Tensor> announced;
    announced.reserve(tensors.size());
    for (const TestTensor& tensor : tensors) announced.push_back(tensor.tensor);
    auto writer = SafetensorsWriter::create(path_ / name, announced);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    for (const TestTensor& tensor : tensors) ASSERT_TRUE(writer->write(tensor.data).ok());
    ASSERT_TRUE(writer->finish().ok());
  }

 private:
  std::filesystem::path path_;
};

}  // namespace fathom::checkpoint
