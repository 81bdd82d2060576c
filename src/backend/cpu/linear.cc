#include <algorithm>
#include <span>

#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"

namespace fathom::cpu {

namespace {

// Packs `rows` rows of `width` numbers into scratch; row i begins at address(i).
template <class Address>
float* pack_rows(CpuStream& stream,
                 DType dtype,
                 std::int64_t rows,
                 std::int64_t width,
                 const Address& address) {
  const std::int64_t packed = padded(width);
  auto* to = static_cast<float*>(
      stream.shared_scratch(static_cast<std::size_t>(rows * packed) * sizeof(float)));
  parallel_rows(stream, rows, packed / 4,
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    pack_row(address(i), dtype, width, to + i * packed);
                  }
                });
  return to;
}

// Runs `count` products of equal width and height, product i being make(i): one task is one
// product's next kTaskColumns columns. `rows` is the number of rows of all products together.
template <class Make>
void run_products(CpuStream& stream,
                  std::int64_t count,
                  std::int64_t rows,
                  std::int64_t in,
                  std::int64_t out,
                  const Make& make) {
  const std::int64_t tasks_each = ceil_div(out, kTaskColumns);
  parallel_tasks(stream, count * tasks_each, rows * in * out,
                 [&](std::int64_t begin, std::int64_t end, int worker) {
                   void* scratch = stream.worker_scratch(worker, product_scratch_bytes());
                   for (std::int64_t task = begin; task < end; ++task) {
                     const Product product = make(task / tasks_each);
                     if (product.rows == 0) continue;
                     const std::int64_t column = task % tasks_each * kTaskColumns;
                     run_product(product, column, std::min(column + kTaskColumns, out), scratch);
                   }
                 });
}

// `rows` packed rows beginning at `x`, times `w`, into rows beginning at `y`.
Product product_of(const float* x,
                   std::int64_t rows,
                   std::int64_t in,
                   const WeightView& w,
                   std::byte* y,
                   DType y_dtype,
                   std::int64_t y_stride) {
  Product product;
  product.x = x;
  product.x_stride = padded(in);
  product.rows = rows;
  product.in = in;
  product.out = w.values.shape[0];
  product.w = w.values.data;
  product.w_dtype = w.values.dtype;
  product.w_stride = w.values.stride[0];
  if (w.scales.present()) {
    product.w_scales = static_cast<const float*>(w.scales.data);
    product.w_scales_stride = w.scales.stride[0];
  }
  product.y = y;
  product.y_dtype = y_dtype;
  product.y_stride = y_stride;
  return product;
}

// The scales of an input whose first row is `row`.
void set_input_scales(const TensorView& scales, std::int64_t row, Product& product) {
  if (!scales.present()) return;
  product.x_scales = scales.row<const float>(row);
  product.x_scales_stride = scales.stride[0];
}

const float* pack_input(CpuStream& stream, const TensorView& values, std::int64_t rows) {
  return pack_rows(stream, values.dtype, rows, values.shape[1],
                   [&](std::int64_t row) { return row_bytes(values, row); });
}

}  // namespace

void linear(CpuStream& stream, const ops::LinearArgs& args) {
  const std::int64_t rows = args.x.values.shape[0];
  const std::int64_t in = args.x.values.shape[1];
  const std::int64_t out = args.y.shape[1];
  if (rows == 0 || out == 0) return;
  Product product = product_of(pack_input(stream, args.x.values, rows), rows, in, args.w,
                               row_bytes(args.y, 0), args.y.dtype, args.y.stride[0]);
  set_input_scales(args.x.scales, 0, product);
  run_products(stream, 1, rows, in, out, [&](std::int64_t) { return product; });
}

void head_linear(CpuStream& stream, const ops::HeadLinearArgs& args) {
  const std::int64_t tokens = args.x.shape[0];
  const std::int64_t heads = args.x.shape[1];
  const std::int64_t in = args.x.shape[2];
  const std::int64_t out = args.y.shape[2];
  if (tokens == 0 || heads == 0 || out == 0) return;
  // Packed head by head, so that one head's rows are neighbours.
  const float* x = pack_rows(stream, args.x.dtype, heads * tokens, in, [&](std::int64_t i) {
    return row_bytes(args.x, i % tokens, i / tokens);
  });
  run_products(stream, heads, heads * tokens, in, out, [&](std::int64_t head) {
    WeightView w;
    w.values = TensorView(row_bytes(args.w, head), args.w.dtype, {out, in});
    w.values.stride[0] = args.w.stride[1];
    return product_of(x + head * tokens * padded(in), tokens, in, w, row_bytes(args.y, 0, head),
                      args.y.dtype, args.y.stride[0]);
  });
}

void grouped_linear(CpuStream& stream, const ops::GroupedLinearArgs& args) {
  const auto experts = static_cast<std::int64_t>(args.w.size());
  const auto* offsets = args.offsets.row<const std::int32_t>(0);
  const std::int64_t rows = experts == 0 ? 0 : offsets[experts];
  const std::int64_t in = args.x.values.shape[1];
  const std::int64_t out = args.y.shape[1];
  if (rows == 0 || out == 0) return;
  FATHOM_CHECK(rows <= args.x.values.shape[0]);
  const float* x = pack_input(stream, args.x.values, rows);
  run_products(stream, experts, rows, in, out, [&](std::int64_t expert) {
    const std::int64_t first = offsets[expert];
    Product product = product_of(x + first * padded(in), offsets[expert + 1] - first, in,
                                 args.w[static_cast<std::size_t>(expert)], row_bytes(args.y, first),
                                 args.y.dtype, args.y.stride[0]);
    set_input_scales(args.x.scales, first, product);
    return product;
  });
}

}  // namespace fathom::cpu
