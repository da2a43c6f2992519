/* The CUDA runtime: what torch calls on the host is done, kernels do nothing. Prototypes are NVIDIA's own. */
#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "device.h"

#define RESULT_BYTES 4096

/* Begin a call that initializes CUDA, or return its error from the calling function. */
#define ENTER()                                                     \
    do {                                                            \
        if (!initialize()) return cudaErrorInitializationError;     \
        if (visible_devices() == 0) return cudaErrorNoDevice;       \
    } while (0)

/* The same for a call that works on the current device. */
#define ENTER_CONTEXT()               \
    do {                              \
        ENTER();                      \
        create_context(current_device); \
    } while (0)

static __thread cudaError_t last_error = cudaSuccess;

static cudaError_t failed(cudaError_t error) { return last_error = error; }

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
        case cudaErrorNotSupported: return "operation not supported";
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

/* ---- memory */

cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    ENTER_CONTEXT();
    *total = total_memory();
    *available = free_memory(current_device);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **start, size_t size) {
    ENTER_CONTEXT();
    *start = size == 0 || fails("cudaMalloc") ? NULL : take_memory(size, current_device);
    return *start == NULL && size ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaHostAlloc(void **start, size_t size, unsigned flags) {
    ENTER_CONTEXT();
    *start = fails("cudaHostAlloc") ? NULL : take_memory(size, HOST_DEVICE);
    return *start == NULL && size ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFree(void *start) {
    ENTER_CONTEXT();
    return start == NULL || give_back_memory(start) ? cudaSuccess : failed(cudaErrorInvalidValue);
}

cudaError_t cudaFreeHost(void *start) { return cudaFree(start); }

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *found, const void *address) {
    ENTER();
    Block block;
    *found = (struct cudaPointerAttributes){.type = cudaMemoryTypeUnregistered, .device = -2};
    if (!find_block(address, &block)) return cudaSuccess;
    bool on_host = block.device == HOST_DEVICE;
    found->type = on_host ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    found->device = on_host ? current_device : block.device;
    found->devicePointer = (void *)address;
    found->hostPointer = on_host ? (void *)address : NULL;
    return cudaSuccess;
}

/* ---- copies, which are done when the call returns */

static const void *last_written = NULL; /* by a copy to a device, with no kernel since */

static bool on_device(const void *address) {
    Block block;
    return find_block(address, &block) && block.device != HOST_DEVICE;
}

/* Kernels write nothing, so that a copy of at most 4 KiB from a device, which is how torch reads a kernel's result
   (`.item()`), would give what an earlier tensor left there. Unless the last copy wrote these bytes and no kernel came
   after it, they read as 1 in 64 bits: true as a boolean, a small count as an integer, finite as a float. */
static void copy_bytes(void *to, const void *from, size_t size) {
    uint64_t result[RESULT_BYTES / sizeof(uint64_t)];
    if (on_device(to))
        last_written = to;
    else if (size <= RESULT_BYTES && from != last_written && on_device(from)) {
        for (size_t word = 0; word < RESULT_BYTES / sizeof *result; word++) result[word] = 1;
        from = result;
    }
    memcpy(to, from, size);
}

static void log_copy(const void *to, const void *from, size_t size) {
    Block block;
    const char *place[2];
    int device = HOST_DEVICE;
    for (int side = 0; side < 2; side++) {
        bool known = find_block(side ? to : from, &block);
        place[side] = !known ? "pageable" : block.device == HOST_DEVICE ? "pinned" : "device";
        if (known && block.device != HOST_DEVICE) device = block.device;
    }
    char detail[96];
    snprintf(detail, sizeof detail, "%s to %s %zu", place[0], place[1], size);
    log_event("copy", device, detail);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream) {
    ENTER_CONTEXT();
    copy_bytes(to, from, size);
    log_copy(to, from, size);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    cudaError_t error = cudaMemcpyAsync(to, from, size, kind, NULL);
    log_event("wait", current_device, "cudaMemcpy");
    return error;
}

cudaError_t cudaMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device, size_t size,
                                cudaStream_t stream) {
    create_context(to_device);
    create_context(from_device);
    return cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemsetAsync(void *start, int value, size_t size, cudaStream_t stream) {
    ENTER_CONTEXT();
    memset(start, value, size);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *start, int value, size_t size) { return cudaMemsetAsync(start, value, size, NULL); }

/* ---- waits */

static cudaError_t wait_in(const char *function) {
    ENTER_CONTEXT();
    log_event("wait", current_device, function);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_in("cudaStreamSynchronize"); }
cudaError_t cudaDeviceSynchronize(void) { return wait_in("cudaDeviceSynchronize"); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return wait_in("cudaEventSynchronize"); }

/* ---- streams and events: handles that count up; nothing is ever pending */

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
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return cudaSuccess; }

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    *milliseconds = 1;
    return cudaSuccess;
}

/* ---- kernels, which do nothing */

static cudaError_t launch(void) {
    ENTER_CONTEXT();
    last_written = NULL;
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
