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
kernel void gpuxp_kernel(global uchar* p0, global uchar* p1, global uchar* p2, global uchar* p3, const launch a, local uchar* scratch) {
  global const double* b0 = (global const double*)(p0 + a.at[0]);
  global double* b1 = (global double*)(p1 + a.at[1]);
  global double* b2 = (global double*)(p2 + a.at[2]);
  global double* b3 = (global double*)(p3 + a.at[3]);
  const long reduced = a.shape[1] * a.shape[2];
  const long blocks = reduced > 2048 ? (reduced + 2047) / 2048 : 1;
  const long kept = a.shape[0];
  const long c = get_local_id(0), width = get_local_size(0);
  const long worker = get_local_id(1), workers = get_local_size(1);
  const long block = get_group_id(0) % blocks, k = get_group_id(0) / blocks * width + c;
  const long i0 = k;
  const long start = block * 2048;
  const long n = LEAST(reduced - start, 2048), lanes = LEAST(n, 128);
  local double* m0 = (local double*)(scratch + 0 * lanes * width * 8);
  local double* m1 = (local double*)(scratch + 1 * lanes * width * 8);
  if (k < kept) {
    for (long lane = worker; lane < lanes; lane += workers) {
      double acc0;
      double acc1;
      for (long r = lane; r < n; r += 128) {
        long rest1 = (start + r);
        const long i2 = rest1 % a.shape[2];
        rest1 /= a.shape[2];
        const long i1 = rest1;
        const long e0 = i0 * a.by[0][0] + i1 * a.by[0][1] + i2 * a.by[0][2];
        const long e3 = i0 * a.by[3][0] + i1 * a.by[3][1] + i2 * a.by[3][2];
        const double v0 = b0[e0];
        const double v1 = v0 * v0;
        b3[e3] = v1;
        if (r == lane) acc0 = v1;
        else acc0 = acc0 + v1;
        if (r == lane) acc1 = v0;
        else acc1 = (acc1 >= v0 || isnan(acc1) ? acc1 : v0);
      }
      m0[lane * width + c] = acc0;
      m1[lane * width + c] = acc1;
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (long apart = 64; apart > 0; apart /= 2) {
    for (long lane = worker; lane < LEAST(apart, lanes - apart); lane += workers) {
      const double x0 = m0[lane * width + c], y0 = m0[(lane + apart) * width + c];
      m0[lane * width + c] = x0 + y0;
      const double x1 = m1[lane * width + c], y1 = m1[(lane + apart) * width + c];
      m1[lane * width + c] = (x1 >= y1 || isnan(x1) ? x1 : y1);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (k < kept && worker == 0) {
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
