#include "text/tokenizer.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 128 << 20;

// The file's bytes; empty when it is optional and not there.
Result<std::string> read_file(const std::filesystem::path& path, bool required) {
  std::error_code error;
  const bool exists = std::filesystem::exists(path, error);
  if (!error && !exists && !required) return std::string();
  const std::string name = path.filename().string();
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return Status(Code::kUnavailable, name + ": " + error.message());
  if (size > kMaxFileBytes) {
    return invalid_argument(name + ": the file has " + std::to_string(size) + " bytes, at most " +
                            std::to_string(kMaxFileBytes) + " are read");
  }
  std::string bytes(static_cast<std::size_t>(size), '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    return Status(Code::kUnavailable, name + ": cannot be read");
  }
  return bytes;
}

void add_once(std::vector<TokenId>& ids, TokenId id) {
  const auto at = std::lower_bound(ids.begin(), ids.end(), id);
  if (at == ids.end() || *at != id) ids.insert(at, id);
}

}  // namespace

struct Tokenizer::State {
  enum Flag : std::uint8_t {
    kAdded = 1,
    kSpecial = 2,
    kWhole = 4  // its bytes are whole characters
  };

  explicit State(TokenizerSpec& spec)
      : tokens(std::move(spec.tokens)),
        added(spec.added_tokens),
        flags(static_cast<std::size_t>(tokens.size())) {
    for (TokenId id = 0; id < tokens.size(); ++id) {
      const std::string_view bytes = tokens.bytes(id);
      if (valid_utf8_prefix(bytes) == bytes.size()) flags[static_cast<std::size_t>(id)] |= kWhole;
    }
    for (const AddedToken& token : spec.added_tokens) {
      flags[static_cast<std::size_t>(token.id)] |=
          static_cast<std::uint8_t>(token.special ? kAdded | kSpecial : kAdded);
    }
  }

  bool has_flag(TokenId id, Flag flag) const {
    return tokens.contains(id) && (flags[static_cast<std::size_t>(id)] & flag) != 0;
  }

  // The id of a token that a configuration names; none when it names none or an unknown one.
  std::optional<TokenId> named(const std::optional<std::string>& content) const {
    if (!content.has_value()) return std::nullopt;
    TokenId id = added.find(*content);
    if (id < 0) id = tokens.find(*content);
    return id < 0 ? std::nullopt : std::optional<TokenId>(id);
  }

  void apply(const TokenizerConfig& config);

  TokenTable tokens;
  AddedTokens added;
  std::vector<std::uint8_t> flags;  // [id] of Flag
  std::unique_ptr<Bpe> bpe;
  std::optional<PreTokenizer> pre_tokenizer;
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
  std::optional<TokenId> bos;
  std::optional<TokenId> pad;
  std::vector<TokenId> eos;
};

// An explicit add_bos_token or add_eos_token decides over the post-processor's template.
void Tokenizer::State::apply(const TokenizerConfig& config) {
  bos = named(config.bos_token);
  pad = named(config.pad_token);
  const std::optional<TokenId> end = named(config.eos_token);
  if (end.has_value()) add_once(eos, *end);
  if (config.add_bos_token.has_value()) {
    prefix.clear();
    if (*config.add_bos_token && bos.has_value()) prefix.push_back(*bos);
  }
  if (config.add_eos_token.has_value()) {
    suffix.clear();
    if (*config.add_eos_token && end.has_value()) suffix.push_back(*end);
  }
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::filesystem::path& path) {
  std::error_code error;
  const bool is_folder = std::filesystem::is_directory(path, error);
  std::string contents[4];
  std::size_t next = 0;
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"}) {
    const bool required = next == 0;
    Result<std::string> bytes = read_file(is_folder ? path / name : path, required);
    if (!bytes.ok()) return bytes.status().in("load tokenizer from " + path.string());
    contents[next++] = std::move(*bytes);
    if (!is_folder) break;
  }
  Result<std::unique_ptr<Tokenizer>> result =
      from_json({contents[0], contents[1], contents[2], contents[3]});
  if (!result.ok()) return result.status().in("load tokenizer from " + path.string());
  return result;
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(const TokenizerFiles& files) {
  Result<TokenizerSpec> spec = parse_tokenizer(files.tokenizer);
  if (!spec.ok()) return spec.status().in("tokenizer.json");
  auto state = std::make_unique<State>(*spec);
  Result<std::unique_ptr<Bpe>> bpe =
      Bpe::create(state->tokens, spec->merges,
                  spec->ignore_merges ? Bpe::WholePiece::kAlways : Bpe::WholePiece::kWhenReached);
  if (!bpe.ok()) return bpe.status().in("tokenizer.json: model.vocab");
  state->bpe = std::move(*bpe);
  Result<PreTokenizer> pre_tokenizer = PreTokenizer::create(std::move(spec->pre_tokenizer));
  if (!pre_tokenizer.ok()) return pre_tokenizer.status().in("tokenizer.json: pre_tokenizer");
  state->pre_tokenizer = std::move(*pre_tokenizer);
  state->prefix = std::move(spec->prefix);
  state->suffix = std::move(spec->suffix);
  if (!files.tokenizer_config.empty()) {
    Result<TokenizerConfig> config = parse_tokenizer_config(files.tokenizer_config);
    if (!config.ok()) return config.status().in("tokenizer_config.json");
    state->apply(*config);
  }
  for (const auto& [name, json] : {std::pair("generation_config.json", files.generation_config),
                                   std::pair("config.json", files.config)}) {
    if (json.empty()) continue;
    Result<GenerationIds> ids = parse_generation_ids(json);
    if (!ids.ok()) return ids.status().in(name);
    if (!state->bos.has_value()) state->bos = ids->bos;
    for (const TokenId id : ids->eos) add_once(state->eos, id);
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(state)));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 8);
  std::vector<TextSegment> segments;
  if (options.match_added_tokens) {
    state_->added.split(text, segments);
  } else if (!text.empty()) {
    segments.push_back({text});
  }
  Pieces pieces;
  Bpe::Scratch scratch;
  for (const TextSegment& segment : segments) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    pieces.clear();
    state_->pre_tokenizer->split(segment.text, pieces);
    for (const std::string_view piece : pieces.list) state_->bpe->encode(piece, scratch, ids);
  }
  if (options.add_special_tokens) {
    const std::vector<TokenId>& prefix = state_->prefix;
    const bool begins = !prefix.empty() && !ids.empty() && ids.front() == prefix.front();
    if (!begins) ids.insert(ids.begin(), prefix.begin(), prefix.end());
    ids.insert(ids.end(), state_->suffix.begin(), state_->suffix.end());
  }
  return ids;
}

namespace {

// Appends many small pieces to a text.
class Collector {
 public:
  explicit Collector(std::string& text) : text_(text) {}

  void append(std::string_view piece) {
    if (piece.size() > kBytes - used_) {
      settle();
      if (piece.size() > kBytes) {
        text_ += piece;
        return;
      }
    }
    std::memcpy(buffer_ + used_, piece.data(), piece.size());
    used_ += piece.size();
  }

  // Everything is in the text after this.
  void settle() {
    text_.append(buffer_, used_);
    used_ = 0;
  }

 private:
  static constexpr std::size_t kBytes = 4096;

  std::string& text_;
  std::size_t used_ = 0;
  char buffer_[kBytes];
};

}  // namespace

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  const State& state = *state_;
  std::string text;
  Collector collector(text);
  Utf8Repair repair;
  for (const TokenId id : ids) {
    if (!state.tokens.contains(id)) continue;
    const std::uint8_t flags = state.flags[static_cast<std::size_t>(id)];
    if (skip_special_tokens && (flags & State::kSpecial) != 0) continue;
    const std::string_view bytes = state.tokens.bytes(id);
    if ((flags & State::kWhole) != 0 && repair.pending() == 0) {
      collector.append(bytes);
    } else {
      collector.settle();
      repair.push(bytes, text);
    }
  }
  collector.settle();
  repair.flush(text);
  return text;
}

std::string_view Tokenizer::token_bytes(TokenId id) const { return state_->tokens.bytes(id); }

bool Tokenizer::is_special(TokenId id) const { return state_->has_flag(id, State::kSpecial); }

bool Tokenizer::is_added(TokenId id) const { return state_->has_flag(id, State::kAdded); }

std::optional<TokenId> Tokenizer::find_token(std::string_view bytes) const {
  TokenId id = state_->added.find(bytes);
  if (id < 0) id = state_->tokens.find(bytes);
  return id < 0 ? std::nullopt : std::optional<TokenId>(id);
}

TokenId Tokenizer::vocab_size() const { return state_->tokens.size(); }

std::optional<TokenId> Tokenizer::bos_id() const { return state_->bos; }

std::optional<TokenId> Tokenizer::pad_id() const { return state_->pad; }

std::span<const TokenId> Tokenizer::eos_ids() const { return state_->eos; }

}  // namespace fathom::text
