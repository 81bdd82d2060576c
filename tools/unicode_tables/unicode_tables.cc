// Writes the table of character classes that src/text/ compiles in: unicode_tables OUTPUT_FILE.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <unicode/uchar.h>
#include <unicode/uversion.h>

#include "text/unicode_class.h"

namespace {

using namespace fathom::text;  // NOLINT(google-build-using-namespace)

constexpr UChar32 kLast = 0x10FFFF;
constexpr std::size_t kColumns = 100;

std::uint32_t classes_of(UChar32 c) {
  const std::uint32_t category = U_GET_GC_MASK(c);
  std::uint32_t classes = 0;
  if ((category & U_GC_L_MASK) != 0) classes |= kLetter;
  if ((category & U_GC_M_MASK) != 0) classes |= kMark;
  if ((category & U_GC_N_MASK) != 0) classes |= kNumber;
  if ((category & U_GC_P_MASK) != 0) classes |= kPunctuation;
  if ((category & U_GC_S_MASK) != 0) classes |= kSymbol;
  if (u_hasBinaryProperty(c, UCHAR_WHITE_SPACE) != 0) classes |= kSpace;
  const bool is_word = (category & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
                       u_hasBinaryProperty(c, UCHAR_ALPHABETIC) != 0 ||
                       u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) != 0;
  if (is_word) classes |= kWord;
  return classes;
}

std::vector<std::uint32_t> runs() {
  std::vector<std::uint32_t> result;
  std::uint32_t length = 0;
  for (UChar32 c = 0; c <= kLast; ++c) {
    ++length;
    if (c == kLast || classes_of(c + 1) != classes_of(c)) {
      result.push_back(length << 7 | classes_of(c));
      length = 0;
    }
  }
  return result;
}

std::string render(const std::vector<std::uint32_t>& table) {
  std::string text =
      "#pragma once\n\n"
      "#include <cstdint>\n\n"
      "namespace fathom::text {\n\n"
      "// Written by tools/unicode_tables from Unicode " U_UNICODE_VERSION
      " data; not to be edited.\n"
      "//\n"
      "// Runs of code points with equal classes, from U+0000 to U+10FFFF without a gap: the "
      "run's\n"
      "// length times 128 plus its CharClass bits (kHanKana excepted).\n"
      "// clang-format off\n"
      "inline constexpr std::uint32_t kUnicodeRuns[] = {";
  std::size_t column = kColumns;
  for (const std::uint32_t run : table) {
    const std::string item = std::to_string(run) + ",";
    if (column + item.size() > kColumns) {
      text += "\n";
      column = 0;
    }
    text += item;
    column += item.size();
  }
  return text + "\n};\n// clang-format on\n\n}  // namespace fathom::text\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    static_cast<void>(std::fputs("usage: unicode_tables OUTPUT_FILE\n", stderr));
    return 2;
  }
  std::ofstream out(argv[1]);
  out << render(runs());
  out.flush();
  return out.good() ? 0 : 1;
}
