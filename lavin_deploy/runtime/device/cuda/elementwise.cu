// The little arithmetic between engines, so that latents stay on the device. elementwise.ptx is
// this file by `nvcc -ptx -arch=compute_75`, its .version lowered to 7.5, which drivers from CUDA
// 11.5 on read; a test repeats that.

// out[c * stride + i] = (in[c * length + i] + add) * factor + shift, for c below channels.
extern "C" __global__ void affine(const float* in, float* out, int channels, int length,
                                  long long stride, float add, float factor, float shift) {
    const long long place = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (place >= (long long)channels * length) return;
    const long long channel = place / length, index = place % length;
    out[channel * stride + index] = (in[place] + add) * factor + shift;
}

// z += span * (null + weight * (velocity - null)), an Euler step under guidance; weight 1 takes the
// velocity alone.
extern "C" __global__ void update(float* z, const float* velocity, const float* null_velocity,
                                  float weight, float span, int length) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= length) return;
    float v = velocity[i];
    if (weight != 1.0f) v = null_velocity[i] + weight * (v - null_velocity[i]);
    z[i] += span * v;
}
