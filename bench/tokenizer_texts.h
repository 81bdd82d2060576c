#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fathom::bench {

// Documents of `least` to `most` bytes, together at least `total` bytes, the same at every call:
// English prose, Chinese prose and code, a paragraph of each in turn at random. Words come from a
// list of ours by how common such words are (Zipf), one in eight is made up of syllables, as names
// and rare words are.
std::vector<std::string> mixed_documents(std::size_t total, std::size_t least, std::size_t most);

}  // namespace fathom::bench
