/* What the files of the CUDA runtime share. Prototypes are NVIDIA's own. */
#pragma once
#include <cuda_runtime_api.h>

#include "device.h"

/* Begin a call that initializes CUDA, or return its error from the calling function. */
#define ENTER()                                                 \
    do {                                                        \
        if (!initialize()) return cudaErrorInitializationError; \
        if (visible_devices() == 0) return cudaErrorNoDevice;   \
        if (sticky_error) return failed(sticky_error);          \
    } while (0)

/* The same for a call that works on the current device. */
#define ENTER_CONTEXT()                 \
    do {                                \
        ENTER();                        \
        create_context(current_device); \
    } while (0)

extern cudaError_t sticky_error; /* of a kernel: the process cannot use CUDA any more */
extern bool last_copy_is_readable; /* no kernel came after the last copy to a device */

/* Set the error that cudaGetLastError gives, and return it. */
cudaError_t failed(cudaError_t error);
