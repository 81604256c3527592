/* One function for each shape of stack frame that compilers make; main calls them all and no library. */
#include <stdarg.h>
#include <stddef.h>

#define KEEP __attribute__((noinline))

volatile long sink;
volatile int zero;

KEEP long leaf(long a, long b) { return a * 31 + b; }

KEEP long saves_all(long a, long b, long c, long d, long e, long f) {
  long g = leaf(a, b), h = leaf(c, d), i = leaf(e, f), j = leaf(a, f), k = leaf(b, e), l = leaf(c, a);
  sink = g;
  return g + leaf(h, i) + leaf(j, k) + leaf(l, g) + h + i + j + k + l + a;
}

KEEP long with_alloca(long n) {
  char *room = __builtin_alloca(n);
  for (long i = 0; i < n; i++) room[i] = (char)i;
  sink = leaf(room[n / 2], n);
  return room[n - 1];
}

KEEP long realigned(long a) {
  struct { long words[8]; } __attribute__((aligned(64))) block;
  for (int i = 0; i < 8; i++) block.words[i] = leaf(a, i);
  sink = (long)&block;
  return block.words[a & 7];
}

KEEP long realigned_with_alloca(long a, long n) {
  struct { long words[4]; } __attribute__((aligned(64))) block = {{a, n, a, n}};
  char *room = __builtin_alloca(n);
  room[0] = (char)a;
  sink = (long)&block + (long)room;
  return leaf(block.words[a & 3], room[0]);
}

KEEP long varied(int count, ...) {
  va_list list;
  long sum = 0;
  va_start(list, count);
  while (count-- > 0) sum += va_arg(list, long);
  va_end(list);
  return leaf(sum, 1);
}

KEEP long by_table(long a) {
  switch (a) {
    case 0: return leaf(a, 10) + sink;
    case 1: sink = leaf(a, 3); return leaf(sink, a);
    case 2: return leaf(leaf(a, 4), leaf(a, 5)) * a;
    case 3: sink = a; return 7;
    case 4: return leaf(a, 6) - leaf(a, 7);
    case 5: return leaf(a, 8) ^ a;
    case 6: sink += leaf(2, a); return sink;
    default: return a;
  }
}

KEEP long early_exit(long *list, long n) {
  if (list == NULL) return 0;
  long sum = 0;
  for (long i = 0; i < n; i++) sum += leaf(list[i], sum);
  return sum;
}

KEEP long recursive(long n) { return n <= 0 ? leaf(n, 1) : recursive(n - 1) + leaf(n, n); }

KEEP long tail(long a) { return leaf(a + 1, a); }

KEEP long big(long a) {
  volatile char room[9000];
  room[0] = (char)a;
  room[8999] = (char)leaf(a, 2);
  return room[0] + room[8999];
}

KEEP __attribute__((noreturn)) void never(long a) {
  sink = a;
  __builtin_trap();
}

KEEP long checked(long a) {
  if (zero) never(a);
  long result = leaf(a, 3);
  if (result == 12345678) never(leaf(result, 1));
  return result + leaf(result, a);
}

KEEP long by_pointer(long (*function)(long), long a) { return function(a) + 1; }

KEEP long many_arguments(long a, long b, long c, long d, long e, long f, long g, long h, long i) {
  return leaf(a + b + c, d + e + f) + leaf(g, h) + i;
}

int main(void) {
  long list[4] = {1, 2, 3, 4};
  long result = saves_all(1, 2, 3, 4, 5, 6);
  result += with_alloca(40);
  result += realigned(3);
  result += realigned_with_alloca(2, 30);
  result += varied(3, 1L, 2L, 3L);
  for (long i = 0; i < 8; i++) result += by_table(i);
  result += early_exit(NULL, 4) + early_exit(list, 4);
  result += recursive(3) + tail(5) + big(6) + checked(7);
  result += by_pointer(tail, 8) + by_pointer(big, 9);
  result += many_arguments(1, 2, 3, 4, 5, 6, 7, 8, 9);
  sink = result;
  return 0;
}
