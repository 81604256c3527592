//! Both evaluators against a scope of plain data.

use outpost_base::Va;
use outpost_symbols::Unavailable;

use super::test_scope::TestScope;
use super::*;

fn parsed(text: &str, evaluator: Evaluator, radix: Radix, scope: &mut TestScope) -> Result<Expr, ExprError> {
    parse(text, evaluator, radix, &mut ScopeNames(scope))
}

fn masm_in(text: &str, radix: Radix) -> Result<u64, ExprError> {
    let mut scope = TestScope::new();
    let expr = parsed(text, Evaluator::Masm, radix, &mut scope)?;
    evaluate_number(&expr, &mut scope)
}

#[track_caller]
fn masm(text: &str, expected: u64) {
    assert_eq!(masm_in(text, Radix::Hexadecimal), Ok(expected), "{text}");
}

#[track_caller]
fn masm_fails(text: &str, expected: &str) {
    let error = masm_in(text, Radix::Hexadecimal).expect_err(text);
    assert_eq!(error.to_string(), expected, "{text}");
}

fn cpp_in(text: &str, scope: &mut TestScope) -> Result<(String, i128), ExprError> {
    let expr = parsed(text, Evaluator::Cpp, Radix::Hexadecimal, scope)?;
    let value = evaluate_value(&expr, scope)?;
    let number = match value.scalar(scope.memory()) {
        Ok(scalar) => scalar.as_i128(),
        Err(Unavailable::WrongType) => i128::from(value.address().unwrap_or_default().0),
        Err(reason) => return Err(ExprError::Value { name: text.to_owned(), reason }),
    };
    Ok((value.value_type().to_string(), number))
}

/// The type and the number (or address) of a C++ expression.
#[track_caller]
fn cpp(text: &str, expected_type: &str, expected: i128) {
    let value = cpp_in(text, &mut TestScope::new());
    assert_eq!(value, Ok((expected_type.to_owned(), expected)), "{text}");
}

#[track_caller]
fn cpp_fails(text: &str, expected: &str) {
    let error = cpp_in(text, &mut TestScope::new()).expect_err(text);
    assert_eq!(error.to_string(), expected, "{text}");
}

#[test]
fn masm_numbers() {
    masm("10", 0x10);
    masm("0n10", 10);
    masm("0t17", 15);
    masm("0y101", 5);
    masm("0x", 0);
    masm("beef", 0xbeef);
    masm("12h", 0x12);
    masm("00007fff`ffffe010", 0x7fff_ffff_e010);
    masm("'A'", 0x41);
    assert_eq!(masm_in("10", Radix::Decimal), Ok(10));
    assert_eq!(masm_in("10h", Radix::Decimal), Ok(16));
    assert_eq!(masm_in("17", Radix::Octal), Ok(15));
    masm_fails("11111111111111111", "overflow error at '11111111111111111'");
    masm_fails("0n1z", "syntax error at '0n1z'");
}

#[test]
fn cpp_characters_have_the_type_of_their_prefix() {
    cpp("'a'", "char", 97);
    cpp(r"'\n'", "char", 10);
    cpp(r"'\0'", "char", 0);
    cpp(r"'\''", "char", 39);
    cpp(r"'\101'", "char", 65);
    cpp(r"'\x41'", "char", 65);
    cpp(r"'\xff'", "char", -1);
    cpp("'\"'", "char", 34);
    cpp("'ab'", "int", 0x6162);
    cpp(r"'\377\376'", "int", 0xfffe);
    cpp(r"'\xff\1\2\3'", "int", -0xfe_fdfd);
    cpp("'abcd'", "int", 0x6162_6364);
    cpp("L'x'", "wchar_t", 120);
    cpp(r"L'\xffffffff'", "wchar_t", -1);
    cpp("u8'x'", "char8_t", 120);
    cpp("u'é'", "char16_t", 0xe9);
    cpp(r"u'\u20AC'", "char16_t", 0x20ac);
    cpp(r"U'\U0001f600'", "char32_t", 0x1f600);
    cpp(r"U'\u{1f600}'", "char32_t", 0x1f600);
    cpp("b'x'", "u8", 120);
    // Not as in C, to which it is of no use.
    cpp("'é'", "char32_t", 0xe9);
    cpp("'ab' == 0x6162", "bool", 1);
    cpp("1'000'000 + 0xff'ff", "int", 1_065_535);
    masm(r"'\101'", 0x41);
    masm("'ab' + 1", 0x6163);
    cpp_fails("''", "literal error at '''': a character constant needs a character");
    cpp_fails("'a", "numeric expression missing from '''");
    let too_long = "no more than 4 characters fit an int; a text is written in double quotes";
    cpp_fails("'abcde'", &format!("literal error at ''abcde'': {too_long}"));
    cpp_fails("L'ab'", "literal error at 'L'ab'': only a plain constant may have several characters");
    cpp_fails("u8'é'", "literal error at 'u8'é'': the character does not fit one unit; U'x' takes any");
    cpp_fails("u'😀'", "literal error at 'u'😀'': the character does not fit one unit; U'x' takes any");
    cpp_fails("b'é'", "literal error at 'b'é'': bytes are ASCII; others are written \\xNN");
    cpp_fails(r"'\q'", r"literal error at '\q'': no such escape; a backslash is written \\");
    cpp_fails(r"'\x100'", r"literal error at ''\x100'': the number does not fit a character of this type");
    cpp_fails(r"'\x'", r"literal error at '\x'': the hexadecimal digits are missing");
    cpp_fails(r"U'\ud800'", r"literal error at '\ud800'': there is no character of this code");
    cpp_fails(r"U'\U1F600'", r"literal error at '\U1F600'': \u takes 4 hexadecimal digits and \U takes 8");
}

#[test]
fn cpp_texts_have_units_and_a_nul() {
    let bytes = |text: &str| {
        let mut scope = TestScope::new();
        let expr = parsed(text, Evaluator::Cpp, Radix::Hexadecimal, &mut scope)?;
        let value = evaluate_value(&expr, &mut scope)?;
        Ok((value.value_type().to_string(), value.bytes(scope.memory()).unwrap()))
    };
    let check = |text: &str, of: &str, expected: &[u8]| {
        assert_eq!(bytes(text), Ok((of.to_owned(), expected.to_vec())), "{text}");
    };
    check("\"a\\xff\\u00e9\"", "char [5]", b"a\xff\xc3\xa9\0");
    check("u8\"é\"", "char8_t [3]", b"\xc3\xa9\0");
    check("u\"é😀\"", "char16_t [4]", b"\xe9\0\x3d\xd8\x00\xde\0\0");
    check("U\"😀\"", "char32_t [2]", b"\x00\xf6\x01\0\0\0\0\0");
    check("L\"x\"", "wchar_t [2]", b"x\0\0\0\0\0\0\0");
    check("b\"ab\"", "u8 [2]", b"ab");
    check("\"a\" \"b\"", "char [3]", b"ab\0");
    check("\"é\" u\"b\"", "char16_t [3]", b"\xe9\0b\0\0\0");
    check(r#"R"(a\n"b)""#, "char [6]", b"a\\n\"b\0");
    check(r#"R"x(a)")x" "c""#, "char [5]", b"a)\"c\0");
    let fails = |text: &str, expected: &str| {
        let error: ExprError = bytes(text).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    };
    fails("L\"a\" u\"b\"", "literal error at 'u\"b\"': texts of different types cannot be joined");
    fails("R\"(a", "literal error at 'R\"(a': a raw text is written R\"(text)\" or R\"x(text)x\"");
    fails("\"a", "numeric expression missing from '\"'");
    fails(r#""\xabc""#, r#"literal error at '"\xabc"': the number does not fit a character of this type"#);
}

#[test]
fn texts_of_any_encoding_are_compared_by_what_they_say() {
    cpp("n.name == \"worker\"", "bool", 1);
    cpp("n.name == L\"worker\"", "bool", 1);
    cpp("u\"worker\" == n.name", "bool", 1);
    cpp("n.name != U\"work\" \"er\"", "bool", 0);
    cpp("n.name == R\"(workers)\"", "bool", 0);
    cpp("(char16_t *)0x1080 == \"\\u1000\"", "bool", 1);
    cpp("L\"w\" == \"w\"", "bool", 1);
}

#[test]
fn blocks_are_pointers_to_their_types_in_cpp_and_numbers_in_masm() {
    cpp("@$teb", "node *", 0x1000);
    cpp("@$teb->tag", "int", -7);
    cpp("@$teb + 1", "node *", 0x1020);
    cpp("@$teb->next == @$teb", "bool", 1);
    masm("@$teb + 1", 0x1001);
    masm("@@(@$teb->level) + 4", 1);
    cpp("@$peb", "void *", 0x1000);
    cpp("@$peb == 0x1000", "bool", 1);
    cpp_fails("@$peb->tag", "'$peb' is not available: its type is not here");
    let cast = "a pointer to void has no members; cast it, as in ((type *)pointer)->member";
    cpp_fails("((void *)n.next)->tag", &format!("operand error at '->': {cast}"));
}

#[test]
fn masm_operators_by_precedence() {
    masm("1 + 2 * 3", 7);
    masm("(1 + 2) * 3", 9);
    masm("10 - 4 - 2", 0xa);
    masm("1 << 4 + 1", 0x20);
    masm("1 + 1 = 2", 1);
    masm("1 | 2 xor 3 & 2", 1);
    masm("1 or 0 and 2", 1);
    masm("7 mod 4", 3);
    masm("-1 >> 3c", 0xf);
    masm("-1 >>> 3c", u64::MAX);
    masm("5 >= 5 & 4 < 5", 1);
    masm("not 5", 0);
    masm("not not 5", 1);
    masm("hi 12345678", 0x1234);
    masm("low(12345678)", 0x5678);
    masm("-2 + 3", 1);
    masm("f!=e", 1);
    masm_fails("1 / 0", "operand error at '/': division by zero");
    masm_fails("1 +", "numeric expression missing from ''");
    masm_fails("1 ) 2", "syntax error at ') 2'");
}

#[test]
fn masm_memory_and_names() {
    masm("poi(1008)", 0x1000);
    masm("dwo(1000)", 0xffff_fff9);
    masm("by 1000 + 1", 0xfa);
    masm("main", 0x40_1000);
    masm("main+5", 0x40_1005);
    masm("prog!main.cold", 0x40_5000);
    masm("@!\"prog!ns::box<int>::get\"", 0x40_4000);
    masm("ns::box<int>::get + 4", 0x40_4004);
    masm("crate::thing::{closure#0}", 0x40_6000);
    masm("<a::B as c::D<u8>>::method", 0x40_7000);
    masm("4 + prog!<a::B as c::D<u8>>::method", 0x40_7004);
    masm("<fn(i32) -> a::B as c::D>::method", 0x40_8000);
    masm("1 < <a::B as c::D<u8>>::method", 1);
    masm_fails("<a::B as c::D>", "syntax error at '<a::B as c::D>'");
    masm_fails("<a::B>::", "syntax error at '<a::B>::'");
    masm("n", 0x1000);
    masm("poi(p)", 0x1000);
    masm("@rax", 0x1234_5678);
    masm("rax", 0x1234_5678);
    masm("@ax", 0x5678);
    masm("@rsp+8", 0x1088);
    masm("@$ip", 0x40_1000);
    masm("$ip", 0x40_1000);
    masm(".+1", 0x40_1001);
    masm("$t0", 0x77);
    masm("`shop.cpp:10`", 0x40_1010);
    masm_fails("poi(5)", "memory access error at 00000000`00000005");
    masm_fails("nothing", "couldn't resolve error at 'nothing'");
    masm_fails("other!main", "couldn't resolve error at 'other!main'");
    masm_fails("twice", "ambiguous symbol error at 'twice': 2 matches");
    masm_fails("@rqx", "bad register error at 'rqx'");
    masm_fails("i", "'i' is not supported: it is not in memory; @@c++(name) gives its value");
    masm_fails("`shop.cpp:11`", "no code for line 'shop.cpp:11'");
}

#[test]
fn masm_functions_and_switches() {
    masm(r#"$scmp("abc", "abc")"#, 0);
    masm(r#"$scmp("abc", "abd")"#, u64::MAX);
    masm(r#"$sicmp("ABC", @"abc")"#, 0);
    masm(r#"$spat("libfoo.so", "LIB*.so")"#, 1);
    masm("$vvalid(1000, 100)", 1);
    masm("$vvalid(1000, 101)", 0);
    masm("$iment(400000)", 0x40_0040);
    masm("@@(10) + 10", 10 + 0x10);
    masm("@@c++(p->next->tag) & ff", 0xf9);
    masm("@@c++(@@masm(10) + 10)", 26);
    masm_fails("$scmp(1, 2)", "numeric expression missing from ''");
    masm_fails("$pby(10)", "'$pby' is not supported: physical memory needs a kernel target");
}

#[test]
fn a_prefix_ends_before_the_next_argument() {
    let used = |text: &str| parse_prefix(text, Evaluator::Masm, Radix::Hexadecimal, &mut NoNames).map(|(_, used)| used);
    assert_eq!(used("rsp + 8 L4"), Ok(7));
    assert_eq!(used("main \"k; g\""), Ok(4));
    assert_eq!(used("1000,2000"), Ok(4));
    assert_eq!(used("`f.c:3`;g"), Ok(7));
}

#[test]
fn all_places_of_a_symbol_or_line() {
    let mut scope = TestScope::new();
    let mut places = |text: &str| {
        let expr = parsed(text, Evaluator::Masm, Radix::Hexadecimal, &mut scope).unwrap();
        evaluate_addresses(&expr, &mut scope).unwrap()
    };
    assert_eq!(places("twice"), [Va(0x40_2000), Va(0x40_3000)]);
    assert_eq!(places("`shop.cpp:0xa`"), [Va(0x40_1010), Va(0x40_2010)]);
    assert_eq!(places("main+1"), [Va(0x40_1001)]);
}

#[test]
fn cpp_literals_and_arithmetic() {
    cpp("10", "int", 10);
    cpp("0x10", "int", 16);
    cpp("010", "int", 8);
    cpp("0xffffffff", "unsigned int", 0xffff_ffff);
    cpp("4294967296", "long", 1 << 32);
    cpp("5ul", "unsigned long", 5);
    cpp("'a' + 1", "int", 98);
    cpp("7 / 2 * 2", "int", 6);
    cpp("-7 % 3", "int", -1);
    cpp("1.5 * 2", "double", 3);
    cpp("1e3f", "float", 1000);
    cpp("0x1p3", "double", 8);
    cpp("0x.8p1f + 0x1.8P+1", "double", 4);
    cpp("0x1p-1074 * 0x1p1000 * 0x1p74", "double", 1);
    cpp("0x3fffffffffffff8p-4 == 18014398509481983.5", "bool", 1);
    cpp("0x100000000000000000000p-80", "double", 1);
    cpp("0x0.00000000000000000000000000001p112 * 16", "double", 1);
    cpp("0x1p99999999999999999999 > 1e308", "bool", 1);
    cpp_fails("0x1p", "syntax error at '0x1p'");
    cpp("~0u", "unsigned int", 0xffff_ffff);
    cpp("-1 < 1u", "bool", 0);
    cpp("2147483647 + 1", "int", i128::from(i32::MIN));
    cpp("1 ? 2 : 3", "int", 2);
    cpp("0 && 1 / 0", "bool", 0);
    cpp("(1, 2)", "int", 2);
    cpp("true || false", "bool", 1);
    cpp("3 as u8 + 1", "int", 4);
    cpp_fails("1 / 0", "operand error at '/': division by zero");
    cpp_fails("new int", "'new' is not supported: expressions run no code of the program");
    cpp_fails("main(1)", "'main' is not supported: expressions call no functions here");
}

#[test]
fn cpp_members_pointers_and_arrays() {
    cpp("n.tag", "int", -7);
    cpp("p->next", "node *", 0x1000);
    cpp("p->next->next->tag", "int", -7);
    cpp("(*p).tag", "int", -7);
    cpp("p->base::tag", "int", -7);
    cpp("n.values[1]", "short", 2);
    cpp("n.values[2] + 1", "int", 0);
    cpp("*n.values", "short", 1);
    cpp("&n.values[1]", "short *", 0x1012);
    cpp("*(&n.values[0] + 1)", "short", 2);
    cpp("&n.values[2] - &n.values[0]", "long", 2);
    cpp("n.flags", "unsigned int", 5);
    cpp("n.level", "int", -3);
    cpp("&p", "node **", 0x1080);
    cpp("p == &n", "bool", 1);
    cpp("p[1].tag", "int", 0);
    cpp("n.name[0]", "const char", i128::from(b'w'));
    cpp("n.name == \"worker\"", "bool", 1);
    cpp("n.name != \"waiter\"", "bool", 1);
    cpp("i", "int", -2);
    cpp_fails("n.nothing", "cannot find member 'nothing' in node");
    cpp_fails("&n.flags", "operand error at '&': a bit field has no address");
    cpp_fails("*5", "operand error at '*': the operand is no pointer");
    cpp_fails("q", "couldn't resolve error at 'q'");
}

#[test]
fn cpp_casts_and_types() {
    cpp("(char)0x141", "char", 0x41);
    cpp("(unsigned char)-1", "unsigned char", 255);
    cpp("((node *)0x1000)->tag", "int", -7);
    cpp("((struct node *)@rsp)", "node *", 0x1080);
    cpp("(node)0x1000", "node", 0x1000);
    cpp("*(int *)0x1000", "int", -7);
    cpp("*(int *)&n", "int", -7);
    cpp("(ns::word)-1", "ns::word", i128::from(u64::MAX));
    cpp("(*(short(*)[3])&n.values)[1]", "short", 2);
    cpp("((short (*)[3])&n.values)[0][1]", "short", 2);
    cpp("*reinterpret_cast<short(*)[2]>(&n.values)[0]", "short", 1);
    cpp("sizeof(int(*)[3])", "unsigned long", 8);
    cpp("sizeof(int[3])", "unsigned long", 12);
    cpp("sizeof(int(**)[3])", "unsigned long", 8);
    cpp("(short(*)[3])4096", "short (*)[3]", 4096);
    cpp_fails("(unheard(*)[3])0", "unknown type 'unheard (*)[3]'");
    // Pointers to functions, and what is called through them.
    cpp("sizeof(int(*)(int))", "unsigned long", 8);
    cpp("(int (*)(int, char *))4096", "int (*)(int, char *)", 4096);
    cpp("(void(*)(void))4096", "void (*)(void)", 4096);
    cpp("(void(*)())4096", "void (*)(void)", 4096);
    cpp("(char *(*)(node *, ...))4096", "char *(*)(node *, ...)", 4096);
    cpp("(int(**)(double))4096", "int (**)(double)", 4096);
    cpp("(int(*)(int(*)(int)))4096", "int (*)(int (*)(int))", 4096);
    cpp("reinterpret_cast<int(*)(int)>(4096)", "int (*)(int)", 4096);
    cpp_fails("(int(*)(unheard *))0", "unknown type 'unheard *'");
    cpp_fails("(int(*)(int)", "syntax error at ')(int)'");
    cpp_fails("((int(*)(int))4096)(1)", "'int (*)(int)' is not supported: expressions call no functions here");
    cpp_fails("(*p)(1)", "'node' is not supported: expressions call no functions here");
    cpp("reinterpret_cast<node *>(4096)->values[0]", "short", 1);
    cpp("sizeof(node)", "unsigned long", 32);
    cpp("sizeof n.values", "unsigned long", 6);
    cpp("sizeof(long long unsigned int)", "unsigned long", 8);
    cpp("sizeof(box<int>)", "unsigned long", 4);
    cpp("#FIELD_OFFSET(node, name)", "unsigned long", 24);
    cpp("#CONTAINING_RECORD(&n.next, node, next)", "node *", 0x1000);
    cpp("(*const u8)0x1000", "u8 *", 0x1000);
    cpp("0x1000 as *mut node", "node *", 0x1000);
    cpp("(i)-1", "int", -3);
    cpp("(double)1 / 4 * 8", "double", 2);
    cpp_fails("(unheard *)0", "unknown type 'unheard *'");
}

#[test]
fn cpp_registers_and_symbols() {
    cpp("@rax", "unsigned long", 0x1234_5678);
    cpp("@al", "unsigned char", 0x78);
    cpp("@$t0 + 1", "unsigned long", 0x78);
    cpp("@@masm(10)", "unsigned long", 16);
    cpp("(long)&main", "long", 0x40_1000);
    cpp_fails("main + 1", "operand error at 'value': the symbol has no type; cast its address, as in *(int *)&name");
    cpp_fails("@rax = 5", "cannot assign: registers are changed by 'r rax = value'");
}

#[test]
fn cpp_members_of_this() {
    let mut method = TestScope::in_method(true);
    assert_eq!(cpp_in("tag", &mut method), Ok(("int".into(), -7)));
    assert_eq!(cpp_in("(long)&main", &mut method), Ok(("long".into(), 0x40_1000)));
    // Where nothing is known of `this`, only its members are out of reach.
    let mut unknown = TestScope::in_method(false);
    assert_eq!(cpp_in("(long)&main", &mut unknown), Ok(("long".into(), 0x40_1000)));
    assert_eq!(cpp_in("n.tag", &mut unknown), Ok(("int".into(), -7)));
    let error = cpp_in("tag", &mut unknown).unwrap_err();
    assert_eq!(error.to_string(), "'this' is not available: optimized out");
}

#[test]
fn cpp_assignment_reaches_memory() {
    let mut scope = TestScope::new();
    assert_eq!(cpp_in("n.tag = 3", &mut scope), Ok(("int".into(), 3)));
    assert_eq!(cpp_in("n.tag += 4", &mut scope), Ok(("int".into(), 7)));
    assert_eq!(cpp_in("n.tag++", &mut scope), Ok(("int".into(), 7)));
    assert_eq!(
        cpp_in("--n.tag, n.tag", &mut scope).map_err(|e| e.to_string()),
        Err("syntax error at ', n.tag'".into())
    );
    assert_eq!(cpp_in("(--n.tag, n.tag)", &mut scope), Ok(("int".into(), 7)));
    assert_eq!(cpp_in("n.flags = 2", &mut scope), Ok(("unsigned int".into(), 2)));
    assert_eq!(cpp_in("n.level", &mut scope), Ok(("int".into(), -3)), "the neighbour of a bit field stays");
    assert_eq!(cpp_in("p = 0", &mut scope), Ok(("node *".into(), 0)));
    assert!(cpp_in("p->tag", &mut scope).is_err());
    assert!(cpp_in("5 = 6", &mut scope).is_err());
}

#[test]
fn nesting_and_length_are_bounded() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    for evaluator in [Evaluator::Masm, Evaluator::Cpp] {
        assert_eq!(parse(&deep, evaluator, Radix::Hexadecimal, &mut NoNames), Err(ExprError::TooComplex));
        let long = format!("1{}", "+1".repeat(5000));
        assert_eq!(parse(&long, evaluator, Radix::Hexadecimal, &mut NoNames), Err(ExprError::TooComplex));
        let unary = format!("{}1", "-".repeat(5000));
        assert_eq!(parse(&unary, evaluator, Radix::Hexadecimal, &mut NoNames), Err(ExprError::TooComplex));
    }
    // What is just within the bounds fits any thread's stack.
    masm(&format!("0{}", "+1".repeat(255)), 255);
    masm(&format!("{}1{}", "(".repeat(90), ")".repeat(90)), 1);
    cpp(&format!("{}1{}", "(".repeat(30), ")".repeat(30)), "int", 1);
}
