#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors_header.h"

namespace fathom::test_support {

// A safetensors file of reference outputs, by name. A missing name or a wrong dtype ends the test
// program with a sentence.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path)
      : file_(checkpoint::MappedFile::open(path).value()) {
    const checkpoint::SafetensorsHeader header =
        checkpoint::parse_safetensors_header(file_->bytes()).value();
    for (const checkpoint::StoredTensor& tensor : header.tensors) {
      tensors_.emplace(tensor.name, tensor);
    }
  }

  bool has(const std::string& name) const { return tensors_.contains(name); }
  const std::vector<std::int64_t>& shape(const std::string& name) const { return at(name).shape; }
  std::span<const float> floats(const std::string& name) const {
    return elements<float>(name, DType::kF32);
  }
  std::span<const std::int32_t> ints(const std::string& name) const {
    return elements<std::int32_t>(name, DType::kI32);
  }
  std::span<const BFloat16> bfloats(const std::string& name) const {
    return elements<BFloat16>(name, DType::kBF16);
  }
  std::span<const std::uint8_t> bytes(const std::string& name) const {
    return elements<std::uint8_t>(name, DType::kU8);
  }

 private:
  const checkpoint::StoredTensor& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    FATHOM_CHECK_MSG(found != tensors_.end(), "no tensor " + name);
    return found->second;
  }

  template <class T>
  std::span<const T> elements(const std::string& name, DType dtype) const {
    const checkpoint::StoredTensor& tensor = at(name);
    FATHOM_CHECK_MSG(tensor.dtype == dtype, name);
    return {reinterpret_cast<const T*>(file_->bytes().data() + tensor.begin),
            static_cast<std::size_t>(tensor.end - tensor.begin) / sizeof(T)};
  }

  std::unique_ptr<checkpoint::MappedFile> file_;
  std::unordered_map<std::string, checkpoint::StoredTensor> tensors_;
};

}  // namespace fathom::test_support
