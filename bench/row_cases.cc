#include "backend/cpu/kernels.h"
#include "bench/cases.h"

namespace fathom::bench {

namespace {

constexpr std::int64_t kHidden = 7168;

struct Rows {
  explicit Rows(std::int64_t rows)
      : x(DType::kBF16, {rows, kHidden}),
        residual(DType::kBF16, {rows, kHidden}),
        y(DType::kBF16, {rows, kHidden}),
        weight(DType::kBF16, {kHidden}),
        values(DType::kF8E4M3, {rows, kHidden}),
        scales(DType::kF32, {rows, kHidden / kScaleBlock}) {}

  Operand x;
  Operand residual;
  Operand y;
  Operand weight;
  Operand values;
  Operand scales;
};

void register_rows(std::int64_t rows, int threads) {
  const auto operands = std::make_shared<Rows>(rows);
  const std::string suffix = ", " + std::to_string(rows) + " rows of 7168";
  const double bytes = operands->x.bytes();
  register_case("quantize" + suffix, {bytes, 0, threads}, [operands](cpu::CpuStream& stream) {
    cpu::quantize(stream,
                  {operands->x.view(), operands->values.view(), operands->scales.view(), true});
  });
  register_case("rms_norm" + suffix, {bytes, 0, threads}, [operands](cpu::CpuStream& stream) {
    cpu::rms_norm(stream, {operands->x.view(), operands->weight.view(), operands->y.view()});
  });
  // Reads the branch, reads and writes the residual stream.
  register_case("add_rms_norm" + suffix, {2 * bytes, 0, threads},
                [operands](cpu::CpuStream& stream) {
                  cpu::add_rms_norm(stream, {operands->x.view(), operands->residual.view(),
                                             operands->weight.view(), operands->y.view()});
                });
  register_case("silu_mul" + suffix, {2 * bytes, 0, threads}, [operands](cpu::CpuStream& stream) {
    cpu::silu_mul(stream, {operands->x.view(), operands->residual.view(), operands->y.view()});
  });
}

}  // namespace

void register_row_cases(int threads) {
  register_rows(1, threads);
  register_rows(256, threads);
  const auto logits =
      std::make_shared<Operand>(DType::kF32, std::initializer_list<std::int64_t>{1, 129280});
  const auto token = std::make_shared<Operand>(DType::kI32, std::initializer_list<std::int64_t>{1});
  const auto sum = std::make_shared<Operand>(DType::kF32, std::initializer_list<std::int64_t>{1});
  register_case("argmax with log sum, 129280 logits", {logits->bytes(), 0, threads},
                [=](cpu::CpuStream& stream) {
                  cpu::argmax(stream, {logits->view(), token->view(), sum->view()});
                });
  // What sharing an operation among threads costs at least.
  register_case("empty loop of the thread pool", {0, 0, threads},
                [threads](cpu::CpuStream& stream) {
                  stream.pool().parallel_for(static_cast<std::size_t>(threads), 1,
                                             [](std::size_t, std::size_t, int) {});
                });
}

}  // namespace fathom::bench
