#include "app/generate.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <vector>

#include "app/bundled_model.h"
#include "app/command_line.h"
#include "app/generator.h"
#include "base/thread_pool.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace fathom::app {

namespace {

struct Options {
  std::string model;
  std::string prompt;
  std::string prompt_ids;
  std::string arithmetic = "deployed";
  std::string kv_cache_dtype = "auto";
  std::string attention_form = "absorbed";
  std::int64_t max_new_tokens = 256;
  std::int64_t context_length = 0;
  std::int64_t chunked_prefill_size = 256;
  std::int64_t threads = 0;
  bool show_logprobs = false;
  bool ignore_eos = false;
};

// "1,2,3" or "1 2 3".
Result<std::vector<std::int32_t>> parse_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    if (*at == ',' || *at == ' ') {
      ++at;
      continue;
    }
    std::int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc()) {
      return invalid_argument("--prompt-ids: '" + std::string(at, end) +
                              "' does not start with a token id; expected ids like 0,17,4");
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

// Numbers of the command line that become 32-bit ones.
Status check_range(const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid_argument(std::string(name) + " is " + std::to_string(value) + ", expected " +
                          std::to_string(low) + " to " + std::to_string(high));
}

Result<GeneratorOptions> generator_options(const Options& options,
                                           const config::ModelConfig& model) {
  GeneratorOptions made;
  const auto arithmetic = config::parse_arithmetic(options.arithmetic);
  FATHOM_RETURN_IF_ERROR(arithmetic.status());
  const auto dtype = config::parse_kv_cache_dtype(options.kv_cache_dtype);
  FATHOM_RETURN_IF_ERROR(dtype.status());
  const auto form = config::parse_attention_form(options.attention_form);
  FATHOM_RETURN_IF_ERROR(form.status());
  FATHOM_RETURN_IF_ERROR(
      check_range("--max-new-tokens", options.max_new_tokens, 0, model.max_position_embeddings));
  FATHOM_RETURN_IF_ERROR(
      check_range("--context-length", options.context_length, 0, model.max_position_embeddings));
  FATHOM_RETURN_IF_ERROR(
      check_range("--chunked-prefill-size", options.chunked_prefill_size, 1, 65536));
  FATHOM_RETURN_IF_ERROR(check_range("--threads", options.threads, 0, 1024));
  made.arithmetic = *arithmetic;
  made.kv_cache_dtype = *dtype;
  made.attention_form = *form;
  made.threads = options.threads > 0 ? static_cast<int>(options.threads) : available_processors();
  made.chunk_tokens = static_cast<std::int32_t>(options.chunked_prefill_size);
  made.context_tokens = options.context_length > 0
                            ? static_cast<std::int32_t>(options.context_length)
                            : model.max_position_embeddings;
  return made;
}

// Writes the continuation: text when there is a tokenizer, else ids.
class Writer {
 public:
  Writer(const text::Tokenizer* tokenizer, bool show_logprobs, std::ostream& out)
      : out_(out), tokenizer_(tokenizer), show_logprobs_(show_logprobs) {
    if (tokenizer != nullptr) decoder_.emplace(*tokenizer);
  }

  void write(const GeneratedToken& token) {
    if (show_logprobs_) {
      char line[64];
      std::snprintf(line, sizeof line, "%8d %12.6f  ", token.id,
                    static_cast<double>(token.logprob));
      out_ << line;
      if (tokenizer_ != nullptr) out_ << quoted(tokenizer_->token_bytes(token.id));
      out_ << "\n";
    } else if (decoder_.has_value()) {
      std::string text;
      decoder_->push(token.id, text);
      out_ << text;
    } else {
      out_ << (first_ ? "" : ",") << token.id;
    }
    first_ = false;
    out_.flush();
  }

  void finish() {
    if (show_logprobs_) return;
    std::string text;
    if (decoder_.has_value()) decoder_->flush(text);
    out_ << text << "\n";
    out_.flush();
  }

 private:
  static std::string quoted(std::string_view bytes) {
    std::string text = "\"";
    for (const char c : bytes) {
      if (c == '\n') {
        text += "\\n";
      } else if (c == '"' || c == '\\') {
        text += '\\';
        text += c;
      } else {
        text += c;
      }
    }
    return text + '"';
  }

  std::ostream& out_;
  const text::Tokenizer* tokenizer_;
  std::optional<text::StreamDecoder> decoder_;
  bool show_logprobs_;
  bool first_ = true;
};

void print_times(std::int64_t prompt_tokens,
                 std::int64_t new_tokens,
                 const GenerationTimes& times,
                 std::ostream& err) {
  char line[160];
  const double prefill = times.prefill > 0 ? static_cast<double>(prompt_tokens) / times.prefill : 0;
  const double decode = times.decode > 0 ? static_cast<double>(new_tokens - 1) / times.decode : 0;
  std::snprintf(line, sizeof line,
                "prompt %lld tokens, %.1f tokens/s; continuation %lld tokens, %.1f tokens/s\n",
                static_cast<long long>(prompt_tokens), prefill, static_cast<long long>(new_tokens),
                decode);
  err << line;
}

Status generate(const Options& options, std::ostream& out, std::ostream& err) {
  if (options.prompt.empty() == options.prompt_ids.empty()) {
    return invalid_argument("give either --prompt or --prompt-ids");
  }
  const Result<std::filesystem::path> folder = model_folder(options.model);
  FATHOM_RETURN_IF_ERROR(folder.status());
  const Result<config::ModelConfig> model = config::load_model_config(*folder);
  FATHOM_RETURN_IF_ERROR(model.status());
  const Result<GeneratorOptions> made = generator_options(options, *model);
  FATHOM_RETURN_IF_ERROR(made.status());

  std::unique_ptr<text::Tokenizer> tokenizer;
  std::vector<std::int32_t> prompt;
  std::set<std::int32_t> ends(model->eos_token_ids.begin(), model->eos_token_ids.end());
  if (!options.prompt.empty()) {
    auto loaded = text::Tokenizer::load(*folder);
    FATHOM_RETURN_IF_ERROR(loaded.status());
    tokenizer = std::move(loaded).value();
    text::EncodeOptions encode;
    encode.add_special_tokens = true;
    prompt = tokenizer->encode(options.prompt, encode);
    ends.insert(tokenizer->eos_ids().begin(), tokenizer->eos_ids().end());
  } else {
    auto ids = parse_ids(options.prompt_ids);
    FATHOM_RETURN_IF_ERROR(ids.status());
    prompt = std::move(ids).value();
  }
  auto generator = Generator::create(*folder, *made);
  FATHOM_RETURN_IF_ERROR(generator.status());

  Writer writer(tokenizer.get(), options.show_logprobs, out);
  GenerationTimes times;
  std::int64_t made_tokens = 0;
  const Status status = (*generator)
                            ->generate(
                                prompt, options.max_new_tokens,
                                [&](const GeneratedToken& token) {
                                  ++made_tokens;
                                  if (!options.ignore_eos && ends.contains(token.id)) return false;
                                  writer.write(token);
                                  return true;
                                },
                                times);
  FATHOM_RETURN_IF_ERROR(status);
  writer.finish();
  print_times(static_cast<std::int64_t>(prompt.size()), made_tokens, times, err);
  return {};
}

}  // namespace

int run_generate(std::span<const std::string> args, std::ostream& out, std::ostream& err) {
  Options options;
  CommandLine line("generate", "Continues a prompt greedily on the CPU and says how fast.");
  line.positional("MODEL,--model-path,--model", options.model,
                  "checkpoint folder (default: the bundled fathom-tiny)");
  line.option("--prompt", options.prompt, "text to continue; markers in it become their tokens");
  line.option("--prompt-ids", options.prompt_ids, "token ids to continue, like 0,17,4");
  line.option("--max-new-tokens", options.max_new_tokens, "tokens to add at most");
  line.option("--arithmetic", options.arithmetic,
              "deployed (the formats the model is served in) or exact (float32 throughout)");
  line.option("--kv-cache-dtype", options.kv_cache_dtype, "auto, bf16, bfloat16 or fp8_e4m3");
  line.option("--attention-form", options.attention_form,
              "absorbed (on latents) or expanded (on per-head keys and values: for prompts in "
              "large chunks; more memory, other bits)");
  line.option("--context-length", options.context_length,
              "prompt and continuation together; 0: what the model allows");
  line.option("--chunked-prefill-size", options.chunked_prefill_size,
              "prompt tokens computed at a time");
  line.option("--threads", options.threads, "threads to compute with; 0: all processors");
  line.flag("--show-logprobs", options.show_logprobs,
            "one line a token: id, log-probability, text");
  line.flag("--ignore-eos", options.ignore_eos, "go on past the end of sequence");
  if (const std::optional<int> code = line.parse(args, out, err)) return *code;
  const Status status = generate(options, out, err);
  if (status.ok()) return 0;
  err << "fathom generate: " << status.message() << "\n";
  return status.code() == Code::kInvalidArgument ? 2 : 1;
}

}  // namespace fathom::app
