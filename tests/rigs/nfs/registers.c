/*
 * Lets User-Mode Linux 6.1 run on processors whose registers take more room than it knows of (those
 * with AMX tiles). It hands the system 2,696 bytes of them, and the system takes all or nothing
 * (EFAULT). So what it hands over is put over the front of all that the process has, and that is
 * written back. Preloaded by tests/rigs/nfs/boot.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

typedef long (*ptrace_function)(int, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...) {
  static ptrace_function system_ptrace;
  if (!system_ptrace) system_ptrace = (ptrace_function)dlsym(RTLD_NEXT, "ptrace");
  va_list arguments;
  va_start(arguments, request);
  pid_t pid = va_arg(arguments, pid_t);
  void *address = va_arg(arguments, void *);
  void *data = va_arg(arguments, void *);
  va_end(arguments);
  long result = system_ptrace(request, pid, address, data);
  if (result != -1 || errno != EFAULT || request != PTRACE_SETREGSET ||
      (long)address != NT_X86_XSTATE)
    return result;
  static __thread unsigned char whole[65536];
  struct iovec all = {whole, sizeof whole};
  struct iovec *given = data;
  if (system_ptrace(PTRACE_GETREGSET, pid, address, &all) == -1 || given->iov_len > all.iov_len) {
    errno = EFAULT;
    return -1;
  }
  memcpy(whole, given->iov_base, given->iov_len);
  return system_ptrace(PTRACE_SETREGSET, pid, address, &all);
}
