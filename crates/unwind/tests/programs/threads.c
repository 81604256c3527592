/* Threads that wait in the kernel by all the usual means, and one deep in recursion. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t never;
static int pipes[2];
volatile long sink;

__attribute__((noinline)) void stop_here(void) { sink++; }

static void *in_poll(void *unused) {
  struct pollfd poll_for = {.fd = pipes[0], .events = POLLIN};
  poll(&poll_for, 1, -1);
  return unused;
}
static void *in_read(void *unused) {
  char byte;
  if (read(pipes[0], &byte, 1) < 0) sink++;
  return unused;
}
static void *in_condition(void *unused) {
  pthread_mutex_lock(&mutex);
  pthread_cond_wait(&condition, &mutex);
  pthread_mutex_unlock(&mutex);
  return unused;
}
static void *in_semaphore(void *unused) {
  sem_wait(&never);
  return unused;
}
static void *in_sleep(void *unused) {
  struct timespec time = {.tv_sec = 100};
  nanosleep(&time, NULL);
  return unused;
}
__attribute__((noinline)) static long recurse(long depth) {
  char room[16];
  memset(room, (int)depth, sizeof room);
  if (depth == 0) {
    pause();
    return room[3];
  }
  return recurse(depth - 1) + room[depth & 15];
}
static void *in_recursion(void *depth) {
  sink = recurse((long)depth);
  return NULL;
}

int main(void) {
  void *(*const starts[])(void *) = {in_poll, in_read, in_condition, in_semaphore, in_sleep, in_recursion};
  sem_init(&never, 0, 0);
  if (pipe(pipes) != 0) return 1;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 4 << 20);
  for (int at = 0; at < 6; at++) {
    pthread_t thread;
    pthread_create(&thread, &attributes, starts[at], (void *)10000L);
  }
  usleep(300000);
  stop_here();
  return 0;
}
