//! The body of the fuzz target for files of views.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{
    BaseEncoding, Language, Member, PointerFlavour, Record, TypeData, TypeId, TypeKind, TypeSource, TypeTable, Value,
    ViewLimits,
};

use super::ViewFile;
use crate::Engine;
use crate::model::{Format, Object, Parts};

/// Steps of one question; enough to leave every loop by the bound.
const STEPS: usize = 2000;
/// Where the nodes are.
const NODES: u64 = 0x1000;

/// Reads `data` as a file of views and shows a `node` by them: it may not panic, overflow the stack or take long, whatever
/// the file says and whatever is in memory, which the first byte decides.
pub fn fuzz_views(data: &[u8]) {
    let Some((seed, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let Ok(file) = ViewFile::parse("fuzz.natvis", &text) else { return };
    assert!(file.problems.iter().all(|problem| problem.line > 0), "lines are counted from 1");
    let mut engine = Engine::new();
    engine.load_views(file);
    engine.views.step_limit = STEPS;
    let table = TypeTable::new(Box::new(NodeTypes));
    let node = Value::in_memory(table.get(NODE), Va(NODES));
    let mut memory = Invented { seed: *seed };
    let limits = ViewLimits { count: 10, ..ViewLimits::default() };
    // What is shown does not matter here; that it ends does.
    let _ = engine.view_text(&node, &mut memory);
    let _ = engine.view_string(&node, &mut memory);
    let _ = engine.derived_object(&node, &mut memory);
    let far = ViewLimits { start: u64::from(*seed), ..limits };
    let _ = engine.object_parts(&Object::Value(node.clone()), &far, false, &mut memory);
    let _ = engine.view_elements(&node, &limits, &mut memory);
    let parts = engine.object_parts(&Object::Value(node), &limits, false, &mut memory).unwrap_or_default();
    show(&mut engine, &parts, 2, &limits, &mut memory);
}

fn show(engine: &mut Engine, parts: &Parts, depth: usize, limits: &ViewLimits, memory: &mut Invented) {
    let Some(depth) = depth.checked_sub(1) else { return };
    assert!(parts.items.len() as u64 <= limits.count, "no more is given than was asked for");
    for part in &parts.items {
        let format = part.format.as_deref().cloned().unwrap_or_default();
        if let Object::Value(value) = &part.object {
            let _ = Format::text(&format, value, memory);
            let _ = engine.view_text_by(value, format.view.as_deref(), memory);
        }
        let _ = engine.object_label(&part.object, memory);
        let inside = engine.object_parts(&part.object, limits, format.raw, memory).unwrap_or_default();
        show(engine, &inside, depth, limits, memory);
    }
}

const NODE: TypeId = TypeId::new(1);
const INT: TypeId = TypeId::new(2);
const NODE_POINTER: TypeId = TypeId::new(3);
const LONG: TypeId = TypeId::new(4);
const CHAR: TypeId = TypeId::new(5);
const CHAR_POINTER: TypeId = TypeId::new(6);

/// `struct node { int value; node *next, *other; unsigned long count; char *text; };`
struct NodeTypes;

impl TypeSource for NodeTypes {
    fn load(&self, id: TypeId) -> TypeData {
        let member = |name: &str, member_type, offset| Member {
            name: Some(name.to_owned()),
            member_type,
            offset,
            bits: None,
            artificial: false,
        };
        let members = vec![
            member("value", INT, 0),
            member("next", NODE_POINTER, 8),
            member("other", NODE_POINTER, 16),
            member("count", LONG, 24),
            member("text", CHAR_POINTER, 32),
        ];
        let pointer = |target| TypeKind::Pointer { target, flavour: PointerFlavour::Pointer };
        let (name, size, kind) = match id {
            NODE => (Some("node"), 40, TypeKind::Record(Record { members, ..Record::default() })),
            INT => (Some("int"), 4, TypeKind::Base(BaseEncoding::Signed)),
            LONG => (Some("unsigned long"), 8, TypeKind::Base(BaseEncoding::Unsigned)),
            CHAR => (Some("char"), 1, TypeKind::Base(BaseEncoding::SignedChar)),
            NODE_POINTER => (None, 8, pointer(NODE)),
            CHAR_POINTER => (None, 8, pointer(CHAR)),
            _ => return TypeData::default(),
        };
        let name = name.map(str::to_owned);
        TypeData { name, size: Some(size), language: Language::Cpp, kind, ..TypeData::default() }
    }

    fn named(&self, qualified: &str) -> Vec<TypeId> {
        if qualified == "node" { vec![NODE] } else { Vec::new() }
    }
}

/// Memory full of pointers to the nodes of an array, with zeroes and holes.
struct Invented {
    seed: u8,
}

impl MemoryReader for Invented {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        for (offset, byte) in buf.iter_mut().enumerate() {
            let Some(at) = at.0.checked_add(offset as u64) else { return offset };
            let word = (at / 8).wrapping_add(u64::from(self.seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            if word == 0xff {
                return offset;
            }
            let value = if word < 0x20 { 0 } else { NODES + 40 * (word % 8) };
            *byte = value.to_le_bytes()[(at % 8) as usize];
        }
        buf.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(seed: u8, items: &[String]) {
        let mut data = vec![seed];
        data.extend_from_slice(b"<AutoVisualizer><Type Name=\"node\">");
        items.iter().for_each(|item| data.extend_from_slice(item.as_bytes()));
        data.extend_from_slice(b"</Type></AutoVisualizer>");
        fuzz_views(&data);
    }

    fn expression() -> impl Strategy<Value = String> {
        let tokens = prop::collection::vec(prop::sample::select(TOKENS), 1..5);
        let made_up = tokens.prop_map(|tokens| tokens.concat());
        prop_oneof![3 => prop::sample::select(EXPRESSIONS).prop_map(str::to_owned), 1 => made_up]
    }

    fn item() -> impl Strategy<Value = String> {
        let template = prop::sample::select(ITEMS);
        (template, expression(), expression(), expression()).prop_map(|(template, one, two, three)| {
            let text = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            template.replace("ONE", &text(&one)).replace("TWO", &text(&two)).replace("THREE", &text(&three))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn views_made_of_elements(seed: u8, items in prop::collection::vec(item(), 0..6)) {
            let (strings, inside): (Vec<String>, Vec<String>) =
                items.into_iter().partition(|item| OF_TYPE.iter().any(|start| item.starts_with(start)));
            let mut all = strings;
            all.push(format!("<Expand>{}</Expand>", inside.concat()));
            check(seed, &all);
        }

        #[test]
        fn files_made_of_anything(text in ".{0,80}") {
            fuzz_views(text.as_bytes());
        }
    }

    /// Elements that show something of a node show it: the property above would hold of views that are never used.
    #[test]
    fn the_views_of_the_properties_are_used() {
        let mut engine = Engine::new();
        let text = "<AutoVisualizer><Type Name='node'><DisplayString>{value}</DisplayString><Expand><LinkedListItems>\
                    <HeadPointer>next</HeadPointer><NextPointer>next</NextPointer><ValueNode>this</ValueNode>\
                    </LinkedListItems></Expand></Type></AutoVisualizer>";
        engine.load_views(ViewFile::parse("a.natvis", text).unwrap());
        let node = Value::in_memory(TypeTable::new(Box::new(NodeTypes)).get(NODE), Va(NODES));
        let mut memory = Invented { seed: 3 };
        assert!(engine.view_text(&node, &mut memory).is_some_and(|text| text.parse::<i32>().is_ok()));
        let parts = engine.object_parts(&Object::Value(node), &ViewLimits::default(), false, &mut memory).unwrap();
        assert!(!parts.items.is_empty());
    }

    /// Seeds of the fuzz target: each is a file without faults that has a view for the node, with any memory.
    #[test]
    fn seeds_replay() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/views");
        let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(seeds.len() >= 4);
        for path in seeds {
            let mut data = std::fs::read(&path).unwrap();
            let file = ViewFile::parse("seed.natvis", std::str::from_utf8(&data[1..]).unwrap()).unwrap();
            assert!(file.problems.is_empty(), "{}: {:?}", path.display(), file.problems);
            let mut engine = Engine::new();
            engine.load_views(file);
            let node = Value::in_memory(TypeTable::new(Box::new(NodeTypes)).get(NODE), Va(NODES));
            let mut memory = Invented { seed: data[0] };
            let text = engine.view_text(&node, &mut memory);
            let parts = engine.object_parts(&Object::Value(node), &ViewLimits::default(), false, &mut memory).unwrap();
            assert!(text.is_some() || !parts.items.is_empty(), "{}", path.display());
            for seed in 0..16 {
                data[0] = seed;
                fuzz_views(&data);
            }
        }
    }

    /// Elements that stand in a type, and not in what it has inside.
    const OF_TYPE: &[&str] = &["<DisplayString", "<StringView", "<Intrinsic", "<MostDerivedType", "<SmartPointer"];

    const ITEMS: &[&str] = &[
        "<DisplayString Condition=\"ONE\">{TWO} {THREE}</DisplayString>",
        "<DisplayString Optional=\"true\">{ONE}</DisplayString>",
        "<StringView>ONE</StringView>",
        "<MostDerivedType Condition=\"ONE\">TWO</MostDerivedType>",
        "<SmartPointer Usage=\"Full\">ONE</SmartPointer>",
        "<Intrinsic Name=\"f\" ReturnType=\"TWO\" Varargs=\"true\" Expression=\"ONE\"><Parameter Name=\"a\" Type=\"node &amp;\"/></Intrinsic>",
        "<Intrinsic Name=\"f\" Expression=\"ONE\"><Parameter Name=\"a\" Type=\"int\"/></Intrinsic>",
        "<Item Name=\"[ONE]\" Condition=\"TWO\">THREE</Item>",
        "<ExpandedItem Optional=\"true\">ONE</ExpandedItem>",
        "<Synthetic Name=\"s\"><DisplayString>{ONE}</DisplayString><Expand><Item Name=\"i\">TWO</Item></Expand></Synthetic>",
        "<ArrayItems><Size>ONE</Size><ValuePointer>TWO</ValuePointer></ArrayItems>",
        "<ArrayItems><Rank>ONE</Rank><Size>TWO</Size><LowerBound>$i</LowerBound><ValuePointer>THREE</ValuePointer></ArrayItems>",
        "<IndexListItems><Size>ONE</Size><ValueNode>TWO</ValueNode></IndexListItems>",
        "<LinkedListItems><Size>ONE</Size><HeadPointer>TWO</HeadPointer><NextPointer>THREE</NextPointer><ValueNode>value</ValueNode></LinkedListItems>",
        "<LinkedListItems><HeadPointer>next</HeadPointer><NextPointer>ONE</NextPointer><ValueNode Name=\"{TWO}\">THREE</ValueNode></LinkedListItems>",
        "<TreeItems><HeadPointer>ONE</HeadPointer><LeftPointer>next</LeftPointer><RightPointer>other</RightPointer><ValueNode Condition=\"TWO\">THREE</ValueNode></TreeItems>",
        "<CustomListItems><Variable Name=\"v\" InitialValue=\"ONE\"/><Loop><Break Condition=\"TWO\"/><Item>THREE</Item><Exec>v = v->next</Exec></Loop></CustomListItems>",
        "<CustomListItems><Variable Name=\"v\" InitialValue=\"next\"/><Size>ONE</Size><Skip Value=\"n\"><Exec>v = TWO</Exec><Exec>n = n / 2</Exec></Skip><Loop><Item>THREE</Item><Exec>v = v->next</Exec></Loop></CustomListItems>",
        "<CustomListItems><Variable Name=\"v\" InitialValue=\"next\"/><Variable Name=\"i\" InitialValue=\"ONE\"/><Loop><Break Condition=\"TWO\"/><Exec>v = (i++, v++->next)</Exec><Exec>i = --i ? v++->value : i + THREE</Exec><Item>*v</Item></Loop></CustomListItems>",
        "<CustomListItems><Variable Name=\"v\" InitialValue=\"0\"/><Loop Condition=\"ONE\"><If Condition=\"TWO\"><Exec>v++</Exec></If><Else><Item Name=\"{v}\">THREE</Item></Else></Loop></CustomListItems>",
    ];

    const EXPRESSIONS: &[&str] = &[
        "value",
        "next",
        "other",
        "this",
        "*this",
        "next->next",
        "count",
        "count % 10",
        "text",
        "text,s",
        "text,[count]sb",
        "value > 0",
        "next == other",
        "true",
        "$i",
        "f(value)",
        "next->f(1)",
        "f(f)",
        "(node *)count",
        "*next",
        "next,view(a)na",
        "value = 1",
        "value++",
        "strlen(text)",
        "strcmp(text, \"a\")",
        "memcmp(text, next, count % 99)",
        "__findnonnull(next, count)",
        "(node &)*next",
        "(void)value, true",
        "int(value)",
        "!*next",
        "*this + 1",
        "text,mb",
        "value,hr",
        "*(int *)16",
        "1 / 0",
        "sizeof(*this)",
        "this,!",
        "next,5",
        "\"text\"",
    ];

    const TOKENS: &[&str] = &[
        "value",
        "next",
        "->",
        ".",
        "(",
        ")",
        "[",
        "]",
        "*",
        "&",
        "+",
        "-",
        "%",
        " == ",
        "0",
        "1",
        "99999999999",
        "$T1",
        "$i",
        ",x",
        ",[",
        "f(",
        "(node *)",
        "this",
        "{",
        "}",
        "\"",
        "?",
        ":",
        "\u{e9}",
    ];
}
