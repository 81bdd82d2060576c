// OpenBLAS as a peer of the products: it has no bf16 or FP8 weights on this kind of processor, so
// it reads twice or four times the bytes.

#include <set>

#include <cblas.h>

#include "bench/cases.h"

namespace fathom::bench {

void register_openblas_cases(int threads) {
  constexpr std::int64_t kEach = 4 * kOut * kIn;
  constexpr std::int64_t kCount = kMatrixBytesInTurn / kEach;
  const auto weights = std::make_shared<Operand>(
      DType::kF32, std::initializer_list<std::int64_t>{kCount, kOut, kIn});
  const auto turn = std::make_shared<std::int64_t>(0);
  for (const int used : std::set<int>{1, threads}) {
    for (const std::int64_t rows : kRowCounts) {
      const auto x =
          std::make_shared<Operand>(DType::kF32, std::initializer_list<std::int64_t>{rows, kIn});
      const auto y =
          std::make_shared<Operand>(DType::kF32, std::initializer_list<std::int64_t>{rows, kOut});
      Work work;
      work.bytes = static_cast<double>(kEach) + x->bytes() + y->bytes();
      work.flops = 2.0 * static_cast<double>(rows * kOut * kIn);
      work.threads = used;
      const std::string name = rows == 1 ? "OpenBLAS sgemv" : "OpenBLAS sgemm";
      register_case(
          name + " f32, " + std::to_string(rows) + " rows", work, [=](cpu::CpuStream& /*stream*/) {
            openblas_set_num_threads(used);
            const float* w = weights->data<float>() + (*turn)++ % kCount * kOut * kIn;
            const auto out = static_cast<blasint>(kOut);
            const auto in = static_cast<blasint>(kIn);
            if (rows == 1) {
              cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1, w, in, x->data<float>(), 1, 0,
                          y->data<float>(), 1);
            } else {
              cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(rows), out,
                          in, 1, x->data<float>(), in, w, in, 0, y->data<float>(), out);
            }
          });
    }
  }
}

}  // namespace fathom::bench
