#define long long long
typedef signed char schar;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef struct {
  long shape[1];
  long at[3];
  long by[3][1];
} launch;
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
__device__ long gpx_floordiv_long(long a, long b) {
  if (b == 0) return 0;
  if (b == -1) return (long)(0 - (ulong)a);
  return (long)(a / b - (a % b != 0 && (a < 0) != (b < 0)));
}
__device__ long gpx_long_double(double x) {
  return x >= (double)-0x1p63 && x < (double)0x1p63 ? (long)x : -0x7fffffffffffffffL - 1;
}
extern "C" __global__ void gpuxp_kernel(uchar* p0, uchar* p1, uchar* p2, const launch a) {
  int* b0 = (int*)(p0 + a.at[0]);
  long* b1 = (long*)(p1 + a.at[1]);
  uchar* b2 = (uchar*)(p2 + a.at[2]);
  for (long i0 = ((long)blockIdx.x * blockDim.x + threadIdx.x); i0 < a.shape[0]; i0 += ((long)gridDim.x * blockDim.x)) {
    const long e0 = i0 * a.by[0][0];
    const long e1 = i0 * a.by[1][0];
    const long e2 = i0 * a.by[2][0];
    const long v0 = (long)i0;
    const long v1 = (long)3;
    const long v2 = gpx_floordiv_long(v0, v1);
    const int v3 = (int)v2;
    const int v4 = (int)((unsigned long)v3 >= 32 ? 0 : (uint)v3 << v3);
    const double v5 = (double)v2;
    const long v6 = (long)gpx_long_double(v5);
    const uchar v7 = (v5 != 0);
    b0[e0] = v4;
    b1[e1] = v6;
    b2[e2] = v7;
  }
}
