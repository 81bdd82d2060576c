#include <set>
#include <vector>

#include "backend/cpu/kernels.h"
#include "bench/cases.h"

namespace fathom::bench {

namespace {

// Matrices of one format that are used in turn.
struct Matrices {
  Matrices(DType dtype, std::int64_t count)
      : values(dtype, {count, kOut, kIn}),
        scales(DType::kF32, {ceil_div(kOut, kScaleBlock), ceil_div(kIn, kScaleBlock)}) {
    const TensorView all = values.view().reshape({count * kOut, kIn});
    for (std::int64_t i = 0; i < count; ++i) {
      WeightView weight;
      weight.values = all.rows(i * kOut, kOut);
      if (dtype == DType::kF8E4M3) weight.scales = scales.view();
      weights.push_back(weight);
    }
  }
  const WeightView& next() { return weights[turn++ % weights.size()]; }

  Operand values;
  Operand scales;
  std::vector<WeightView> weights;
  std::size_t turn = 0;
};

void register_one(const std::string& name,
                  const std::shared_ptr<Matrices>& matrices,
                  std::int64_t rows,
                  int threads) {
  const DType dtype = matrices->weights.front().values.dtype;
  struct Rows {
    Operand x;
    Operand x_scales;
    Operand y;
  };
  auto operands = std::make_shared<Rows>(
      Rows{Operand(dtype, {rows, kIn}), Operand(DType::kF32, {rows, ceil_div(kIn, kScaleBlock)}),
           Operand(DType::kBF16, {rows, kOut})});
  Work work;
  work.bytes = static_cast<double>(kOut * kIn) * static_cast<double>(size_of(dtype)) +
               operands->x.bytes() + operands->y.bytes();
  work.flops = 2.0 * static_cast<double>(rows * kOut * kIn);
  work.threads = threads;
  register_case(name + ", " + std::to_string(rows) + " rows", work,
                [matrices, operands](cpu::CpuStream& stream) {
                  ops::LinearArgs args;
                  args.x.values = operands->x.view();
                  args.w = matrices->next();
                  if (args.w.scales.present()) args.x.scales = operands->x_scales.view();
                  args.y = operands->y.view();
                  cpu::linear(stream, args);
                });
}

}  // namespace

void register_linear_cases(int threads) {
  for (const DType dtype : {DType::kBF16, DType::kF8E4M3}) {
    const auto each = static_cast<std::int64_t>(size_of(dtype)) * kOut * kIn;
    const auto matrices = std::make_shared<Matrices>(dtype, kMatrixBytesInTurn / each);
    const std::string name = "linear " + std::string(dtype_name(dtype)) + " 2048x7168";
    for (const int used : std::set<int>{1, threads}) {
      for (const std::int64_t rows : kRowCounts) register_one(name, matrices, rows, used);
    }
  }
}

}  // namespace fathom::bench
