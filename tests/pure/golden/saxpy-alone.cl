#pragma OPENCL FP_CONTRACT OFF
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
typedef struct {
  long shape[3];
  long at[2];
  long by[2][3];
  float s0, pad0;
} launch;
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
kernel void gpuxp_kernel(global uchar* p0, global uchar* p1, const launch a) {
  global const float* b0 = (global const float*)(p0 + a.at[0]);
  global float* b1 = (global float*)(p1 + a.at[1]);
  const float s0 = (float)a.s0;
  const long share = (a.shape[2] + get_global_size(0) - 1) / get_global_size(0);
  const long low = get_global_id(0) * share, high = LEAST(low + share, a.shape[2]);
  for (long row = get_global_id(1); row < a.shape[0] * a.shape[1]; row += get_global_size(1)) {
    long rest0 = row;
    const long i1 = rest0 % a.shape[1];
    rest0 /= a.shape[1];
    const long i0 = rest0;
    #pragma clang loop vectorize(assume_safety)
    for (long i2 = low; i2 < high; ++i2) {
      const long e0 = i0 * a.by[0][0] + i1 * a.by[0][1] + i2 * a.by[0][2];
      const long e1 = i0 * a.by[1][0] + i1 * a.by[1][1] + i2 * a.by[1][2];
      const float v0 = b0[e0];
      const float v1 = s0;
      const float v2 = v0 * v1;
      const float v3 = b1[e1];
      const float v4 = v2 + v3;
      b1[e1] = v4;
    }
  }
}
