/* Writes down what a process does to the files of one directory: to be preloaded by a test on Linux with glibc.
 *
 * RECORDER_DIR is the directory, RECORDER_LOG the file to write to. A record is
 *   kind (1 byte) | length of the path (u32) | path | second number (u64) | length of the bytes (u64) | bytes
 * in the order of this machine; replay.rs reads them and says what the kinds mean. One thread is assumed, as the store
 * has it. A record is written after the call has succeeded.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES = 1024, PATH = 4096 };

/* What is open, by descriptor: the path, and whether each write waits for the disk. */
static char paths[FILES][PATH];
static char waits[FILES];
static int log_fd = -1;
static const char *dir;

static void raw(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        long done = syscall(SYS_write, log_fd, at, length);
        if (done <= 0) abort();
        at += done;
        length -= (size_t)done;
    }
}

static void record(char kind, const char *path, uint64_t number, const void *bytes, uint64_t length) {
    uint32_t path_length = (uint32_t)strlen(path);
    raw(&kind, 1);
    raw(&path_length, sizeof path_length);
    raw(path, path_length);
    raw(&number, sizeof number);
    raw(&length, sizeof length);
    raw(bytes, length);
}

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("RECORDER_LOG");
    dir = getenv("RECORDER_DIR");
    if (log != NULL && dir != NULL)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static int is_ours(const char *path) {
    size_t length = log_fd >= 0 ? strlen(dir) : 0;
    return log_fd >= 0 && strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static const char *path_of(int fd) {
    return fd >= 0 && fd < FILES && paths[fd][0] != 0 ? paths[fd] : NULL;
}

static int opened(int fd, const char *path, int flags, int was_there) {
    if (fd < 0 || !is_ours(path)) return fd;
    if (fd >= FILES || strlen(path) >= PATH) abort();
    strcpy(paths[fd], path);
    waits[fd] = (flags & O_DSYNC) != 0;
    if ((flags & O_CREAT) && !was_there) record('c', path, 0, NULL, 0);
    else if (flags & O_TRUNC) record('t', path, 0, NULL, 0);
    return fd;
}

static int do_open(const char *path, int flags, mode_t mode) {
    struct stat found;
    int was_there = is_ours(path) && stat(path, &found) == 0;
    return opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), path, flags, was_there);
}

static mode_t mode_of(int flags, va_list rest) {
    return (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return do_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return do_open(path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FILES) paths[fd][0] = 0;
    return (int)syscall(SYS_close, fd);
}

/* A duplicate writes to the same file. */
int fcntl64(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int result = (int)syscall(SYS_fcntl, fd, command, argument);
    if (result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC) && path_of(fd) != NULL) {
        if (result >= FILES) abort();
        memmove(paths[result], paths[fd], PATH);
        waits[result] = waits[fd];
    }
    return result;
}

static ssize_t wrote(int fd, ssize_t done, const void *bytes, off_t at) {
    const char *path = path_of(fd);
    if (path != NULL && done > 0) record(waits[fd] ? 'W' : 'w', path, (uint64_t)at, bytes, (uint64_t)done);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    off_t at = path_of(fd) != NULL ? lseek(fd, 0, SEEK_CUR) : 0;
    return wrote(fd, syscall(SYS_write, fd, bytes, length), bytes, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return wrote(fd, syscall(SYS_pwrite64, fd, bytes, length, at), bytes, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    return wrote(fd, syscall(SYS_pwrite64, fd, bytes, length, at), bytes, at);
}

/* Each piece is a record of its own: a card may have one and not the other. */
static ssize_t wrote_pieces(int fd, ssize_t done, const struct iovec *pieces, int count, off_t at) {
    ssize_t left = done;
    for (int piece = 0; piece < count && left > 0; piece++) {
        ssize_t length = left < (ssize_t)pieces[piece].iov_len ? left : (ssize_t)pieces[piece].iov_len;
        wrote(fd, length, pieces[piece].iov_base, at);
        at += length;
        left -= length;
    }
    return done;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    off_t at = path_of(fd) != NULL ? lseek(fd, 0, SEEK_CUR) : 0;
    return wrote_pieces(fd, syscall(SYS_writev, fd, pieces, count), pieces, count, at);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at) {
    return wrote_pieces(fd, syscall(SYS_pwritev, fd, pieces, count, at, 0), pieces, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at) {
    return wrote_pieces(fd, syscall(SYS_pwritev, fd, pieces, count, at, 0), pieces, count, at);
}

static int flushed(int fd, int result) {
    if (result == 0 && path_of(fd) != NULL) record('s', paths[fd], 0, NULL, 0);
    return result;
}

int fsync(int fd) { return flushed(fd, (int)syscall(SYS_fsync, fd)); }

int fdatasync(int fd) { return flushed(fd, (int)syscall(SYS_fdatasync, fd)); }

static int cut_off(int fd, off_t length) {
    int result = (int)syscall(SYS_ftruncate, fd, length);
    if (result == 0 && path_of(fd) != NULL) record('t', paths[fd], (uint64_t)length, NULL, 0);
    return result;
}

int ftruncate(int fd, off_t length) { return cut_off(fd, length); }

int ftruncate64(int fd, off64_t length) { return cut_off(fd, length); }

int rename(const char *from, const char *to) {
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0 && is_ours(from)) record('r', from, 0, to, strlen(to));
    return result;
}

int unlink(const char *path) {
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (result == 0 && is_ours(path)) record('u', path, 0, NULL, 0);
    return result;
}

int rmdir(const char *path) {
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    if (result == 0 && is_ours(path)) record('u', path, 0, NULL, 0);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0 && is_ours(path)) record('d', path, 0, NULL, 0);
    return result;
}
