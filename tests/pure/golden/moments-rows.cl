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
  for (long task = get_global_id(0); task < a.shape[0] * blocks; task += get_global_size(0)) {
    const long block = task % blocks;
    const long i0 = task / blocks;
    const long start = block * 2048;
    const long n = LEAST(reduced - start, 2048), lanes = LEAST(n, 128);
    double m0[128];
    double m1[128];
    long run;
    for (long r = 0; r < n; r += run) {
      run = LEAST(n - r, 128 - r % 128);
      long rest1 = (start + r);
      const long from = rest1 % a.shape[2];
      rest1 /= a.shape[2];
      const long i1 = rest1;
      run = LEAST(run, a.shape[2] - from);
      const long lane = r % 128;
      #pragma clang loop vectorize(assume_safety)
      for (long q = 0; q < run; ++q) {
        const long i2 = from + q;
        const long e0 = i0 * a.by[0][0] + i1 * a.by[0][1] + i2 * a.by[0][2];
        const long e3 = i0 * a.by[3][0] + i1 * a.by[3][1] + i2 * a.by[3][2];
        const double v0 = b0[e0];
        const double v1 = v0 * v0;
        b3[e3] = v1;
        const long at = (lane + q) * 1 + 0;
        if (r < 128) m0[at] = v1;
        else m0[at] = m0[at] + v1;
        if (r < 128) m1[at] = v0;
        else m1[at] = (m1[at] >= v0 || isnan(m1[at]) ? m1[at] : v0);
      }
    }
    for (long apart = 64; apart > 0; apart /= 2) {
      for (long lane = 0; lane < LEAST(apart, lanes - apart); lane += 1) {
        const double x0 = m0[lane], y0 = m0[(lane + apart)];
        m0[lane] = x0 + y0;
        const double x1 = m1[lane], y1 = m1[(lane + apart)];
        m1[lane] = (x1 >= y1 || isnan(x1) ? x1 : y1);
      }
    }
    double t0 = (double)0;
    if (n > 0) t0 = m0[0];
    t0 = t0 + (double)0;
    const long e1 = i0 * a.by[1][0] + block * a.by[1][1];
    b1[e1] = t0;
    double t1 = (double)0;
    if (n > 0) t1 = m1[0];
    const long e2 = i0 * a.by[2][0] + block * a.by[2][1];
    b2[e2] = t1;
  }
}
