#define long long long
typedef signed char schar;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
__device__ float2 operator+(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ float2 operator-(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ float2 operator-(float2 a) { return make_float2(-a.x, -a.y); }
template <typename T>
__device__ T load_bytes(const uchar* at) {
  T x;
  memcpy(&x, at, sizeof x);
  return x;
}
template <typename T>
__device__ void store_bytes(uchar* at, T x) {
  memcpy(at, &x, sizeof x);
}
typedef struct {
  long shape[1];
  long at[3];
  long by[3][1];
  float s0x, s0y;
} launch;
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
__device__ float2 gpx_complex_float2(float x, float y) { return make_float2(x, y); }
__device__ float2 gpx_cmul_float2(float2 a, float2 b) {
  return gpx_complex_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
__device__ float2 gpx_cdiv_float2(float2 a, float2 b) {
  if (fabs(b.x) >= fabs(b.y)) {
    if (b.x == 0 && b.y == 0) return gpx_complex_float2(a.x / fabs(b.x), a.y / fabs(b.x));
    const float ratio = b.y / b.x, scale = 1 / (b.x + b.y * ratio);
    return gpx_complex_float2((a.x + a.y * ratio) * scale, (a.y - a.x * ratio) * scale);
  }
  const float ratio = b.x / b.y, scale = 1 / (b.y + b.x * ratio);
  return gpx_complex_float2((a.x * ratio + a.y) * scale, (a.y * ratio - a.x) * scale);
}
extern "C" __global__ void gpuxp_kernel(uchar* p0, uchar* p1, uchar* p2, const launch a) {
  const uchar* b0 = (const uchar*)(p0 + a.at[0]);
  const uchar* b1 = (const uchar*)(p1 + a.at[1]);
  uchar* b2 = (uchar*)(p2 + a.at[2]);
  const float2 s0 = gpx_complex_float2(a.s0x, a.s0y);
  for (long i0 = ((long)blockIdx.x * blockDim.x + threadIdx.x); i0 < a.shape[0]; i0 += ((long)gridDim.x * blockDim.x)) {
    const long e0 = i0 * a.by[0][0];
    const long e1 = i0 * a.by[1][0];
    const long e2 = i0 * a.by[2][0];
    const float2 v0 = gpx_complex_float2(load_bytes<float>(b0 + e0), load_bytes<float>(b0 + e0 + 4));
    const float2 v1 = gpx_complex_float2(load_bytes<float>(b1 + e1), load_bytes<float>(b1 + e1 + 4));
    const float2 v2 = gpx_cmul_float2(v0, v1);
    const float2 v3 = s0;
    const float2 v4 = gpx_cdiv_float2(v2, v3);
    store_bytes(b2 + e2, v4.x);
    store_bytes(b2 + e2 + 4, v4.y);
  }
}
