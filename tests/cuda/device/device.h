/* The state of the simulated devices: settings from the environment, log, contexts and memory. See ../README.md. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define MAX_DEVICES 2
#define CONTEXT_BYTES (512ul << 20) /* device memory that a context takes */
#define MULTIPROCESSORS 132
#define COMPUTE_MAJOR 9 /* an H100, for which every CUDA 13 build of torch has kernels */
#define COMPUTE_MINOR 0
#define REGISTERS 65536
#define SHARED_MEMORY 49152
#define SHARED_MEMORY_OPT_IN 232448
#define SHARED_MEMORY_MULTIPROCESSOR 233472

/* A block of memory that the simulated driver has given out. `device` is HOST_DEVICE for pinned host memory. */
#define HOST_DEVICE (-1)
typedef struct {
    char *start;
    size_t size;
    int device;
} Block;

/* Write "<pid> <event> <device> <detail>" to the file FAKE_CUDA_LOG with one write. */
void log_event(const char *event, int device, const char *detail);

/* Whether the file that FAKE_CUDA_FAIL names exists and holds `name`. */
bool fails(const char *name);

/* Whether FAKE_CUDA_RESULT, "TEXT=NUMBER", is for this process: TEXT is part of its command line. */
bool scripted_result(float *number);

int installed_devices(void);                 /* FAKE_CUDA_DEVICES, by default 1 */
int visible_devices(void);                   /* those that CUDA_VISIBLE_DEVICES leaves */
int physical_device(int device);             /* the index that NVML uses; -1 if there is none */
size_t total_memory(void);                   /* FAKE_CUDA_MEMORY_MB, by default 80 GiB, in bytes */
long late_queries(void);                     /* FAKE_CUDA_LATE, by default 0 */
void device_uuid(int physical, char uuid[16]);
void device_uuid_text(int physical, char text[48]);

/* Initialize CUDA in this process, logged as "init". False in a process that was forked after that: as with the real
   driver, CUDA cannot be used there. */
bool initialize(void);

/* Create the context of a device unless there is one, logged as "context". */
void create_context(int device);
bool has_context(int device);

/* The device's free memory in bytes. */
size_t free_memory(int device);

/* Give out `size` bytes of zeros on a device, or pinned on the host. NULL, logged as "refused", if there is no room.
   A new maximum of a device is logged as "peak", in bytes, whenever it has grown by a MiB. */
void *take_memory(size_t size, int device);
bool give_back_memory(void *start);

/* Copy to the block that holds an address. False if there is none: pageable host memory. */
bool find_block(const void *address, Block *found);

/* The function of the driver under its name or its second version; else one that answers "not supported". */
void *driver_function(const char *name);

extern __thread int current_device;
