/* Handlers on the thread's stack and on one of their own, one inside the other, over code of all kinds. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

volatile long sink;

__attribute__((noinline)) void stop_here(int number) { sink += number; }

static void on_alternate(int number, siginfo_t *info, void *context) {
  stop_here(number);
  sink += info != NULL && context != NULL;
}

static void on_usr1(int number) {
  stop_here(number);
  raise(SIGUSR2);
  sink++;
}

static void on_fault(int number, siginfo_t *info, void *context) {
  (void)context;
  stop_here(number);
  if (mprotect((void *)((long)info->si_addr & ~4095L), 4096, PROT_READ | PROT_WRITE) != 0) _exit(1);
}

__attribute__((noinline)) long faults_at_once(long *place) { return *place; }

static int compare(const void *left, const void *right) {
  int difference = *(const int *)left - *(const int *)right;
  if (difference == 5) kill(getpid(), SIGUSR2);
  return difference;
}

int main(void) {
  static char room[65536];
  stack_t alternate = {.ss_sp = room, .ss_size = sizeof room};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_handler = on_usr1};
  sigaction(SIGUSR1, &action, NULL);
  action = (struct sigaction){.sa_sigaction = on_alternate, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGUSR2, &action, NULL);
  action = (struct sigaction){.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);

  raise(SIGUSR1);
  long *page = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  sink += faults_at_once(page);
  mprotect(page, 8192, PROT_NONE);
  memset(page, 7, 5000);
  int list[4] = {9, 4, 2, 1};
  qsort(list, 4, sizeof *list, compare);
  return 0;
}
