/* The wall clock of one process jumps, at every reading, by up to ten years forward or back: loaded before libc by LD_PRELOAD.
   The monotonic clocks are left alone, as they are by whoever sets a machine's clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

static long jump(void) {
    static unsigned state = 12345;
    state = state * 1103515245u + 12345u;
    return (long)(state % 630720000u) - 315360000L;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*own)(clockid_t, struct timespec *);
    if (!own) own = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = own(id, at);
    if (!failed && id == CLOCK_REALTIME) at->tv_sec += jump();
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
