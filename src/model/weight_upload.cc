#include "model/weight_upload.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fathom::model {

namespace {

constexpr std::size_t kBlockBytes = std::size_t{64} << 20;
// Device memory of tensors begins at multiples of it; the same gaps in a block let neighbours
// travel together.
constexpr std::size_t kAlignment = 256;
// Page faults are what reading costs: a thread takes some pages at a time.
constexpr std::size_t kSliceBytes = std::size_t{1} << 20;
constexpr int kMostThreads = 16;

std::size_t rounded(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

WeightUpload::WeightUpload(Device& device)
    : device_(device),
      stream_(device.create_stream()),
      pool_(std::min(available_processors(), kMostThreads)) {}

Result<std::unique_ptr<WeightUpload>> WeightUpload::create(Device& device) {
  auto upload = std::unique_ptr<WeightUpload>(new WeightUpload(device));
  for (Block& block : upload->blocks_) {
    Result<Buffer> memory = device.allocate_host(kBlockBytes);
    FATHOM_RETURN_IF_ERROR(memory.status());
    block.memory = std::move(memory).value();
    block.sent = device.create_event();
  }
  return upload;
}

WeightUpload::~WeightUpload() { static_cast<void>(stream_->synchronize()); }

void WeightUpload::add(void* to, const void* from, std::size_t bytes) {
  auto* next_to = static_cast<std::byte*>(to);
  const auto* next_from = static_cast<const std::byte*>(from);
  while (bytes > 0) {
    if (used_ == kBlockBytes) flush();
    const std::size_t taken = std::min(bytes, kBlockBytes - used_);
    for (std::size_t done = 0; done < taken; done += kSliceBytes) {
      parts_.push_back({next_to + done, next_from + done, used_ + done,
                        std::min(kSliceBytes, taken - done),
                        std::exchange(buffer_changed_, false)});
    }
    used_ = std::min(rounded(used_ + taken), kBlockBytes);
    next_to += taken;
    next_from += taken;
    bytes -= taken;
  }
}

void WeightUpload::read_parts(std::byte* block) {
  pool_.parallel_for(parts_.size(), 1, [&](std::size_t begin, std::size_t end, int /*worker*/) {
    for (std::size_t i = begin; i < end; ++i) {
      std::memcpy(block + parts_[i].at, parts_[i].from, parts_[i].bytes);
    }
  });
}

void WeightUpload::send_parts(const std::byte* block) {
  for (std::size_t first = 0; first < parts_.size();) {
    const Part& begin = parts_[first];
    std::size_t end = first + 1;
    std::size_t bytes = begin.bytes;
    // What is between two tensors of a buffer belongs to nobody: the gap travels with them.
    for (; end < parts_.size() && !parts_[end].begins_buffer &&
           parts_[end].to - begin.to == static_cast<std::ptrdiff_t>(parts_[end].at - begin.at);
         ++end) {
      bytes = parts_[end].at - begin.at + parts_[end].bytes;
    }
    device_.copy_to_device(*stream_, begin.to, block + begin.at, bytes);
    first = end;
  }
}

void WeightUpload::flush() {
  if (parts_.empty()) return;
  Block& block = blocks_.at(current_);
  // The block's last copies have read it.
  if (const Status sent = block.sent->wait(); !sent.ok() && failure_.ok()) failure_ = sent;
  auto* const memory = static_cast<std::byte*>(block.memory.data());
  read_parts(memory);
  send_parts(memory);
  block.sent->record(*stream_);
  parts_.clear();
  used_ = 0;
  current_ = (current_ + 1) % blocks_.size();
}

Status WeightUpload::finish() {
  flush();
  FATHOM_RETURN_IF_ERROR(failure_);
  return stream_->synchronize();
}

}  // namespace fathom::model
