/* The CUDA runtime without its memory: devices, streams and events, and kernels, which do nothing. */
#include "runtime.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static __thread cudaError_t last_error = cudaSuccess;
cudaError_t sticky_error = cudaSuccess;

cudaError_t failed(cudaError_t error) { return last_error = error; }

/* ---- errors and versions */

cudaError_t cudaGetLastError(void) {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void) { return last_error; }

const char *cudaGetErrorName(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorInitializationError: return "initialization error";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
        default: return "an error of the simulated device";
    }
}

cudaError_t cudaDriverGetVersion(int *version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { return *version = CUDART_VERSION, cudaSuccess; }

/* ---- devices */

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 0;
    ENTER();
    *count = visible_devices();
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    ENTER();
    *device = current_device;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { /* creates the device's context since CUDA 12 */
    ENTER();
    if (physical_device(device) < 0) return failed(cudaErrorInvalidDevice);
    current_device = device;
    create_context(device);
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *found, int device) {
    ENTER();
    int physical = physical_device(device);
    if (physical < 0) return failed(cudaErrorInvalidDevice);
    *found = (struct cudaDeviceProp){
        .totalGlobalMem = total_memory(), .major = COMPUTE_MAJOR, .minor = COMPUTE_MINOR,
        .multiProcessorCount = MULTIPROCESSORS, .warpSize = 32,
        .maxThreadsPerBlock = 1024, .maxThreadsPerMultiProcessor = 2048, .maxBlocksPerMultiProcessor = 32,
        .maxThreadsDim = {1024, 1024, 64}, .maxGridSize = {INT32_MAX, 65535, 65535},
        .sharedMemPerBlock = SHARED_MEMORY, .sharedMemPerBlockOptin = SHARED_MEMORY_OPT_IN,
        .sharedMemPerMultiprocessor = SHARED_MEMORY_MULTIPROCESSOR,
        .regsPerBlock = REGISTERS, .regsPerMultiprocessor = REGISTERS,
        .l2CacheSize = 50 << 20, .memoryBusWidth = 5120, .totalConstMem = 65536, .textureAlignment = 512,
        .concurrentKernels = 1, .unifiedAddressing = 1, .pciBusID = physical + 1,
    };
    snprintf(found->name, sizeof found->name, "Simulated GPU %d", physical);
    device_uuid(physical, found->uuid.bytes);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    ENTER();
    if (physical_device(device) < 0) return failed(cudaErrorInvalidDevice);
    switch (attribute) {
        case cudaDevAttrComputeCapabilityMajor: *value = COMPUTE_MAJOR; break;
        case cudaDevAttrComputeCapabilityMinor: *value = COMPUTE_MINOR; break;
        case cudaDevAttrMultiProcessorCount: *value = MULTIPROCESSORS; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
        case cudaDevAttrMaxGridDimX: *value = INT32_MAX; break;
        case cudaDevAttrMaxGridDimY:
        case cudaDevAttrMaxGridDimZ: *value = 65535; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = SHARED_MEMORY; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = SHARED_MEMORY_OPT_IN; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = SHARED_MEMORY_MULTIPROCESSOR; break;
        case cudaDevAttrMaxRegistersPerBlock:
        case cudaDevAttrMaxRegistersPerMultiprocessor: *value = REGISTERS; break;
        default: *value = 1; /* features: supported */
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int device) {
    ENTER();
    snprintf(text, (size_t)length, "0000:%02x:00.0", (unsigned)physical_device(device) + 1);
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    ENTER();
    *can = device == peer;
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(
    const char *name, void **function, unsigned version, unsigned long long flags,
    enum cudaDriverEntryPointQueryResult *status) {
    *function = driver_function(name);
    if (status != NULL) *status = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

/* ---- the order of events, and waits */

#define EVENTS 65536 /* that exist at one time, at most */

static unsigned long recorded[EVENTS]; /* by handle: an event's place in the order of records */
static unsigned long last_recorded, last_complete;
static long late; /* queries of the next event that is not complete */

static unsigned long *place_of(cudaEvent_t event) { return &recorded[(uintptr_t)event % EVENTS]; }

static void complete(unsigned long place) {
    if (place <= last_complete) return;
    last_complete = place;
    late = 0;
}

static cudaError_t wait_in(const char *function, unsigned long place) {
    ENTER_CONTEXT();
    log_event("wait", current_device, function);
    complete(place);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_in("cudaStreamSynchronize", last_recorded); }
cudaError_t cudaDeviceSynchronize(void) { return wait_in("cudaDeviceSynchronize", last_recorded); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return wait_in("cudaEventSynchronize", *place_of(event)); }

cudaError_t cudaEventQuery(cudaEvent_t event) {
    unsigned long place = *place_of(event);
    if (place > last_complete && ++late <= late_queries()) return failed(cudaErrorNotReady);
    complete(place);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    *place_of(event) = ++last_recorded;
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    return cudaEventRecord(event, stream);
}

/* ---- streams and events: handles that count up */

static void *next_handle(void) {
    static uintptr_t last = 0x1000;
    return (void *)__atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
    ENTER_CONTEXT();
    *stream = next_handle();
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) { return cudaSuccess; }
cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) { return *priority = 0, cudaSuccess; }

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    ENTER_CONTEXT();
    *least = 0, *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t stream, enum cudaStreamCaptureStatus *status, unsigned long long *id, cudaGraph_t *graph,
    const cudaGraphNode_t **dependencies, const cudaGraphEdgeData **edges, size_t *count) {
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) { return cudaSuccess; }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    ENTER_CONTEXT();
    *event = next_handle();
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    *milliseconds = 1;
    return cudaSuccess;
}

/* ---- kernels, which do nothing */

static cudaError_t launch(void) {
    ENTER_CONTEXT();
    last_copy_is_readable = false;
    if (fails("illegal address")) return failed(sticky_error = cudaErrorIllegalAddress);
    return fails("cudaLaunchKernel") ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream) {
    return launch();
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *kernel, void **arguments) {
    return launch();
}

/* The launch stubs that nvcc generates since CUDA 13 call these two, which no header declares. */
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function) {
    *kernel = (cudaKernel_t)function;
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t stream) {
    return launch();
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *found, const void *kernel) {
    *found = (struct cudaFuncAttributes){
        .binaryVersion = 10 * COMPUTE_MAJOR, .ptxVersion = 10 * COMPUTE_MAJOR, .maxThreadsPerBlock = 1024, .numRegs = 32,
    };
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value) {
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int *blocks, const void *kernel, int block_size, size_t shared, unsigned flags) {
    *blocks = 2;
    return cudaSuccess;
}

cudaError_t cudaGetSymbolAddress(void **address, const void *symbol) {
    static char memory[1 << 16];
    *address = memory;
    return cudaSuccess;
}
