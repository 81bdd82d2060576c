#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "tensor/device.h"

namespace fathom::model {

// Brings weights from mapped files to a device with memory of its own: threads read the pages into
// one of two blocks of pinned memory while the other is on its way. Neighbours in one buffer
// of the device travel in one copy.
//
// Threads: one.
class WeightUpload {
 public:
  // `device` must outlive it.
  static Result<std::unique_ptr<WeightUpload>> create(Device& device);
  // Waits for the copies under way.
  ~WeightUpload();
  WeightUpload(const WeightUpload&) = delete;
  WeightUpload& operator=(const WeightUpload&) = delete;

  // Copies `bytes` bytes to the device's memory. `from` must stay until the next flush().
  // `to` is a multiple of 256, and what lies between the end and the next such multiple belongs to
  // nobody: it may be written, too.
  void add(void* to, const void* from, std::size_t bytes);
  // What is added from now on lies in another buffer of the device than what was added before.
  void change_buffer() { buffer_changed_ = true; }
  // Reads all that was added: its host memory may go.
  void flush();
  // The same, and waits until it has arrived.
  Status finish();

 private:
  // A part of a tensor that lies in a block.
  struct Part {
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    std::size_t at = 0;  // in the block
    std::size_t bytes = 0;
    bool begins_buffer = false;
  };
  struct Block {
    Buffer memory;
    std::unique_ptr<Event> sent;
  };

  explicit WeightUpload(Device& device);
  void read_parts(std::byte* block);
  void send_parts(const std::byte* block);

  Device& device_;
  std::unique_ptr<Stream> stream_;
  ThreadPool pool_;
  std::array<Block, 2> blocks_;
  std::size_t current_ = 0;
  std::size_t used_ = 0;  // of the current block
  std::vector<Part> parts_;
  bool buffer_changed_ = false;
  Status failure_;
};

}  // namespace fathom::model
