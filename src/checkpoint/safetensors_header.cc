#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include <simdjson.h>

#include "checkpoint/message_text.h"

namespace fathom::checkpoint {
namespace {

using simdjson::dom::element;

struct DTypeName {
  std::string_view text;
  DType dtype;
};

// As the format spells them. Its other types have no use in a model that is served here.
constexpr DTypeName kDTypes[] = {
    {"F32", DType::kF32},        {"BF16", DType::kBF16}, {"F16", DType::kF16},
    {"F8_E4M3", DType::kF8E4M3}, {"I32", DType::kI32},   {"U8", DType::kU8},
};

Result<DType> parse_dtype(const element& value) {
  std::string_view text;
  if (value.get(text)) return invalid_argument("dtype is not a string");
  for (const DTypeName& known : kDTypes) {
    if (known.text == text) return known.dtype;
  }
  return invalid_argument("dtype is " + in_quotes(text) +
                          ", expected F32, BF16, F16, F8_E4M3, I32 or U8");
}

// A list of integers, none negative.
std::optional<std::vector<std::int64_t>> parse_sizes(const element& value) {
  simdjson::dom::array list;
  if (value.get(list)) return std::nullopt;
  std::vector<std::int64_t> sizes;
  for (const element item : list) {
    std::int64_t size = 0;
    if (item.get(size) || size < 0) return std::nullopt;
    sizes.push_back(size);
  }
  return sizes;
}

// Nothing when the product leaves an int64.
std::optional<std::int64_t> bytes_of(const std::vector<std::int64_t>& shape, DType dtype) {
  auto bytes = static_cast<std::int64_t>(size_of(dtype));
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

Result<StoredTensor> parse_tensor(std::string_view name,
                                  const element& value,
                                  std::int64_t data_begin,
                                  std::int64_t data_bytes) {
  element dtype;
  element shape;
  element offsets;
  if (value["dtype"].get(dtype) || value["shape"].get(shape) ||
      value["data_offsets"].get(offsets)) {
    return invalid_argument("expected an object with dtype, shape and data_offsets");
  }
  const Result<DType> type = parse_dtype(dtype);
  if (!type.ok()) return type.status();
  auto sizes = parse_sizes(shape);
  if (!sizes) return invalid_argument("shape is not a list of integers, 0 or more");
  const auto range = parse_sizes(offsets);
  if (!range || range->size() != 2) {
    return invalid_argument("data_offsets is not a pair of integers, 0 or more");
  }
  const std::int64_t begin = (*range)[0];
  const std::int64_t end = (*range)[1];
  if (begin > end || end > data_bytes) {
    return invalid_argument("data_offsets are " + shape_text(*range) + ", but the file has " +
                            std::to_string(data_bytes) + " bytes of data");
  }
  const auto wanted = bytes_of(*sizes, *type);
  if (!wanted || *wanted != end - begin) {
    return invalid_argument("data_offsets hold " + std::to_string(end - begin) + " bytes, but " +
                            std::string(dtype_name(*type)) + shape_text(*sizes) + " takes " +
                            (wanted ? std::to_string(*wanted) : "more than 2^63"));
  }
  return StoredTensor{std::string(name), *type, *std::move(sizes), data_begin + begin,
                      data_begin + end};
}

// Every byte of [header.data_begin, file_bytes) belongs to exactly one tensor.
Status check_coverage(const SafetensorsHeader& header, std::int64_t file_bytes) {
  std::int64_t at = header.data_begin;
  const StoredTensor* previous = nullptr;
  for (const StoredTensor& tensor : header.tensors) {
    if (tensor.begin < at) {
      return invalid_argument("tensors " + in_quotes(previous->name) + " and " +
                              in_quotes(tensor.name) + " overlap");
    }
    if (tensor.begin > at) {
      return invalid_argument("tensor " + in_quotes(tensor.name) + " begins " +
                              std::to_string(tensor.begin - at) +
                              " bytes after the end of the data before it");
    }
    at = tensor.end;
    previous = &tensor;
  }
  if (at != file_bytes) {
    return invalid_argument("the file has " + std::to_string(file_bytes - at) +
                            " bytes after its last tensor");
  }
  return {};
}

Result<std::int64_t> header_bytes(std::span<const std::byte> file) {
  constexpr std::size_t kLengthBytes = 8;
  if (file.size() < kLengthBytes) {
    return invalid_argument("the file has " + std::to_string(file.size()) +
                            " bytes, too few for a safetensors header");
  }
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) {
    length = length << 8U | std::to_integer<std::uint64_t>(file[i]);
  }
  if (length > static_cast<std::uint64_t>(kMaxHeaderBytes)) {
    return invalid_argument("the header's length is " + std::to_string(length) +
                            ", expected at most " + std::to_string(kMaxHeaderBytes));
  }
  if (length > file.size() - kLengthBytes) {
    return invalid_argument("the header's length is " + std::to_string(length) +
                            ", but the file has " + std::to_string(file.size()) + " bytes");
  }
  return static_cast<std::int64_t>(length);
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file) {
  const Result<std::int64_t> length = header_bytes(file);
  if (!length.ok()) return length.status();
  const auto file_bytes = static_cast<std::int64_t>(file.size());
  SafetensorsHeader header;
  header.data_begin = 8 + *length;

  simdjson::dom::parser parser;
  simdjson::dom::object members;
  const auto* json = reinterpret_cast<const char*>(file.data() + 8);
  if (const auto error = parser.parse(json, static_cast<std::size_t>(*length)).get(members)) {
    return invalid_argument(std::string("the header is not a JSON object: ") +
                            simdjson::error_message(error));
  }
  std::unordered_set<std::string_view> names;
  for (const auto& [name, value] : members) {
    if (!names.insert(name).second) {
      return invalid_argument("the header has " + in_quotes(name) + " twice");
    }
    if (name == "__metadata__") continue;  // free text about the file
    Result<StoredTensor> tensor =
        parse_tensor(name, value, header.data_begin, file_bytes - header.data_begin);
    if (!tensor.ok()) return tensor.status().in("tensor " + in_quotes(name));
    header.tensors.push_back(std::move(*tensor));
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const StoredTensor& a, const StoredTensor& b) {
              return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
            });
  FATHOM_RETURN_IF_ERROR(check_coverage(header, file_bytes));
  return header;
}

}  // namespace fathom::checkpoint
