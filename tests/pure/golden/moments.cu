#define long long long
typedef signed char schar;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef struct {
  long shape[3];
  long at[4];
  long by[4][3];
} launch;
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
extern "C" __global__ void gpuxp_kernel(uchar* p0, uchar* p1, uchar* p2, uchar* p3, const launch a) {
  const double* b0 = (const double*)(p0 + a.at[0]);
  double* b1 = (double*)(p1 + a.at[1]);
  double* b2 = (double*)(p2 + a.at[2]);
  double* b3 = (double*)(p3 + a.at[3]);
  extern __shared__ __align__(16) uchar scratch[];
  const long reduced = a.shape[1] * a.shape[2];
  const long blocks = reduced > 2048 ? (reduced + 2047) / 2048 : 1;
  const long kept = a.shape[0];
  const long c = (long)threadIdx.x, width = (long)blockDim.x;
  const long worker = (long)threadIdx.y, workers = (long)blockDim.y;
  const long block = (long)blockIdx.x % blocks, k = (long)blockIdx.x / blocks * width + c;
  const long i0 = k;
  const long start = block * 2048;
  const long n = LEAST(reduced - start, 2048), lanes = LEAST(n, 128);
  double* m0 = (double*)(scratch + 0 * lanes * width * 8);
  double* m1 = (double*)(scratch + 1 * lanes * width * 8);
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
  __syncthreads();
  for (long apart = 64; apart > 0; apart /= 2) {
    for (long lane = worker; lane < LEAST(apart, lanes - apart); lane += workers) {
      const double x0 = m0[lane * width + c], y0 = m0[(lane + apart) * width + c];
      m0[lane * width + c] = x0 + y0;
      const double x1 = m1[lane * width + c], y1 = m1[(lane + apart) * width + c];
      m1[lane * width + c] = (x1 >= y1 || isnan(x1) ? x1 : y1);
    }
    __syncthreads();
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
