#include <random>

#include "backend/cpu/kernels.h"
#include "bench/cases.h"

namespace fathom::bench {

namespace {

constexpr std::int64_t kVocab = 129280;

// How a row's probability is spread: over a few tokens, as a language model's mostly is, or over
// all of them, the worst case of the filters.
enum class Spread { kPeaked, kFlat };

struct Draw {
  Draw(std::int64_t rows, Spread spread)
      : logits(DType::kF32, {rows, kVocab}),
        temperature(DType::kF32, {rows}),
        top_k(DType::kI32, {rows}),
        top_p(DType::kF32, {rows}),
        min_p(DType::kF32, {rows}),
        seed(DType::kI32, {rows, 2}),
        sample(DType::kI32, {rows}),
        position(DType::kI32, {rows}),
        token(DType::kI32, {rows}),
        logprob(DType::kF32, {rows}),
        top_ids(DType::kI32, {rows, 20}),
        top_logprobs(DType::kF32, {rows, 20}) {
    std::mt19937 random(1);
    for (std::int64_t i = 0; i < rows * kVocab; ++i) {
      float sum = -12;  // of twelve uniform numbers below 2: nearly normal
      for (int j = 0; j < 12; ++j) sum += static_cast<float>(random() >> 8U) * 0x1p-23F;
      const bool likely = random() % 4096 == 0;
      logits.data<float>()[i] = spread == Spread::kFlat ? 0.1F * sum : sum + (likely ? 12.0F : 0);
    }
  }

  // The same settings for all rows.
  void set(float temperature_value, std::int32_t top_k_value, float top_p_value) const {
    for (std::int64_t t = 0; t < token.view().shape[0]; ++t) {
      temperature.data<float>()[t] = temperature_value;
      top_k.data<std::int32_t>()[t] = top_k_value;
      top_p.data<float>()[t] = top_p_value;
      min_p.data<float>()[t] = 0;
    }
  }

  ops::SampleArgs args() const {
    return {logits.view(), temperature.view(), top_k.view(),    top_p.view(), min_p.view(),
            seed.view(),   sample.view(),      position.view(), token.view()};
  }
  ops::LogprobsArgs logprobs_args() const {
    return {logits.view(),  temperature.view(),  token.view(), logprob.view(),
            top_ids.view(), top_logprobs.view(), {},           {}};
  }

  Operand logits;
  Operand temperature;
  Operand top_k;
  Operand top_p;
  Operand min_p;
  Operand seed;
  Operand sample;
  Operand position;
  Operand token;
  Operand logprob;
  Operand top_ids;
  Operand top_logprobs;
};

// Rows with as many tokens to penalize, and perhaps a mask that leaves one token of 4096.
struct Adjustment {
  Adjustment(std::int64_t rows, std::int64_t entries)
      : logits(DType::kF32, {rows, kVocab}),
        row(DType::kI32, {rows}),
        penalties(DType::kF32, {rows, 3}),
        first_entry(DType::kI32, {rows + 1}),
        token(DType::kI32, {rows * entries}),
        count(DType::kI32, {rows * entries}),
        bias(DType::kF32, {rows * entries}),
        mask_row(DType::kI32, {rows}),
        mask(DType::kI32, {rows, kVocab / 32}) {
    for (std::int64_t t = 0; t < rows; ++t) {
      row.data<std::int32_t>()[t] = static_cast<std::int32_t>(t);
      mask_row.data<std::int32_t>()[t] = static_cast<std::int32_t>(t);
      penalties.data<float>()[3 * t] = 0.001F;
      penalties.data<float>()[3 * t + 1] = 0.001F;
      penalties.data<float>()[3 * t + 2] = 1.0001F;
      for (std::int64_t i = 0; i < entries; ++i) {
        token.data<std::int32_t>()[t * entries + i] = static_cast<std::int32_t>(i * 61 % kVocab);
        count.data<std::int32_t>()[t * entries + i] = 1;
        bias.data<float>()[t * entries + i] = 0;
      }
      for (std::int64_t i = 0; i < kVocab / 32; ++i) {
        mask.data<std::int32_t>()[t * kVocab / 32 + i] = i % 128 == 0 ? 1 : 0;
      }
    }
    for (std::int64_t t = 0; t <= rows; ++t) {
      first_entry.data<std::int32_t>()[t] = static_cast<std::int32_t>(t * entries);
    }
  }

  ops::AdjustLogitsArgs args(bool masked) const {
    ops::AdjustLogitsArgs args{logits.view(),      row.view(),   penalties.view(),
                               first_entry.view(), token.view(), count.view(),
                               bias.view(),        {},           {}};
    if (masked) {
      args.mask_row = mask_row.view();
      args.mask = mask.view();
    }
    return args;
  }

  Operand logits;
  Operand row;
  Operand penalties;
  Operand first_entry;
  Operand token;
  Operand count;
  Operand bias;
  Operand mask_row;
  Operand mask;
};

void register_adjustments(std::int64_t rows, int threads) {
  const std::string suffix = ", " + std::to_string(rows) + " rows of 129280";
  const auto made = std::make_shared<Adjustment>(rows, 1000);
  register_case("adjust_logits, 1000 tokens" + suffix, {made->token.bytes() * 4, 0, threads},
                [made](cpu::CpuStream& stream) { cpu::adjust_logits(stream, made->args(false)); });
  register_case("adjust_logits, mask" + suffix, {made->logits.bytes(), 0, threads},
                [made](cpu::CpuStream& stream) { cpu::adjust_logits(stream, made->args(true)); });
}

void register_rows(std::int64_t rows, int threads) {
  const auto peaked = std::make_shared<Draw>(rows, Spread::kPeaked);
  const auto flat = std::make_shared<Draw>(rows, Spread::kFlat);
  const double bytes = peaked->logits.bytes();
  const std::string suffix = ", " + std::to_string(rows) + " rows of 129280";
  const auto add = [&](const std::string& name, const std::shared_ptr<Draw>& draw,
                       float temperature, std::int32_t top_k, float top_p) {
    register_case(name + suffix, {bytes, 0, threads}, [=](cpu::CpuStream& stream) {
      draw->set(temperature, top_k, top_p);
      cpu::sample(stream, draw->args());
      for (std::int64_t t = 0; t < rows; ++t) ++draw->position.data<std::int32_t>()[t];
    });
  };
  add("sample greedy", peaked, 0, 0, 1);
  add("sample temperature", peaked, 0.6F, 0, 1);
  add("sample top_p 0.95", peaked, 1, 0, 0.95F);
  add("sample top_p 0.95, flat", flat, 1, 0, 0.95F);
  add("sample top_k 50", peaked, 1, 50, 1);
  register_case("logprobs with top 20" + suffix, {bytes, 0, threads},
                [peaked](cpu::CpuStream& stream) {
                  peaked->set(1, 0, 1);
                  cpu::logprobs(stream, peaked->logprobs_args());
                });
}

}  // namespace

void register_sample_cases(int threads) {
  register_rows(1, threads);
  register_rows(64, threads);
  register_adjustments(1, threads);
  register_adjustments(64, threads);
}

}  // namespace fathom::bench
