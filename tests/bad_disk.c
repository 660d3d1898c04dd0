/* A disk with read errors: what is read of files whose path contains $BAD_PATH fails with EIO from
   byte $BAD_FROM on, once $BAD_ONCE exists, and what is mapped of them with SIGBUS, as the kernel
   does it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
enum { MOST = 65536 };
static char bad[MOST];

static int opened(int fd, const char *path) {
  const char *part = getenv("BAD_PATH");
  if (fd >= 0 && fd < MOST) bad[fd] = part && *part && strstr(path, part) != NULL;
  return fd;
}
static int fails(int fd, off_t from, size_t length) {
  if (fd < 0 || fd >= MOST || !bad[fd]) return 0;
  const char *first = getenv("BAD_FROM"), *once = getenv("BAD_ONCE");
  if (once && access(once, F_OK)) return 0;
  return from + (off_t)length > (first ? atoll(first) : 0);
}
static ssize_t broken(void) { errno = EIO; return -1; }

#define OPEN(name)                                                   \
  int name(const char *path, int flags, ...) {                       \
    va_list more; va_start(more, flags);                             \
    mode_t mode = va_arg(more, mode_t); va_end(more);                \
    return opened(NEXT(name)(path, flags, mode), path);              \
  }
#define OPENAT(name)                                                 \
  int name(int at, const char *path, int flags, ...) {               \
    va_list more; va_start(more, flags);                             \
    mode_t mode = va_arg(more, mode_t); va_end(more);                \
    return opened(NEXT(name)(at, path, flags, mode), path);          \
  }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

ssize_t read(int fd, void *to, size_t n) {
  return bad[fd & (MOST - 1)] && fails(fd, lseek(fd, 0, SEEK_CUR), n) ? broken() : NEXT(read)(fd, to, n);
}
ssize_t pread(int fd, void *to, size_t n, off_t at) {
  return fails(fd, at, n) ? broken() : NEXT(pread)(fd, to, n, at);
}
ssize_t pread64(int fd, void *to, size_t n, off64_t at) {
  return fails(fd, at, n) ? broken() : NEXT(pread64)(fd, to, n, at);
}
static void *unreadable(size_t length, int protection) {
  int empty = memfd_create("unreadable", 0);
  void *place = NEXT(mmap)(NULL, length, protection, MAP_PRIVATE, empty, 0);
  NEXT(close)(empty);
  return place;
}
void *mmap(void *to, size_t n, int protection, int flags, int fd, off_t at) {
  return fails(fd, at, n) ? unreadable(n, protection) : NEXT(mmap)(to, n, protection, flags, fd, at);
}
void *mmap64(void *to, size_t n, int protection, int flags, int fd, off64_t at) {
  return fails(fd, at, n) ? unreadable(n, protection) : NEXT(mmap64)(to, n, protection, flags, fd, at);
}
