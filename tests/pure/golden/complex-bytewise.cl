#pragma OPENCL FP_CONTRACT OFF
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
typedef struct {
  long shape[1];
  long at[3];
  long by[3][1];
  float s0x, s0y;
} launch;
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
float2 gpx_complex_float2(float x, float y) { return (float2)(x, y); }
float2 gpx_cmul_float2(float2 a, float2 b) {
  return gpx_complex_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
float2 gpx_cdiv_float2(float2 a, float2 b) {
  if (fabs(b.x) >= fabs(b.y)) {
    if (b.x == 0 && b.y == 0) return gpx_complex_float2(a.x / fabs(b.x), a.y / fabs(b.x));
    const float ratio = b.y / b.x, scale = 1 / (b.x + b.y * ratio);
    return gpx_complex_float2((a.x + a.y * ratio) * scale, (a.y - a.x * ratio) * scale);
  }
  const float ratio = b.x / b.y, scale = 1 / (b.y + b.x * ratio);
  return gpx_complex_float2((a.x * ratio + a.y) * scale, (a.y * ratio - a.x) * scale);
}
kernel void gpuxp_kernel(global uchar* p0, global uchar* p1, global uchar* p2, const launch a) {
  global const uchar* b0 = (global const uchar*)(p0 + a.at[0]);
  global const uchar* b1 = (global const uchar*)(p1 + a.at[1]);
  global uchar* b2 = (global uchar*)(p2 + a.at[2]);
  const float2 s0 = gpx_complex_float2(a.s0x, a.s0y);
  for (long i0 = get_global_id(0); i0 < a.shape[0]; i0 += get_global_size(0)) {
    const long e0 = i0 * a.by[0][0];
    const long e1 = i0 * a.by[1][0];
    const long e2 = i0 * a.by[2][0];
    const float2 v0 = gpx_complex_float2(as_float(vload4(0, b0 + e0)), as_float(vload4(0, b0 + e0 + 4)));
    const float2 v1 = gpx_complex_float2(as_float(vload4(0, b1 + e1)), as_float(vload4(0, b1 + e1 + 4)));
    const float2 v2 = gpx_cmul_float2(v0, v1);
    const float2 v3 = s0;
    const float2 v4 = gpx_cdiv_float2(v2, v3);
    vstore4(as_uchar4(v4.x), 0, b2 + e2);
    vstore4(as_uchar4(v4.y), 0, b2 + e2 + 4);
  }
}
