/* The memory of the CUDA runtime: allocation and copies. */
#include "runtime.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define RESULT_BYTES 4096

bool last_copy_is_readable = false;

/* ---- allocation */

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

static bool on_device(const void *address) {
    Block block;
    return find_block(address, &block) && block.device != HOST_DEVICE;
}

/* Fill `words` with what the results of kernels read as: 1 in 64 bits, which is true as a boolean, a small count as an
   integer, and finite as a float; or the process's value of FAKE_CUDA_RESULT for a single float or two doubles. */
static void make_result(uint64_t words[], size_t count, size_t size) {
    float value;
    for (size_t word = 0; word < count; word++) words[word] = 1;
    if (size == sizeof value && scripted_result(&value)) memcpy(words, &value, sizeof value);
    if (size == 2 * sizeof(double) && scripted_result(&value)) {
        double pair[2] = {value, value};
        memcpy(words, pair, sizeof pair);
    }
}

/* Kernels write nothing, so that a copy of at most 4 KiB from a device, which is how torch reads a kernel's result
   (`.item()`), would give what an earlier tensor left there. Unless the last copy wrote these bytes and no kernel came
   after it, they read as `make_result` says. */
static void copy_bytes(void *to, const void *from, size_t size) {
    static const void *last_written = NULL;
    uint64_t result[RESULT_BYTES / sizeof(uint64_t)];
    if (on_device(to)) {
        last_written = to;
        last_copy_is_readable = true;
    } else if (size <= RESULT_BYTES && on_device(from) && !(last_copy_is_readable && from == last_written)) {
        make_result(result, RESULT_BYTES / sizeof *result, size);
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
