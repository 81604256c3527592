//! Standard containers, strings and smart pointers as their authors think of them.
//!
//! A table of views, chosen by the type's name; each walks the library's own members, so that it holds for every layout
//! that keeps their names, and reads memory only. Everything in the debuggee may be garbage (a variable before its
//! constructor ran is): lengths are checked against each other and bounded, walks end at cycles.

mod clocks;
mod cpp;
pub(super) mod erased;
mod iterators;
mod libcxx;
mod libcxx_iterators;
mod libstdcxx;
mod nodes;
pub(super) mod rust;
mod system;
mod tree;

use outpost_base::{MemoryReader, Va};

use super::{Unavailable, Value};
use crate::types::{Language, Type};

/// Elements that a container may state before it counts as garbage.
const LENGTH_LIMIT: u64 = 1 << 40;

/// What a value means, where its type has a view.
#[derive(Clone, Debug)]
pub enum View {
    /// Text.
    Text(TextView),
    /// Elements in order.
    Sequence {
        /// Those that were asked for.
        items: Vec<Value>,
        /// How many there are.
        length: u64,
    },
    /// Keys with values.
    Map {
        /// Those that were asked for.
        entries: Vec<(Value, Value)>,
        /// How many there are.
        length: u64,
    },
    /// A smart pointer.
    Pointer {
        /// What it owns; `None` if it is empty.
        target: Option<Value>,
        /// What else there is to say: counts of references.
        note: Option<String>,
    },
    /// Values of several types, in order (`std::tuple`; Rust's need no view).
    Tuple(Vec<Value>),
    /// A value in a wrapper that adds nothing to see (`std::atomic`, `std::optional`, `Cell`).
    Wrapped(Value),
    /// A wrapper without a value in it, and how that is called.
    Empty(&'static str),
    /// A value in a wrapper with a state of its own (`RefCell`, `Mutex`).
    Noted {
        /// The value.
        inner: Value,
        /// The state: `borrow=2`, `locked, poisoned`.
        note: String,
    },
    /// Bounds of which one or both may be open (Rust's ranges).
    Range {
        /// The first value.
        start: Option<Value>,
        /// Where it ends.
        end: Option<Value>,
        /// Whether that is the last value, and not the first behind it.
        inclusive: bool,
    },
    /// What it says in words (a `Duration`, an address): its members are what it has to open.
    Words(String),
}

/// Text and how it is encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextView {
    /// Where it begins, if it is in memory.
    pub at: Option<Va>,
    /// Leading bytes, as many as were asked for.
    pub bytes: Vec<u8>,
    /// Bytes in one unit of the encoding: 1, 2 or 4.
    pub unit: u8,
    /// Units in all.
    pub length: u64,
}

/// Which part of a container is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewLimits {
    /// First element.
    pub start: u64,
    /// Most elements.
    pub count: u64,
    /// Most units of a text.
    pub text: u64,
}

impl Default for ViewLimits {
    fn default() -> ViewLimits {
        ViewLimits { start: 0, count: 100, text: 1024 }
    }
}

/// Reads a value as the view does.
type ViewReader = fn(&Value, &ViewLimits, &mut dyn MemoryReader) -> Result<View, Unavailable>;

/// What a view gives, known without reading.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ViewKind {
    /// [`View::Text`].
    Text,
    /// [`View::Sequence`] or [`View::Map`].
    Container,
    /// Anything else: one value or none.
    Single,
}

/// One row of the table: names of types that begin so have this view.
struct ViewRule {
    prefix: &'static str,
    kind: ViewKind,
    read: ViewReader,
}

const fn rule(prefix: &'static str, kind: ViewKind, read: ViewReader) -> ViewRule {
    ViewRule { prefix, kind, read }
}

use ViewKind::{Container, Single, Text};

/// Of GCC's library, names without inline namespaces. A template's name ends with its `<`, so that `std::map<` is not
/// `std::mapped`.
const LIBSTDCXX: &[ViewRule] = &[
    rule("std::basic_string<", Text, libstdcxx::string),
    rule("std::basic_string_view<", Text, libstdcxx::string_view),
    rule("std::vector<", Container, libstdcxx::vector),
    rule("std::array<", Container, libstdcxx::array),
    rule("std::span<", Container, libstdcxx::span),
    rule("std::initializer_list<", Container, cpp::initializer_list),
    rule("std::bitset<", Container, cpp::bitset),
    rule("std::deque<", Container, libstdcxx::deque),
    rule("std::list<", Container, libstdcxx::list),
    rule("std::forward_list<", Container, libstdcxx::forward_list),
    rule("std::map<", Container, libstdcxx::map),
    rule("std::multimap<", Container, libstdcxx::map),
    rule("std::set<", Container, libstdcxx::set),
    rule("std::multiset<", Container, libstdcxx::set),
    rule("std::unordered_map<", Container, libstdcxx::hash_map),
    rule("std::unordered_multimap<", Container, libstdcxx::hash_map),
    rule("std::unordered_set<", Container, libstdcxx::hash_set),
    rule("std::unordered_multiset<", Container, libstdcxx::hash_set),
    rule("std::stack<", Single, cpp::adaptor),
    rule("std::queue<", Single, cpp::adaptor),
    rule("std::priority_queue<", Single, cpp::adaptor),
    rule("std::tuple<", Container, libstdcxx::tuple),
    rule("std::unique_ptr<", Single, libstdcxx::unique_pointer),
    rule("std::shared_ptr<", Single, libstdcxx::shared_pointer),
    rule("std::weak_ptr<", Single, libstdcxx::shared_pointer),
    rule("std::reference_wrapper<", Single, libstdcxx::reference),
    rule("std::chrono::duration<", Single, cpp::duration),
    rule("std::chrono::time_point<", Single, cpp::time_point),
    rule("std::optional<", Single, libstdcxx::optional),
    rule("std::variant<", Single, libstdcxx::variant),
    rule("std::atomic<", Single, cpp::atomic),
    rule("std::expected<", Single, system::expected),
    rule("std::monostate", Single, system::monostate),
    rule("std::valarray<", Container, libstdcxx::valarray),
    rule("std::complex<", Single, system::complex),
    rule("std::mutex", Single, system::mutex),
    rule("std::recursive_mutex", Single, system::mutex),
    rule("std::timed_mutex", Single, system::mutex),
    rule("std::recursive_timed_mutex", Single, system::mutex),
    rule("std::shared_mutex", Single, system::shared_mutex),
    rule("std::shared_timed_mutex", Single, system::shared_mutex),
    rule("std::unique_lock<", Single, system::lock),
    rule("std::shared_lock<", Single, system::lock),
    rule("std::atomic_flag", Single, system::atomic_flag),
    rule("std::source_location", Single, system::source_location),
    rule("std::chrono::year_month_day", Single, clocks::date),
    rule("std::chrono::weekday", Single, clocks::weekday),
    rule("__gnu_cxx::__normal_iterator<", Single, iterators::normal),
    rule("std::_Deque_iterator<", Single, iterators::deque),
    rule("std::_List_iterator<", Single, iterators::list),
    rule("std::_List_const_iterator<", Single, iterators::list),
    rule("std::_Fwd_list_iterator<", Single, iterators::forward_list),
    rule("std::_Fwd_list_const_iterator<", Single, iterators::forward_list),
    rule("std::_Rb_tree_iterator<", Single, iterators::tree),
    rule("std::_Rb_tree_const_iterator<", Single, iterators::tree),
    rule("std::__detail::_Node_iterator<", Single, iterators::hash),
    rule("std::__detail::_Node_const_iterator<", Single, iterators::hash),
    rule("std::reverse_iterator<", Single, iterators::reverse),
    rule("std::_Bit_iterator", Single, iterators::flag),
    rule("std::_Bit_const_iterator", Single, iterators::flag),
    rule("std::_Bit_reference", Single, iterators::flag_reference),
    rule("std::any", Single, erased::holder),
    rule("std::function<", Single, erased::holder),
    rule("std::filesystem::path", Single, libstdcxx::path),
    rule("std::filesystem::__cxx11::path", Single, libstdcxx::path),
];

/// Of LLVM's library.
const LIBCXX: &[ViewRule] = &[
    rule("std::basic_string<", Text, libcxx::string),
    rule("std::basic_string_view<", Text, libcxx::string_view),
    rule("std::vector<", Container, libcxx::vector),
    rule("std::array<", Container, libcxx::array),
    rule("std::span<", Container, libcxx::span),
    rule("std::bitset<", Container, cpp::bitset),
    rule("std::deque<", Container, libcxx::deque),
    rule("std::list<", Container, libcxx::list),
    rule("std::forward_list<", Container, libcxx::forward_list),
    rule("std::map<", Container, libcxx::map),
    rule("std::multimap<", Container, libcxx::map),
    rule("std::set<", Container, libcxx::set),
    rule("std::multiset<", Container, libcxx::set),
    rule("std::unordered_map<", Container, libcxx::hash_map),
    rule("std::unordered_multimap<", Container, libcxx::hash_map),
    rule("std::unordered_set<", Container, libcxx::hash_set),
    rule("std::unordered_multiset<", Container, libcxx::hash_set),
    rule("std::stack<", Single, cpp::adaptor),
    rule("std::queue<", Single, cpp::adaptor),
    rule("std::priority_queue<", Single, cpp::adaptor),
    rule("std::tuple<", Container, libcxx::tuple),
    rule("std::unique_ptr<", Single, libcxx::unique_pointer),
    rule("std::shared_ptr<", Single, libcxx::shared_pointer),
    rule("std::weak_ptr<", Single, libcxx::shared_pointer),
    rule("std::reference_wrapper<", Single, libcxx::reference),
    rule("std::chrono::duration<", Single, cpp::duration),
    rule("std::chrono::time_point<", Single, cpp::time_point),
    rule("std::optional<", Single, libcxx::optional),
    rule("std::variant<", Single, libcxx::variant),
    rule("std::atomic<", Single, cpp::atomic),
    rule("std::filesystem::path", Single, libcxx::path),
    rule("std::__fs::filesystem::path", Single, libcxx::path),
    rule("std::mutex", Single, system::mutex),
    rule("std::recursive_mutex", Single, system::mutex),
    rule("std::unique_lock<", Single, system::lock),
    rule("std::shared_lock<", Single, system::lock),
    rule("std::monostate", Single, system::monostate),
    rule("std::chrono::year_month_day", Single, clocks::date),
    rule("std::chrono::weekday", Single, clocks::weekday),
    rule("std::valarray<", Container, libcxx::valarray),
    rule("std::__wrap_iter<", Single, libcxx_iterators::wrapped),
    rule("std::__deque_iterator<", Single, libcxx_iterators::deque),
    rule("std::__list_iterator<", Single, libcxx_iterators::list),
    rule("std::__list_const_iterator<", Single, libcxx_iterators::list),
    rule("std::__forward_list_iterator<", Single, libcxx_iterators::forward_list),
    rule("std::__forward_list_const_iterator<", Single, libcxx_iterators::forward_list),
    rule("std::__tree_iterator<", Single, libcxx_iterators::tree),
    rule("std::__tree_const_iterator<", Single, libcxx_iterators::tree),
    rule("std::__map_iterator<", Single, libcxx_iterators::of_map),
    rule("std::__map_const_iterator<", Single, libcxx_iterators::of_map),
    rule("std::__hash_iterator<", Single, libcxx_iterators::hash),
    rule("std::__hash_const_iterator<", Single, libcxx_iterators::hash),
    rule("std::__hash_map_iterator<", Single, libcxx_iterators::of_map),
    rule("std::__hash_map_const_iterator<", Single, libcxx_iterators::of_map),
    rule("std::__bit_iterator<", Single, libcxx_iterators::flag),
    rule("std::__bit_reference<", Single, libcxx_iterators::flag),
    rule("std::reverse_iterator<", Single, libcxx_iterators::reverse),
    rule("std::any", Single, erased::libcxx_any),
    rule("std::function<", Single, erased::libcxx_function),
];

/// Inline namespaces of LLVM's library: its own, that of Android's, that of Chromium's.
const LIBCXX_NAMESPACES: [&str; 3] = ["std::__1::", "std::__ndk1::", "std::__Cr::"];

impl Value {
    /// What the value means, if its type has a view; `None` for all other types, which are shown by their members.
    ///
    /// # Errors
    /// Inside: why the container could not be read. Callers then show the members.
    pub fn view(&self, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Option<Result<View, Unavailable>> {
        let resolved = self.value_type().resolved();
        let (_, read) = find(&resolved)?;
        Some(read(&self.cast(resolved), limits, memory))
    }
}

impl Value {
    /// What a smart pointer leads to, or an optional value has in it, by the view of its type; `None` for all other values.
    ///
    /// # Errors
    /// Inside: that there is nothing, or why it cannot be told.
    pub fn leads_to(&self, memory: &mut dyn MemoryReader) -> Option<Result<Value, Unavailable>> {
        let resolved = self.value_type().resolved();
        let is_optional =
            resolved.qualified_name().starts_with("std::") && resolved.qualified_name().contains("optional<");
        let limits = ViewLimits { count: 0, text: 0, ..ViewLimits::default() };
        match self.view(&limits, memory)? {
            Ok(View::Pointer { target: Some(target), .. }) => Some(Ok(target)),
            Ok(View::Pointer { target: None, .. }) => Some(Err(garbage("it is empty"))),
            Ok(View::Empty("end")) => Some(Err(garbage("it stands behind the last element"))),
            Ok(View::Wrapped(inner)) if is_optional => Some(Ok(inner)),
            Ok(View::Empty(_)) if is_optional => Some(Err(garbage("it is empty"))),
            Ok(_) => None,
            Err(reason) => Some(Err(reason)),
        }
    }
}

impl Type {
    /// The kind of view that values of this type have; `None` if they have none.
    pub fn view_kind(&self) -> Option<ViewKind> {
        find(&self.resolved()).map(|(kind, _)| kind)
    }
}

fn find(resolved: &Type) -> Option<(ViewKind, ViewReader)> {
    let record = resolved.record()?;
    let (rules, name) = match resolved.language() {
        Language::C => return None,
        _ if record.declaration => return None,
        Language::Cpp => cpp_rules(resolved),
        Language::Rust => match rust::by_shape(resolved) {
            Some(found) => return Some(found),
            None => (rust::RULES, resolved.qualified_name()),
        },
    };
    // Of a template the name goes on with its arguments; what goes on otherwise is another type, such as one within it.
    let is_whole = |rule: &ViewRule| resolved.language() == Language::Rust || rule.prefix.ends_with('<');
    let fits = |rule: &&ViewRule| name == rule.prefix || is_whole(rule) && name.starts_with(rule.prefix);
    rules.iter().find(fits).map(|rule| (rule.kind, rule.read))
}

/// The table for a type of C++, and its name there: `std::__cxx11::list<int>` is `std::list<int>`.
fn cpp_rules(of: &Type) -> (&'static [ViewRule], String) {
    let name = of.qualified_name();
    let without = |prefixes: &[&str]| {
        prefixes.iter().find_map(|prefix| name.strip_prefix(prefix).map(|rest| format!("std::{rest}")))
    };
    match without(&LIBCXX_NAMESPACES) {
        Some(name) => (LIBCXX, name),
        None => (LIBSTDCXX, without(&["std::__cxx11::", "std::__debug::", "std::__cxx1998::"]).unwrap_or(name)),
    }
}

fn garbage(problem: &str) -> Unavailable {
    Unavailable::Nonsense { problem: problem.to_owned() }
}

/// The member `name` as a number.
fn number(value: &Value, name: &str, memory: &mut dyn MemoryReader) -> Result<u64, Unavailable> {
    Ok(value.member(name, memory)?.scalar(memory)?.as_u64())
}

/// A number stored anywhere inside under `name`: lengths that a library wraps.
fn number_inside(value: &Value, name: &str, memory: &mut dyn MemoryReader) -> Result<u64, Unavailable> {
    let field = value.value_type().field_inside(name, &|of| !of.is_aggregate()).ok_or(Unavailable::WrongType)?;
    Ok(value.field(&field).scalar(memory)?.as_u64())
}

/// `count` elements of `element` from `at` on, those that `limits` ask for.
fn contiguous(element: &Type, at: Va, length: u64, limits: &ViewLimits) -> Result<View, Unavailable> {
    let size = element.size().ok_or(Unavailable::NoSize)?;
    if length > LENGTH_LIMIT || length.checked_mul(size).and_then(|bytes| at.checked_add(bytes)).is_none() {
        return Err(garbage("length is nonsense"));
    }
    let end = length.min(limits.start.saturating_add(limits.count));
    let items = (limits.start..end).map(|index| Value::in_memory(element.clone(), at + index * size)).collect();
    Ok(View::Sequence { items, length })
}

/// Text of `length` units at `at`.
fn text_at(
    at: Va,
    length: u64,
    unit: u64,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    if length > LENGTH_LIMIT || !matches!(unit, 1 | 2 | 4) {
        return Err(garbage("length is nonsense"));
    }
    let wanted = length.min(limits.text) * unit;
    let mut bytes = vec![0; usize::try_from(wanted).map_err(|_| garbage("length is nonsense"))?];
    if !bytes.is_empty() {
        memory.read_exact(at, &mut bytes).ok_or(Unavailable::Memory { at })?;
    }
    Ok(View::Text(TextView { at: Some(at), bytes, unit: unit as u8, length }))
}
