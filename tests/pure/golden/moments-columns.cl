#pragma OPENCL FP_CONTRACT OFF
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
typedef struct {
  long shape[3];
  long at[4];
  long by[4][3];
} launch;
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
kernel void gpuxp_kernel(global uchar* p0, global uchar* p1, global uchar* p2, global uchar* p3, const launch a) {
  global const double* b0 = (global const double*)(p0 + a.at[0]);
  global double* b1 = (global double*)(p1 + a.at[1]);
  global double* b2 = (global double*)(p2 + a.at[2]);
  global double* b3 = (global double*)(p3 + a.at[3]);
  const long reduced = a.shape[1] * a.shape[2];
  const long blocks = reduced > 2048 ? (reduced + 2047) / 2048 : 1;
  const long across = (a.shape[0] + 15) / 16;
  for (long task = get_global_id(0); task < 1 * across * blocks; task += get_global_size(0)) {
    const long block = task % blocks;
    const long first = task / blocks % across * 16;
    const long count = LEAST(a.shape[0] - first, 16);
    const long start = block * 2048;
    const long n = LEAST(reduced - start, 2048), lanes = LEAST(n, 128);
    double m0[2048];
    double m1[2048];
    long run;
    for (long r = 0; r < n; r += run) {
      run = LEAST(n - r, 128 - r % 128);
      long rest1 = (start + r);
      const long from = rest1 % a.shape[2];
      rest1 /= a.shape[2];
      const long i1 = rest1;
      run = LEAST(run, a.shape[2] - from);
      const long lane = r % 128;
      for (long q = 0; q < run; ++q) {
        #pragma clang loop vectorize(assume_safety)
        for (long c = 0; c < count; ++c) {
          const long i2 = from + q;
          const long i0 = first + c;
          const long e0 = i0 * a.by[0][0] + i1 * a.by[0][1] + i2 * a.by[0][2];
          const long e3 = i0 * a.by[3][0] + i1 * a.by[3][1] + i2 * a.by[3][2];
          const double v0 = b0[e0];
          const double v1 = v0 * v0;
          b3[e3] = v1;
          const long at = (lane + q) * 16 + c;
          if (r < 128) m0[at] = v1;
          else m0[at] = m0[at] + v1;
          if (r < 128) m1[at] = v0;
          else m1[at] = (m1[at] >= v0 || isnan(m1[at]) ? m1[at] : v0);
        }
      }
    }
    for (long apart = 64; apart > 0; apart /= 2) {
      for (long lane = 0; lane < LEAST(apart, lanes - apart); lane += 1) {
        for (long c = 0; c < count; ++c) {
          const double x0 = m0[lane * 16 + c], y0 = m0[(lane + apart) * 16 + c];
          m0[lane * 16 + c] = x0 + y0;
          const double x1 = m1[lane * 16 + c], y1 = m1[(lane + apart) * 16 + c];
          m1[lane * 16 + c] = (x1 >= y1 || isnan(x1) ? x1 : y1);
        }
      }
    }
    for (long c = 0; c < count; ++c) {
      const long i0 = first + c;
      double t0 = (double)0;
      if (n > 0) t0 = m0[c];
      t0 = t0 + (double)0;
      const long e1 = i0 * a.by[1][0] + block * a.by[1][1];
      b1[e1] = t0;
      double t1 = (double)0;
      if (n > 0) t1 = m1[c];
      const long e2 = i0 * a.by[2][0] + block * a.by[2][1];
      b2[e2] = t1;
    }
  }
}
