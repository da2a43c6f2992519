/* Settings, log, contexts and memory of the simulated devices. */
#define _GNU_SOURCE
#include "device.h"

#include <fcntl.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__thread int current_device = 0;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t initialized_in = 0;
static bool contexts[MAX_DEVICES];
static size_t taken[MAX_DEVICES], logged_peak[MAX_DEVICES];
static void *blocks = NULL; /* a tree (tsearch) of Block, ordered by address */

/* ---- settings */

static long number_setting(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value == NULL ? otherwise : strtol(value, NULL, 10);
}

int installed_devices(void) {
    long count = number_setting("FAKE_CUDA_DEVICES", 1);
    return count < 0 ? 0 : count > MAX_DEVICES ? MAX_DEVICES : (int)count;
}

size_t total_memory(void) { return (size_t)number_setting("FAKE_CUDA_MEMORY_MB", 80 << 10) << 20; }

long late_queries(void) { return number_setting("FAKE_CUDA_LATE", 0); }

void device_uuid(int physical, char uuid[16]) {
    memset(uuid, 0, 16);
    uuid[15] = (char)(physical + 1);
}

void device_uuid_text(int physical, char text[48]) {
    snprintf(text, 48, "GPU-00000000-0000-0000-0000-%012x", (unsigned)physical + 1);
}

/* The physical device that an entry of CUDA_VISIBLE_DEVICES names; -1 if it names none. */
static int named_device(const char *entry) {
    char uuid[48], *end;
    for (int physical = 0; physical < installed_devices(); physical++) {
        device_uuid_text(physical, uuid);
        if (!strcmp(entry, uuid)) return physical;
    }
    long index = strtol(entry, &end, 10);
    return end != entry && !*end && index >= 0 && index < installed_devices() ? (int)index : -1;
}

int physical_device(int device) {
    const char *variable = getenv("CUDA_VISIBLE_DEVICES");
    if (device < 0) return -1;
    if (variable == NULL) return device < installed_devices() ? device : -1;
    char *entries = strdup(variable), *rest = entries, *entry;
    int physical = -1;
    for (int index = 0; (entry = strsep(&rest, ",")) != NULL; index++) {
        physical = named_device(entry);
        if (physical < 0 || index == device) break; /* the first unknown entry ends the list */
        physical = -1;
    }
    free(entries);
    return physical;
}

int visible_devices(void) {
    int count = 0;
    while (count < MAX_DEVICES && physical_device(count) >= 0) count++;
    return count;
}

static size_t read_file(const char *path, char *content, size_t size) {
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, content, size);
    if (file >= 0) close(file);
    return length < 0 ? 0 : (size_t)length;
}

bool fails(const char *name) {
    char content[256];
    return memmem(content, read_file(getenv("FAKE_CUDA_FAIL"), content, sizeof content), name, strlen(name)) != NULL;
}

bool scripted_result(float *number) {
    const char *setting = getenv("FAKE_CUDA_RESULT"), *equals = setting == NULL ? NULL : strchr(setting, '=');
    char command[4096];
    if (equals == NULL) return false;
    size_t length = read_file("/proc/self/cmdline", command, sizeof command);
    *number = strtof(equals + 1, NULL);
    return memmem(command, length, setting, (size_t)(equals - setting)) != NULL;
}

/* ---- log */

void log_event(const char *event, int device, const char *detail) {
    const char *path = getenv("FAKE_CUDA_LOG");
    int file = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0) return;
    char line[256];
    int length = snprintf(line, sizeof line, "%d %s %d %s\n", getpid(), event, physical_device(device), detail);
    if (write(file, line, (size_t)length) < 0) abort();
    close(file);
}

/* Called from Python (ctypes) to mark a moment in the log. */
void fake_cuda_mark(const char *text) { log_event("mark", -1, text); }

/* ---- contexts */

bool initialize(void) {
    pthread_mutex_lock(&lock);
    bool first = initialized_in == 0, forked = !first && initialized_in != getpid();
    if (first) initialized_in = getpid();
    pthread_mutex_unlock(&lock);
    if (first) log_event("init", -1, "");
    if (forked) log_event("forked", -1, "");
    return !forked;
}

void create_context(int device) {
    pthread_mutex_lock(&lock);
    bool fresh = !contexts[device];
    contexts[device] = true;
    pthread_mutex_unlock(&lock);
    if (fresh) log_event("context", device, "");
}

bool has_context(int device) { return device >= 0 && device < MAX_DEVICES && contexts[device]; }

/* ---- memory */

/* Blocks are ordered by address; those that overlap are equal, so that an address finds the block that holds it. */
static int compare(const void *left, const void *right) {
    const Block *a = left, *b = right;
    return a->start + a->size <= b->start ? -1 : b->start + b->size <= a->start ? 1 : 0;
}

static Block *block_at(const void *address) {
    Block key = {.start = (char *)address, .size = 1};
    Block **node = tfind(&key, &blocks, compare);
    return node == NULL ? NULL : *node;
}

size_t free_memory(int device) {
    size_t used = taken[device] + CONTEXT_BYTES;
    return used > total_memory() ? 0 : total_memory() - used;
}

static void log_number(const char *event, int device, size_t number) {
    char text[32];
    snprintf(text, sizeof text, "%zu", number);
    log_event(event, device, text);
}

void *take_memory(size_t size, int device) {
    size_t pages = (size + 4095) / 4096 * 4096;
    bool on_device = device != HOST_DEVICE;
    pthread_mutex_lock(&lock);
    bool fits = pages && (!on_device || pages <= free_memory(device));
    void *start = MAP_FAILED;
    if (fits)
        start = mmap(NULL, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        pthread_mutex_unlock(&lock);
        log_number("refused", device, size);
        return NULL;
    }
    Block *block = malloc(sizeof *block);
    *block = (Block){start, pages, device};
    tsearch(block, &blocks, compare);
    size_t peak = 0;
    if (on_device) {
        taken[device] += pages;
        if (taken[device] >= logged_peak[device] + (1ul << 20)) peak = logged_peak[device] = taken[device];
    }
    pthread_mutex_unlock(&lock);
    if (peak) log_number("peak", device, peak);
    return start;
}

bool give_back_memory(void *start) {
    pthread_mutex_lock(&lock);
    Block *block = block_at(start);
    bool found = block != NULL && block->start == start;
    if (found) {
        tdelete(block, &blocks, compare);
        if (block->device != HOST_DEVICE) taken[block->device] -= block->size;
        munmap(block->start, block->size);
        free(block);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

bool find_block(const void *address, Block *found) {
    pthread_mutex_lock(&lock);
    Block *block = block_at(address);
    if (block != NULL) *found = *block;
    pthread_mutex_unlock(&lock);
    return block != NULL;
}
