//! `??` with calls of every kind of argument and result, and of virtual methods: what gdb's `print` says of the same.

use std::path::Path;
use std::process::Command;

use outpost_testkit::{Build, Compiler};

use crate::common::*;

const ARGUMENTS: &str = r#"
#include <complex.h>
#include <stdarg.h>
#include <stdio.h>
#define N __attribute__((noinline, noclone))
struct big { long cells[5]; };
struct odd { char bytes[3]; };
struct wide { long a; double b; };
struct deep { long double x; };
struct pair { long double x, y; };
struct __attribute__((packed)) packed { char c; long l; };
struct floats { float x, y, z; };
struct two { long x, y; };
N long sum10(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j) { return a + 2*b + 3*c + 4*d + 5*e + 6*f + 7*g + 8*h + 9*i + 10*j; }
N double real10(double a, double b, double c, double d, double e, double f, double g, double h, double i, double j) { return a + 2*b + 3*c + 4*d + 5*e + 6*f + 7*g + 8*h + 9*i + 10*j; }
N float real9(float a, float b, float c, float d, float e, float f, float g, float h, float i) { return a - b + c - d + e - f + g - h + 10*i; }
N char chars(char a, short b, int c, unsigned char d, signed char e, _Bool f, char g, short h, unsigned short i) { return a + b + c + d + e + f + g + h + i; }
N long double long_real(long double x, int n, long double y) { return x * n + y; }
N struct big times(struct big b, long by) { for (int i = 0; i < 5; i++) b.cells[i] *= by; return b; }
N long mixed(long a, struct big b, long c, struct odd o, struct wide w) { return a + b.cells[0] + b.cells[4] * 10 + c * 100 + o.bytes[2] * 1000 + w.a * 10000 + (long)w.b * 100000; }
N long squeezed(long a, long b, long c, long d, long e, struct wide w, long f, struct wide v) { return a+b+c+d+e + w.a*10 + (long)w.b*100 + f*1000 + v.a*10000 + (long)v.b*100000; }
N long whole(long a, long b, long c, long d, long e, struct two p, long f) { return a+b+c+d+e + p.x*10 + p.y*100 + f*1000; }
N struct deep deeper(struct deep in) { in.x += 1.5L; return in; }
N struct pair paired(struct pair in) { in.x += 1; in.y *= 2; return in; }
N struct packed repacked(struct packed in) { in.l += in.c; return in; }
N struct floats scaled(struct floats in, float by) { in.x *= by; in.y *= by; in.z *= by; return in; }
N double complex turned(double complex a, double b) { return a * b; }
N float complex shifted(float complex a) { return a + 1; }
N long double complex doubled(long double complex a) { return a * 2; }
N __int128 product(__int128 a, long b) { return a * b; }
N long low(long a, long b, long c, long d, long e, __int128 f, long g, __int128 h) { return a + b + c + d + e + (long)f * 10 + g * 100 + (long)(h >> 64) * 1000; }
N int text(const char *format, ...) { static char all[200]; va_list list; va_start(list, format); int n = vsnprintf(all, 200, format, list); va_end(list); return n; }
struct big B = {{1, 2, 3, 4, 5}}; struct odd O = {{7, 8, 9}}; struct wide W = {3, 4.5}; struct deep L = {2.5L}; struct pair P = {1.25L, 3.5L};
struct packed K = {5, 1000}; struct floats F = {1, 2, 3}; struct two T = {6, 7}; __int128 big_number = 12345678901234567L, high = (__int128)9 << 64;
double complex C; float complex CF; long double complex CL; long double real = 2.25L; volatile long three = 3;
N void stop(void) { __asm__ volatile("" ::: "memory"); }
int main() {
    C = 1 + 2 * I; CF = 3 + 4 * I; CL = 5 + 6 * I;
    stop();
    // All of them have to be there.
    return (int)(sum10(1,2,3,4,5,6,7,8,9,three) + real10(1,2,3,4,5,6,7,8,9,three) + real9(1,2,3,4,5,6,7,8,three) + chars(1,2,3,4,5,1,7,8,three) + long_real(real,3,1)
        + times(B, three).cells[1] + mixed(three,B,2,O,W) + squeezed(1,2,3,4,5,W,three,W) + whole(1,2,3,4,5,T,three) + deeper(L).x + paired(P).y + repacked(K).l + scaled(F,three).z
        + creal(turned(C,three)) + crealf(shifted(CF)) + creall(doubled(CL)) + product(big_number,three) + low(1,2,3,4,5,big_number,three,high) + text("%d", 1)) == 1;
}
"#;

const CALLS: &[&str] = &[
    "sum10(1,2,3,4,5,6,7,8,9,10)",
    "real10(1,2,3,4,5,6,7,8,9,10)",
    "real9(1,2,3,4,5,6,7,8,9)",
    "chars(1,2,3,4,5,1,7,8,9)",
    "long_real(real, 3, real)",
    "times(B, 3).cells[4]",
    "mixed(1, B, 2, O, W)",
    "squeezed(1,2,3,4,5,W,7,W)",
    "whole(1,2,3,4,5,T,9)",
    "deeper(L).x",
    "paired(P).y",
    "repacked(K).l",
    "scaled(F, 2).z",
    "text(\"%d %d %d %d %d %d %d %d\", 1, 2, 3, 4, 5, 6, 7, 8)",
    "text(\"%g %g %g %g %g %g %g %g %g %g\", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.5)",
];

const METHODS: &str = r#"
struct A { int a = 1; virtual int f() const { return a; } virtual int over(int x) { return x; } virtual int over(double) { return -1; } int plain() { return 10; } virtual ~A() {} };
struct B { int b = 2; virtual int g(int x) { return b * x; } virtual B *self() { return this; } virtual ~B() {} };
struct C : A, B { int c = 3; int f() const override { return a + c * 100; } int g(int x) override { return b * x + c * 1000; } C *self() override { return this; } int plain() { return 20; } int over(int x) override { return 2 * x; } };
struct V { int v = 4; virtual int h(long a, long b, long c, long d, long e, long f, long g) { return v + a + g; } virtual ~V() {} };
struct D : virtual V { int d = 5; int h(long a, long, long, long, long, long, long g) override { return v + d * 10 + a + g * 100; } };
struct E : D { int e = 6; };
namespace { struct Hidden : A { int f() const override { return 77; } }; }
template <class T> struct Some : A { T t = 8; int f() const override { return (int)t + 500; } };
__attribute__((noinline)) void stop() { __asm__ volatile("" ::: "memory"); }
int main(int argc, char **) {
    C c; A *as_a = &c; B *as_b = &c; E e; V *as_v = &e; D *as_d = &e; Hidden hidden; A *as_hidden = &hidden; Some<double> some; A *as_some = &some; A plain; A &reference = c;
    stop();
    return as_a->f() + as_b->g(2) + as_v->h(1,2,3,4,5,6,7) + as_d->h(1,2,3,4,5,6,7) + as_hidden->f() + as_some->f() + plain.f() + reference.over(2) + as_a->over(2.0) + c.plain() + as_a->plain() + as_b->self()->b == argc;
}
"#;

const METHOD_CALLS: &[&str] = &[
    "as_a->f()",
    "as_b->g(2)",
    "as_b->self()->b",
    "as_a->over(5)",
    "as_a->over(2.5)",
    "as_a->plain()",
    "c.plain()",
    "as_v->h(1,2,3,4,5,6,7)",
    "as_d->h(1,2,3,4,5,6,7)",
    "as_hidden->f()",
    "as_some->f()",
    "plain.f()",
    "reference.f()",
    "reference.over(3)",
    "c.g(4)",
];

/// What gdb's `print` says, in the frame that called `stop`.
fn by_gdb(program: &Path, calls: &[&str]) -> Vec<String> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "break stop", "-ex", "run", "-ex", "up"]);
    for call in calls {
        gdb.args(["-ex", &format!("print {call}")]);
    }
    let output = gdb.arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed = text.lines().filter(|line| line.starts_with('$'));
    printed.map(|line| line.split_once(" = ").unwrap().1.split(" '").next().unwrap().to_owned()).collect()
}

fn check(program: &Path, calls: &[&str]) {
    let marked: String = calls.iter().enumerate().map(|(mark, call)| format!(".echo [{mark}]; ?? {call}; ")).collect();
    let output = cdb(program, &format!("g stop; .frame 1; {marked}.echo [end]; q"));
    let expected = by_gdb(program, calls);
    assert_eq!(expected.len(), calls.len(), "{expected:?}");
    for (mark, (call, expected)) in calls.iter().zip(expected).enumerate() {
        // `long 0n385`, `char 0n40 '('`
        let said = part(&output, &mark.to_string()).lines().next().unwrap_or_default();
        let value = said.split(" '").next().unwrap().rsplit(' ').next().unwrap().trim_start_matches("0n");
        assert_eq!(value, expected, "{call}: {said}");
    }
}

#[test]
fn arguments_and_results_go_where_the_convention_says() {
    for flags in ["-g -O0", "-g -O2"] {
        check(&Build::source(Compiler::Gcc, "arguments", ARGUMENTS).flags(flags).path(), CALLS);
    }
}

/// gdb 13 takes what registers hold for numbers of 16 bytes, and prints complex numbers in its own way.
#[test]
fn wide_and_complex_numbers_come_back() {
    let program = Build::source(Compiler::Gcc, "arguments", ARGUMENTS).flags("-g -O2").path();
    let script = "g stop; ?? product(big_number, 3); ?? low(1,2,3,4,5,big_number,7,high); ?? turned(C, 3); ?? shifted(CF); ?? doubled(CL); q";
    let output = cdb(program, script);
    for expected in ["__int128 0n37037036703703701", "long 0n123456789012355385", "3 + 6i", "4 + 4i", "10 + 12i"] {
        assert!(output.contains(expected), "{expected}:\n{output}");
    }
}

#[test]
fn virtual_methods_are_those_of_the_object() {
    for flags in ["-g -O0", "-g -O0 -gdwarf-4"] {
        check(&Build::source(Compiler::Gxx, "methods", METHODS).flags(flags).path(), METHOD_CALLS);
    }
}

/// Of most methods of std::string the library has the code, and the program what they take and return.
#[test]
fn methods_without_debug_info_have_the_type_that_their_class_declares() {
    const TEXT: &str = r#"
#include <cstdio>
#include <string>
__attribute__((noinline)) void show(const std::string &text) { std::puts(text.c_str()); }
int main() {
    std::string text = "a text that is too long for the object";
    show(text);
    return (int)(text.length() + text.find("x", 0) + text.capacity());
}
"#;
    let program = Build::source(Compiler::Gxx, "text", TEXT).flags("-g -O0").path();
    let script = "bp text!show; g; .echo [1]; ?? text.length(); ?? (int)text.length() - 1; ?? text.c_str(); ?? text.length() > 5; \
                  .echo [2]";
    let output = cdb(&program, script);
    let lines: Vec<&str> = part(&output, "1").trim().lines().collect();
    assert!(lines[0].ends_with("size_type 0x26") || lines[0] == "unsigned long 0x26", "{output}");
    assert_eq!(lines[1], "int 0n37", "{output}");
    assert!(lines[2].ends_with("\"a text that is too long for the object\""), "{output}");
    assert_eq!(lines[3], "bool true", "{output}");
}
