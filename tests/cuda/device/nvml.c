/* NVML, as far as pynvml and torch read it. FAKE_CUDA_NVML_UNSUPPORTED lists functions that answer "not supported". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

/* Values and structures of nvml.h, which the Python packages do not contain. */
typedef enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 } Result;
typedef struct {
    unsigned long long total, free, used;
} Memory;
typedef struct {
    unsigned gpu, memory;
} Utilization;
typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} MemoryV2;

typedef void *Handle; /* physical index + 1 */

#define HANDLE(index) ((Handle)(size_t)((index) + 1))
#define INDEX(handle) ((int)(size_t)(handle) - 1)

/* Return NOT_SUPPORTED from the calling function if the environment says so. */
#define UNLESS_SUPPORTED()                                                  \
    do {                                                                    \
        const char *list = getenv("FAKE_CUDA_NVML_UNSUPPORTED");            \
        if (list != NULL && strstr(list, __func__)) return NOT_SUPPORTED;   \
    } while (0)

Result nvmlInit_v2(void) { return OK; }
Result nvmlInitWithFlags(unsigned flags) { return OK; }
Result nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(Result result) {
    return result == NOT_SUPPORTED ? "Not Supported" : result == OK ? "Success" : "Error of the simulated NVML";
}

Result nvmlDeviceGetCount_v2(unsigned *count) { return *count = (unsigned)installed_devices(), OK; }

Result nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle *handle) {
    if (index >= (unsigned)installed_devices()) return INVALID_ARGUMENT;
    *handle = HANDLE(index);
    return OK;
}

Result nvmlDeviceGetHandleByUUID(const char *wanted, Handle *handle) {
    char uuid[48];
    for (int index = 0; index < installed_devices(); index++) {
        device_uuid_text(index, uuid);
        if (!strcmp(uuid, wanted)) return *handle = HANDLE(index), OK;
    }
    return NOT_FOUND;
}

Result nvmlDeviceGetIndex(Handle handle, unsigned *index) { return *index = (unsigned)INDEX(handle), OK; }

Result nvmlDeviceGetUUID(Handle handle, char *text, unsigned length) {
    char uuid[48];
    UNLESS_SUPPORTED();
    device_uuid_text(INDEX(handle), uuid);
    snprintf(text, length, "%s", uuid);
    return OK;
}

Result nvmlDeviceGetName(Handle handle, char *text, unsigned length) {
    UNLESS_SUPPORTED();
    snprintf(text, length, "Simulated GPU %d", INDEX(handle));
    return OK;
}

Result nvmlDeviceGetMemoryInfo(Handle handle, Memory *memory) {
    UNLESS_SUPPORTED();
    *memory = (Memory){total_memory(), total_memory() - CONTEXT_BYTES, CONTEXT_BYTES};
    return OK;
}

Result nvmlDeviceGetMemoryInfo_v2(Handle handle, MemoryV2 *memory) {
    UNLESS_SUPPORTED();
    *memory = (MemoryV2){memory->version, total_memory(), 0, total_memory() - CONTEXT_BYTES, CONTEXT_BYTES};
    return OK;
}

Result nvmlDeviceGetUtilizationRates(Handle handle, Utilization *rates) {
    UNLESS_SUPPORTED();
    *rates = (Utilization){50, 25};
    return OK;
}

Result nvmlDeviceGetTemperature(Handle handle, int sensor, unsigned *celsius) {
    UNLESS_SUPPORTED();
    *celsius = 40;
    return OK;
}

Result nvmlDeviceGetMaxMigDeviceCount(Handle handle, unsigned *count) { return *count = 0, OK; }
Result nvmlDeviceGetMigDeviceHandleByIndex(Handle handle, unsigned index, Handle *mig) { return NOT_FOUND; }

/* torch looks these up when it writes the message of an out-of-memory error, and does without their answers. */
Result nvmlDeviceGetHandleByPciBusId_v2(void) { return NOT_SUPPORTED; }
Result nvmlDeviceGetComputeRunningProcesses(void) { return NOT_SUPPORTED; }
Result nvmlDeviceGetGpuFabricInfoV(void) { return NOT_SUPPORTED; }
Result nvmlDeviceGetNvLinkRemoteDeviceType(void) { return NOT_SUPPORTED; }
Result nvmlDeviceGetNvLinkRemotePciInfo_v2(void) { return NOT_SUPPORTED; }
Result nvmlSystemGetCudaDriverVersion_v2(void) { return NOT_SUPPORTED; }
