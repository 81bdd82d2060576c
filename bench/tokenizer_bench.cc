// Encode and decode on one thread, beside the Hugging Face tokenizer in the same run when
// tools/run/python.sh has made its environment; then inputs without a place to cut them.
//
// usage: tokenizer_bench [FOLDER with a tokenizer.json]

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "base/check.h"
#include "bench/machine.h"
#include "bench/median.h"
#include "bench/peer_process.h"
#include "bench/table.h"
#include "bench/tokenizer_texts.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace fathom::bench {
namespace {

constexpr int kRepetitions = 9;
constexpr std::size_t kDocumentBytes = 1 << 20;

using Texts = std::vector<std::string>;
using Ids = std::vector<std::vector<text::TokenId>>;

double processor_s() {
  timespec now{};
  FATHOM_CHECK(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

template <class Call>
double seconds(Call&& call) {
  const double begin = processor_s();
  call();
  return processor_s() - begin;
}

std::size_t bytes_in(const Texts& texts) {
  std::size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  return bytes;
}

Ids encode_all(const text::Tokenizer& tokenizer, const Texts& texts) {
  Ids ids;
  ids.reserve(texts.size());
  for (const std::string& text : texts) ids.push_back(tokenizer.encode(text));
  return ids;
}

std::size_t decode_all(const text::Tokenizer& tokenizer, const Ids& lists) {
  std::size_t bytes = 0;
  for (const auto& ids : lists) bytes += tokenizer.decode(ids).size();
  return bytes;
}

std::size_t stream_all(const text::Tokenizer& tokenizer, const Ids& lists) {
  std::size_t bytes = 0;
  std::string piece;
  for (const auto& ids : lists) {
    text::StreamDecoder decoder(tokenizer);
    for (const text::TokenId id : ids) {
      piece.clear();
      decoder.push(id, piece);
      bytes += piece.size();
    }
  }
  return bytes;
}

// As the peer's script counts it.
std::string checksum(const Ids& lists) {
  std::uint64_t total = 0;
  for (const auto& ids : lists) {
    for (const text::TokenId id : ids) {
      total = (total * 31 + static_cast<std::uint64_t>(id) + 1) % (std::uint64_t{1} << 61);
    }
  }
  return std::to_string(total);
}

std::string json_line(const Texts& texts) {
  std::string line = "[";
  for (const std::string& text : texts) {
    if (line.size() > 1) line += ',';
    line += '"';
    for (const char c : text) {
      if (c == '\n' || c == '\t') {
        line += c == '\n' ? "\\n" : "\\t";
        continue;
      }
      if (c == '"' || c == '\\') line += '\\';
      line += c;
    }
    line += '"';
  }
  return line + "]\n";
}

std::optional<std::string> file_contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

struct Input {
  std::string name;
  Texts texts;
};

std::vector<Input> inputs() {
  std::vector<Input> list;
  list.push_back({"documents of 2 to 8 KB", mixed_documents(kDocumentBytes, 2000, 8000)});
  list.push_back({"one document of 1 MB",
                  mixed_documents(kDocumentBytes, kDocumentBytes, kDocumentBytes + 1)});
  Texts prompts;
  for (const char* name : {"test_output_search_w_date.txt", "test_output_search_wo_date.txt"}) {
    const auto prompt = file_contents(FATHOM_TEST_DATA "/text/dsv32_encoding/" + std::string(name));
    if (prompt.has_value()) prompts.push_back(*prompt);
  }
  if (!prompts.empty()) list.push_back({"two recorded prompts", prompts});
  return list;
}

std::unique_ptr<PeerProcess> start_peer(const std::string& tokenizer,
                                        const std::vector<Input>& list) {
  if (!std::filesystem::exists(FATHOM_PYTHON)) {
    std::cout << "No " FATHOM_PYTHON ": without the peer (tools/run/python.sh makes it).\n";
    return nullptr;
  }
  const std::string documents = std::filesystem::temp_directory_path() /
                                ("fathom_tokenizer_bench_" + std::to_string(::getpid()));
  {
    std::ofstream out(documents, std::ios::binary);
    for (const Input& input : list) out << json_line(input.texts);
  }
  auto peer = std::make_unique<PeerProcess>(std::vector<std::string>{
      FATHOM_PYTHON, FATHOM_BENCH_FOLDER "/tokenizer_peer.py", tokenizer, documents});
  std::cout << "Beside " << peer->read_line() << "\n\n";
  std::filesystem::remove(documents);
  return peer;
}

// Ours and the peer's times of one repetition after the other, so that a busy machine meets both.
template <class Call>
void compare(const Table& table,
             const std::string& name,
             double bytes,
             PeerProcess* peer,
             const std::string& question,
             Call&& call) {
  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  call();
  for (int i = 0; i < kRepetitions; ++i) {
    ours.push_back(seconds(call));
    if (peer == nullptr || question.empty()) continue;
    theirs.push_back(std::strtod(peer->ask(question).c_str(), nullptr));
    ratios.push_back(theirs.back() / ours.back());
  }
  const double best = *std::min_element(ours.begin(), ours.end());
  std::vector<std::string> row = {name, number(bytes / median(ours) / 1e6, 1),
                                  number(bytes / best / 1e6, 1), "", ""};
  if (!theirs.empty()) {
    row[3] = number(bytes / median(theirs) / 1e6, 2);
    row[4] = number(median(ratios), 1);
  }
  table.row(row);
}

void run_inputs(const text::Tokenizer& tokenizer,
                const std::vector<Input>& list,
                PeerProcess* peer) {
  const Table table(
      {{"text", 42}, {"MB/s", 8}, {"best", 8}, {"peer MB/s", 9}, {"times the peer", 14}});
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Texts& texts = list[i].texts;
    const Ids ids = encode_all(tokenizer, texts);
    const auto bytes = static_cast<double>(bytes_in(texts));
    const std::string number = std::to_string(i);
    if (peer != nullptr) FATHOM_CHECK(peer->ask("ids " + number) == checksum(ids));
    compare(table, list[i].name + ", encode", bytes, peer, "encode " + number,
            [&] { encode_all(tokenizer, texts); });
    compare(table, list[i].name + ", decode", bytes, peer, "decode " + number,
            [&] { decode_all(tokenizer, ids); });
    compare(table, list[i].name + ", streamed", bytes, peer, "",
            [&] { stream_all(tokenizer, ids); });
  }
}

std::string repeated(std::string_view part, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += part;
  return text;
}

// Letters in an order without a period.
std::string letters(std::size_t bytes) {
  std::string text;
  for (std::uint32_t state = 1; text.size() < bytes; state = state * 1664525 + 1013904223) {
    text += static_cast<char>('a' + (state >> 24) % 26);
  }
  return text;
}

void run_long(const text::Tokenizer& tokenizer) {
  const Table table({{"without a space, MB/s", 24}, {"250 KB", 8}, {"500 KB", 8}, {"1 MB", 8}});
  const auto row = [&](const std::string& name, const auto& make) {
    std::vector<std::string> cells = {name};
    for (const std::size_t bytes : {250000U, 500000U, 1000000U}) {
      const std::string text = make(bytes);
      std::vector<double> times;
      times.reserve(5);
      for (int i = 0; i < 5; ++i) times.push_back(seconds([&] { tokenizer.encode(text); }));
      cells.push_back(number(static_cast<double>(bytes) / median(times) / 1e6, 1));
    }
    table.row(cells);
  };
  row("random letters", letters);
  for (const auto& [name, part] :
       {std::pair("a", "a"), std::pair("=", "="), std::pair("spaces", " "),
        std::pair("newlines", "\n"), std::pair("Han", "的一是不了人我在有他这中大来上国"),
        std::pair("e with acute", "é"), std::pair("digits", "1")}) {
    row(name, [text = part](std::size_t bytes) { return repeated(text, bytes); });
  }
}

int run(const std::string& path) {
  const auto tokenizer = text::Tokenizer::load(path);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << "\n";
    return 1;
  }
  std::cout << describe_machine() << "; one thread, processor time, median of " << kRepetitions
            << "\n"
            << path << "\n";
  const std::vector<Input> list = inputs();
  const std::unique_ptr<PeerProcess> peer = start_peer(path, list);
  run_inputs(**tokenizer, list, peer.get());
  std::cout << "\n";
  run_long(**tokenizer);
  return 0;
}

}  // namespace
}  // namespace fathom::bench

// ./run bench hands every benchmark the same arguments, so what is no folder with a tokenizer here
// is none of ours.
int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  fs::path path = FATHOM_TEST_DATA "/text/tokenizer/deepseek_v32_tokenizer.json";
  if (argc > 1 && fs::exists(fs::path(argv[1]) / "tokenizer.json")) {
    path = fs::path(argv[1]) / "tokenizer.json";
  }
  return fathom::bench::run(path);
}
