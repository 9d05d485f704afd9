/* Records what a process does to the files below POWER_ROOT, in the order in which it happens, over all processes.

   Loaded by LD_PRELOAD, so it sees SQLite's own writes as it sees Python's. One record an operation: the header below,
   the paths, the bytes written. A lock in a shared page is held over the operation and its record: their order is true. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, MKDIR, RENAME, LINK, UNLINK, RMDIR };

struct record {
  uint32_t what, path, other, unused;
  uint64_t inode, offset, bytes;
};

static int log_file = -1;
static int *lock;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void begin(void) {
  const char *where = getenv("POWER_ROOT"), *log = getenv("POWER_LOG");
  if (!where || !log) return;
  char beside[PATH_MAX];
  snprintf(beside, sizeof beside, "%s.lock", log);
  int page = syscall(SYS_openat, AT_FDCWD, beside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (page < 0 || syscall(SYS_ftruncate, page, 4096)) abort();
  lock = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
  syscall(SYS_close, page);
  log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (lock == MAP_FAILED || log_file < 0) abort();
  snprintf(root, sizeof root, "%s", where);
  root_length = strlen(root);
}

static void enter(void) {
  while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE)) usleep(20);
}

static void leave(void) {
  int error = errno;
  __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
  errno = error;
}

static void record(int what, uint64_t inode, uint64_t offset, const char *path, const char *other, const void *data,
                   uint64_t bytes) {
  struct record head = {what, path ? strlen(path) : 0, other ? strlen(other) : 0, 0, inode, offset, bytes};
  struct iovec parts[] = {
      {&head, sizeof head}, {(void *)path, head.path}, {(void *)other, head.other}, {(void *)data, data ? bytes : 0}};
  ssize_t whole = sizeof head + head.path + head.other + (data ? bytes : 0);
  if (syscall(SYS_writev, log_file, parts, 4) != whole) abort();
}

static int inside(const char *path) {
  return log_file >= 0 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The absolute path of what a call names; empty when it cannot be known. */
static const char *absolute(int folder, const char *path, char *into) {
  char link[64];
  *into = 0;
  if (log_file < 0) return into;
  if (*path == '/') {
    snprintf(into, PATH_MAX, "%s", path);
    return into;
  }
  snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
  ssize_t length = readlink(link, into, PATH_MAX - 2);
  if (length <= 0) length = 0;
  snprintf(into + length, PATH_MAX - length, "/%s", path);
  return into;
}

/* Whether a descriptor is a file (1) or a folder (2) of ours, with its path and inode. */
static int ours(int fd, char *path, uint64_t *inode) {
  char link[64];
  struct stat status;
  int error = errno, found = 0;
  if (log_file >= 0 && fd != log_file && !fstat(fd, &status) && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    *inode = status.st_ino;
    found = inside(path) ? (S_ISREG(status.st_mode) ? 1 : 2) : 0;
  }
  errno = error;
  return found;
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  struct stat before, after;
  if (!(flags & (O_CREAT | O_TRUNC)) || !inside(absolute(folder, name, path)))
    return syscall(SYS_openat, folder, name, flags, mode);
  enter();
  int error = errno, known = !fstatat(folder, name, &before, 0);
  errno = error;
  int fd = syscall(SYS_openat, folder, name, flags, mode);
  if (fd >= 0 && !fstat(fd, &after)) {
    if (!known) record(CREATE, after.st_ino, 0, path, NULL, NULL, 0);
    else if ((flags & O_TRUNC) && before.st_size) record(TRUNCATE, after.st_ino, 0, NULL, NULL, NULL, 0);
  }
  leave();
  return fd;
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }

ssize_t write(int fd, const void *data, size_t bytes) {
  char path[PATH_MAX];
  uint64_t inode;
  if (ours(fd, path, &inode) != 1) return syscall(SYS_write, fd, data, bytes);
  enter();
  ssize_t done = syscall(SYS_write, fd, data, bytes);
  if (done > 0) record(WRITE, inode, syscall(SYS_lseek, fd, 0, SEEK_CUR) - done, NULL, NULL, data, done);
  leave();
  return done;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
  char path[PATH_MAX];
  uint64_t inode;
  if (ours(fd, path, &inode) != 1) return syscall(SYS_pwrite64, fd, data, bytes, offset);
  enter();
  ssize_t done = syscall(SYS_pwrite64, fd, data, bytes, offset);
  if (done > 0) record(WRITE, inode, offset, NULL, NULL, data, done);
  leave();
  return done;
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }

int ftruncate64(int fd, off64_t size) {
  char path[PATH_MAX];
  uint64_t inode;
  if (ours(fd, path, &inode) != 1) return syscall(SYS_ftruncate, fd, size);
  enter();
  int done = syscall(SYS_ftruncate, fd, size);
  if (!done) record(TRUNCATE, inode, size, NULL, NULL, NULL, 0);
  leave();
  return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, long call) {
  char path[PATH_MAX];
  uint64_t inode;
  int kind = ours(fd, path, &inode);
  if (!kind) return syscall(call, fd);
  enter();
  int done = syscall(call, fd);
  if (!done) record(kind == 1 ? SYNC : SYNC_FOLDER, inode, 0, path, NULL, NULL, 0);
  leave();
  return done;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int named(int what, int folder, const char *name, int folder2, const char *name2, int flags) {
  char path[PATH_MAX], path2[PATH_MAX];
  struct stat status = {0};
  int mine = inside(absolute(folder, name, path)) | (name2 && inside(absolute(folder2, name2, path2)));
  if (mine) enter();
  int error = errno, done;
  if (what == RENAME || what == LINK) fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW);
  errno = error;
  switch (what) {
    case MKDIR: done = syscall(SYS_mkdirat, folder, name, flags); break;
    case RENAME: done = syscall(SYS_renameat2, folder, name, folder2, name2, flags); break;
    case LINK: done = syscall(SYS_linkat, folder, name, folder2, name2, flags); break;
    default: done = syscall(SYS_unlinkat, folder, name, what == RMDIR ? AT_REMOVEDIR : 0);
  }
  if (mine && !done) record(what, status.st_ino, 0, path, name2 ? path2 : NULL, NULL, 0);
  if (mine) leave();
  return done;
}

int mkdir(const char *name, mode_t mode) { return named(MKDIR, AT_FDCWD, name, 0, NULL, mode); }
int mkdirat(int folder, const char *name, mode_t mode) { return named(MKDIR, folder, name, 0, NULL, mode); }
int unlink(const char *name) { return named(UNLINK, AT_FDCWD, name, 0, NULL, 0); }
int rmdir(const char *name) { return named(RMDIR, AT_FDCWD, name, 0, NULL, 0); }
int unlinkat(int folder, const char *name, int flags) {
  return named(flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, name, 0, NULL, 0);
}
int rename(const char *from, const char *to) { return named(RENAME, AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int folder, const char *from, int folder2, const char *to) {
  return named(RENAME, folder, from, folder2, to, 0);
}
int renameat2(int folder, const char *from, int folder2, const char *to, unsigned flags) {
  return named(RENAME, folder, from, folder2, to, flags);
}
int link(const char *from, const char *to) { return named(LINK, AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int folder, const char *from, int folder2, const char *to, int flags) {
  return named(LINK, folder, from, folder2, to, flags);
}
