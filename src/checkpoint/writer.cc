#include "checkpoint/writer.h"

#include <array>

#include "base/check.h"

namespace fathom::checkpoint {
namespace {

std::string_view format_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kF8E4M3:
      return "F8_E4M3";
    case DType::kI32:
      return "I32";
    case DType::kU8:
      return "U8";
  }
  return "";
}

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char character : text) {
    if (character == '"' || character == '\\') json += '\\';
    // Names come from this program; none has a control character.
    FATHOM_CHECK(static_cast<unsigned char>(character) >= 0x20);
    json += character;
  }
  return json + "\"";
}

std::string header_json(const std::vector<SafetensorsWriter::Tensor>& tensors) {
  std::string json = R"({"__metadata__":{"format":"pt"})";
  std::int64_t at = 0;
  for (const SafetensorsWriter::Tensor& tensor : tensors) {
    json += "," + json_string(tensor.name) + R"(:{"dtype":")";
    json += format_name(tensor.dtype);
    json += R"(","shape":[)";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      if (i > 0) json += ',';
      json += std::to_string(tensor.shape[i]);
    }
    json += R"(],"data_offsets":[)" + std::to_string(at) + ",";
    at += tensor.bytes();
    json += std::to_string(at) + "]}";
  }
  json += '}';
  // The data begins at a multiple of 64, so that no tensor of whole cache lines straddles one more.
  constexpr std::size_t kAlignment = 64;
  json.append((kAlignment - (json.size() + 8) % kAlignment) % kAlignment, ' ');
  return json;
}

}  // namespace

std::int64_t SafetensorsWriter::Tensor::bytes() const {
  auto bytes = static_cast<std::int64_t>(size_of(dtype));
  for (const std::int64_t size : shape) bytes *= size;
  return bytes;
}

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                    const std::vector<Tensor>& tensors) {
  SafetensorsWriter writer;
  writer.path_ = path.string();
  writer.stream_.open(path, std::ios::binary | std::ios::trunc);
  const std::string json = header_json(tensors);
  std::array<char, 8> length{};
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(json.size() >> (8 * i) & 0xFFU);
  }
  writer.stream_.write(length.data(), length.size());
  writer.stream_.write(json.data(), static_cast<std::streamsize>(json.size()));
  for (const Tensor& tensor : tensors) writer.remaining_ += tensor.bytes();
  FATHOM_RETURN_IF_ERROR(writer.stream_state());
  return writer;
}

Status SafetensorsWriter::write(std::span<const std::byte> bytes) {
  remaining_ -= static_cast<std::int64_t>(bytes.size());
  FATHOM_CHECK(remaining_ >= 0);
  stream_.write(reinterpret_cast<const char*>(bytes.data()),
                static_cast<std::streamsize>(bytes.size()));
  return stream_state();
}

Status SafetensorsWriter::finish() {
  FATHOM_CHECK(remaining_ == 0);
  stream_.close();
  return stream_state();
}

Status SafetensorsWriter::stream_state() const {
  if (stream_.good()) return {};
  return {Code::kUnavailable, path_ + ": cannot be written"};
}

std::string shard_index_json(const std::vector<IndexEntry>& entries, std::int64_t total_bytes) {
  std::string json =
      R"({"metadata":{"total_size":)" + std::to_string(total_bytes) + R"(},"weight_map":{)";
  bool first = true;
  for (const IndexEntry& entry : entries) {
    if (!first) json += ',';
    first = false;
    json += "\n" + json_string(entry.tensor) + ":" + json_string(entry.file);
  }
  return json + "\n}}\n";
}

}  // namespace fathom::checkpoint
