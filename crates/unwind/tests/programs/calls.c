/* Calls by ways that have no function of their own: linkage table, resolver, null and wild pointers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

volatile long sink;
void (*volatile null_function)(long, long);

__attribute__((noinline)) long imports(const char *text) {
  long sum = atol(text);
  return sum + labs(sum - 100);
}

__attribute__((noinline)) void calls_null(long first, long second) {
  null_function(first + 1, second);
  sink += second;
}

__attribute__((noinline)) void keeps(long a, long b, long c) {
  sink = a;
  calls_null(b, c);
  sink += a * b * c;
}

int main(int count, char **arguments) {
  (void)arguments;
  sink = imports("12");
  sink += imports("13");
  keeps(count, count + 1, count + 2);
  return 0;
}
