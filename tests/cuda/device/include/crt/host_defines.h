/* Stands in for crt/host_defines.h, which NVIDIA ships with nvcc and not with the runtime: attributes for plain C. */
#pragma once
#define CUDARTAPI
#define __host__
#define __device__
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __cudart_builtin__
#define __location__(memory_space)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_align__(bytes) __attribute__((aligned(bytes)))
