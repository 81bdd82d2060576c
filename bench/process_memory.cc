#include "bench/process_memory.h"

#include <fcntl.h>
#include <fstream>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace fathom::bench {

namespace {

// Pages of one file, and how many of them are in memory.
struct Pages {
  double all = 0;
  double in_memory = 0;
};

Pages drop_file(const std::filesystem::path& path) {
  Pages pages;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return pages;
  // Pages that are still to be written cannot be forgotten.
  fsync(file);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  const auto bytes = static_cast<std::size_t>(std::filesystem::file_size(path));
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> present((bytes + page - 1) / page);
  void* mapping = bytes == 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
  if (mapping != MAP_FAILED) {
    pages.all = static_cast<double>(present.size());
    if (mincore(mapping, bytes, present.data()) == 0) {
      for (const unsigned char one : present) pages.in_memory += (one & 1U) != 0 ? 1 : 0;
    }
    munmap(mapping, bytes);
  }
  close(file);
  return pages;
}

}  // namespace

ResidentMemory resident_memory() {
  ResidentMemory memory;
  std::ifstream file("/proc/self/status");
  for (std::string name; file >> name;) {
    double kib = 0;
    if (name == "RssAnon:" && file >> kib) memory.anonymous_bytes += kib * 1024;
    if (name == "RssFile:" && file >> kib) memory.file_bytes += kib * 1024;
    if (name == "RssShmem:" && file >> kib) memory.anonymous_bytes += kib * 1024;
  }
  return memory;
}

double drop_from_page_cache(const std::filesystem::path& folder) {
  Pages sum;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const Pages pages = drop_file(entry.path());
    sum.all += pages.all;
    sum.in_memory += pages.in_memory;
  }
  return sum.all > 0 ? sum.in_memory / sum.all : 0;
}

}  // namespace fathom::bench
