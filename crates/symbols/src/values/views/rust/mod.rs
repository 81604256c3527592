//! Types of Rust's standard library, by the layout that the debug info states.
//!
//! Fields are private to the library and move from release to release, so they are searched for by name and type at any
//! depth; a value in which one is not found is shown by its members. Source: `library` of Rust 1.95, and of the nightly
//! that became 1.97; hashbrown 0.15 and 0.17. What debug info does not tell, the meaning of a lock's or a `Once`'s number,
//! says where it is from.

mod cells;
mod dynamic;
mod errors;
mod hash;
mod locks;
mod plain;
mod pointers;
mod sequences;
mod texts;
mod tree;

use outpost_base::{MemoryReader, Va};

pub(in crate::values) use dynamic::{TraitObject, trait_object};

use super::{Container, Single, Text, View, ViewKind, ViewLimits, ViewReader, ViewRule, contiguous, rule};
use super::{garbage, number, number_inside, text_at};
use crate::types::{Field, Type};
use crate::{Unavailable, Value};

/// How deep members of members are searched, and how many types in all.
const DEPTH_LIMIT: usize = 16;
const SEARCH_LIMIT: usize = 256;
/// Most nodes of a list or elements of a tree that are walked over.
const NODE_LIMIT: u64 = 1 << 20;

pub(super) const RULES: &[ViewRule] = &[
    rule("alloc::string::String", Text, texts::string),
    rule("std::ffi::os_str::OsString", Text, texts::os_string),
    rule("std::path::PathBuf", Text, texts::os_string),
    rule("alloc::ffi::c_str::CString", Text, texts::c_string),
    rule("alloc::vec::Vec<", Container, sequences::vector),
    rule("alloc::collections::vec_deque::VecDeque<", Container, sequences::deque),
    rule("alloc::collections::binary_heap::BinaryHeap<", Container, sequences::heap),
    rule("alloc::collections::linked_list::LinkedList<", Container, sequences::list),
    rule("alloc::collections::btree::map::BTreeMap<", Container, tree::map),
    rule("alloc::collections::btree::set::BTreeSet<", Container, tree::set),
    rule("std::collections::hash::map::HashMap<", Container, hash::map),
    rule("std::collections::hash::set::HashSet<", Container, hash::set),
    // Programs that take the crate itself.
    rule("hashbrown::map::HashMap<", Container, hash::map),
    rule("hashbrown::set::HashSet<", Container, hash::set),
    rule("alloc::rc::Rc<", Single, pointers::counted),
    rule("alloc::rc::Weak<", Single, pointers::counted),
    rule("alloc::sync::Arc<", Single, pointers::counted),
    rule("alloc::sync::Weak<", Single, pointers::counted),
    rule("core::ptr::non_null::NonNull<", Single, pointers::pinned),
    rule("core::ptr::unique::Unique<", Single, pointers::pinned),
    rule("core::pin::Pin<", Single, pointers::pinned),
    rule("core::cell::RefCell<", Single, cells::ref_cell),
    rule("core::cell::Ref<", Single, cells::borrowed),
    rule("core::cell::RefMut<", Single, cells::borrowed),
    rule("core::cell::once::OnceCell<", Single, cells::once),
    rule("core::cell::lazy::LazyCell<", Single, cells::lazy),
    rule("core::cell::Cell<", Single, cells::transparent),
    rule("core::cell::UnsafeCell<", Single, cells::transparent),
    rule("core::cell::SyncUnsafeCell<", Single, cells::transparent),
    rule("core::mem::manually_drop::ManuallyDrop<", Single, cells::transparent),
    rule("core::mem::maybe_dangling::MaybeDangling<", Single, cells::transparent),
    rule("core::mem::maybe_uninit::MaybeUninit<", Single, cells::transparent),
    rule("core::num::wrapping::Wrapping<", Single, cells::transparent),
    rule("core::num::saturating::Saturating<", Single, cells::transparent),
    rule("core::num::nonzero::NonZero<", Single, cells::transparent),
    rule("core::cmp::Reverse<", Single, cells::transparent),
    rule("core::num::niche_types::", Single, cells::newtype),
    rule("core::sync::atomic::Atomic", Single, cells::atomic),
    rule("std::sync::poison::mutex::Mutex<", Single, locks::mutex),
    rule("std::sync::mutex::Mutex<", Single, locks::mutex),
    rule("std::sync::poison::mutex::MutexGuard<", Single, locks::guard),
    rule("std::sync::mutex::MutexGuard<", Single, locks::guard),
    rule("std::sync::poison::rwlock::RwLock<", Single, locks::rw_lock),
    rule("std::sync::rwlock::RwLock<", Single, locks::rw_lock),
    rule("std::sync::poison::rwlock::RwLockReadGuard<", Single, locks::guard),
    rule("std::sync::rwlock::RwLockReadGuard<", Single, locks::guard),
    rule("std::sync::poison::rwlock::RwLockWriteGuard<", Single, locks::guard),
    rule("std::sync::rwlock::RwLockWriteGuard<", Single, locks::guard),
    rule("std::sync::once_lock::OnceLock<", Single, locks::once),
    rule("std::sync::lazy_lock::LazyLock<", Single, locks::once),
    rule("std::io::error::Error", Single, errors::io_error),
    rule("core::slice::iter::Iter<", Container, sequences::iterator),
    rule("core::slice::iter::IterMut<", Container, sequences::iterator),
    rule("alloc::vec::into_iter::IntoIter<", Container, sequences::iterator),
    rule("core::str::iter::Chars", Text, texts::chars),
    rule("core::time::Duration", Single, plain::duration),
    rule("std::time::Instant", Single, plain::instant),
    rule("std::time::SystemTime", Single, plain::system_time),
    rule("core::net::ip_addr::IpAddr", Single, plain::either),
    rule("core::net::ip_addr::Ipv4Addr", Single, plain::ipv4),
    rule("core::net::ip_addr::Ipv6Addr", Single, plain::ipv6),
    rule("core::net::socket_addr::SocketAddrV4", Single, plain::socket_v4),
    rule("core::net::socket_addr::SocketAddrV6", Single, plain::socket_v6),
    rule("core::net::socket_addr::SocketAddr", Single, plain::either),
    rule("core::ops::range::Range<", Single, plain::range),
    rule("core::ops::range::RangeFrom<", Single, plain::range),
    rule("core::ops::range::RangeTo<", Single, plain::range),
    rule("core::ops::range::RangeFull", Single, plain::range),
    rule("core::ops::range::RangeInclusive<", Single, plain::inclusive_range),
    rule("core::ops::range::RangeToInclusive<", Single, plain::inclusive_range),
];

/// Views of types that no name begins: pointers to slices and texts, whoever owns what they point to.
pub(super) fn by_shape(of: &Type) -> Option<(ViewKind, ViewReader)> {
    texts::fat_pointer(of).or_else(|| pointers::counted_slice_kind(of))
}

/// The first data member that `accept` takes by its name and type, anywhere inside: members of members, and of the
/// variants of enums too, which lie in the same bytes.
fn find_inside(of: &Type, accept: &dyn Fn(&str, &Type) -> bool) -> Option<Field> {
    let mut budget = SEARCH_LIMIT;
    find_within(of, accept, 0, DEPTH_LIMIT, &mut budget)
}

fn find_within(
    of: &Type,
    accept: &dyn Fn(&str, &Type) -> bool,
    offset: u64,
    depth: usize,
    budget: &mut usize,
) -> Option<Field> {
    let depth = depth.checked_sub(1)?;
    *budget = budget.checked_sub(1)?;
    let resolved = of.resolved();
    let record = resolved.record()?;
    let variants = record.variants.iter().flat_map(|part| &part.variants).map(|variant| &variant.member);
    let members = || record.members.iter().chain(variants.clone());
    let own = members().map(|member| resolved.field_of(member, offset));
    let own = { own }.find(|field| accept(&field.name, &field.field_type));
    own.or_else(|| {
        members().find_map(|member| {
            let at = offset.checked_add(member.offset)?;
            find_within(&resolved.sibling(member.member_type), accept, at, depth, budget)
        })
    })
}

/// What stands under `name` anywhere inside, if it is a scalar, else its first scalar: numbers that a library wraps in
/// cells and atomics.
fn number_within(value: &Value, name: &str, memory: &mut dyn MemoryReader) -> Result<u64, Unavailable> {
    let is_scalar = |of: &Type| !of.is_aggregate() && of.size() != Some(0);
    let part = find_inside(value.value_type(), &|called, _| called == name).ok_or(Unavailable::WrongType)?;
    let part = value.field(&part);
    if is_scalar(part.value_type()) {
        return Ok(part.scalar(memory)?.as_u64());
    }
    let first = find_inside(part.value_type(), &|_, of| is_scalar(of)).ok_or(Unavailable::WrongType)?;
    Ok(part.field(&first).scalar(memory)?.as_u64())
}

/// The first thin pointer inside: what `NonNull`, `Unique`, `Box` and options of them come to.
fn thin_pointer(of: &Type) -> Option<Field> {
    find_inside(of, &|_, of| of.is_pointer())
}

/// The generic argument `T`.
fn argument(value: &Value) -> Result<Type, Unavailable> {
    value.value_type().template_argument("T", 0).ok_or(Unavailable::WrongType)
}

/// Where the elements end that are asked for.
fn end_of(limits: &ViewLimits, length: u64) -> u64 {
    length.min(limits.start.saturating_add(limits.count)).min(NODE_LIMIT)
}
