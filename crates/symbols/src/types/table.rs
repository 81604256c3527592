//! Where types live: loaded from the debug info when first asked for, kept, and added to by the debugger.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::{ArrayBound, Language, PointerFlavour, Qualifier, Type, TypeData, TypeId, TypeKind};

/// Set in the ids of types that the debugger made; no entry of the debug info has it.
const MADE: u64 = 1 << 63;
/// How many entries that only refer to another are followed.
const ALIAS_LIMIT: usize = 16;

/// Debug info of one format, as a source of types.
///
/// Implementations never fail: what is damaged is a [`TypeKind::Damaged`] with the reason in it.
pub trait TypeSource: Send + Sync {
    /// The type with this id; only ids that the source itself gave out are asked for.
    fn load(&self, id: TypeId) -> TypeData;

    /// Types that are called `qualified` (`ns::Name<int>`), definitions only, in any order.
    fn named(&self, qualified: &str) -> Vec<TypeId>;

    /// Functions of this name that a record declares, its bases not counted: how the linker knows each, and its type.
    fn declared_functions(&self, record: TypeId, name: &str) -> Vec<(Option<String>, TypeId)> {
        let _ = (record, name);
        Vec::new()
    }
}

/// All types of one image: those of its debug info, loaded one by one, and those made for casts and slices.
///
/// Shared and filled by any thread. It grows by what is looked at, never by the size of the debug info.
pub struct TypeTable {
    source: Box<dyn TypeSource>,
    loaded: RwLock<HashMap<TypeId, Arc<TypeData>>>,
    made: RwLock<Made>,
    definitions: RwLock<HashMap<TypeId, Option<TypeId>>>,
    void: OnceLock<Arc<TypeData>>,
}

#[derive(Default)]
struct Made {
    types: Vec<Arc<TypeData>>,
    by_key: HashMap<MadeKey, TypeId>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum MadeKey {
    Pointer(TypeId, PointerFlavour),
    Qualified(TypeId, Qualifier),
    Array(TypeId, Vec<Option<u64>>, bool),
    Function(TypeId, Vec<TypeId>, bool),
    /// A number or character of another table, by its name.
    Base(String, Option<u64>),
}

impl TypeTable {
    pub(super) fn declared_functions(&self, record: TypeId, name: &str) -> Vec<(Option<String>, TypeId)> {
        self.source.declared_functions(record, name)
    }

    /// A table over `source`.
    pub fn new(source: Box<dyn TypeSource>) -> Arc<TypeTable> {
        Arc::new(TypeTable {
            source,
            loaded: RwLock::default(),
            made: RwLock::default(),
            definitions: RwLock::default(),
            void: OnceLock::new(),
        })
    }

    /// The type with `id`, which must be of this table.
    pub fn get(self: &Arc<TypeTable>, id: TypeId) -> Type {
        let (mut id, mut data) = (id, self.data(id));
        // An entry that only refers to another (a stub for a type unit) is that other.
        for _ in 0..ALIAS_LIMIT {
            match data.kind {
                TypeKind::Typedef { target } if data.name.is_none() => (id, data) = (target, self.data(target)),
                _ => break,
            }
        }
        Type::new(self.clone(), id, data)
    }

    /// Types that are called `qualified`; definitions only, so that a name declared in many units is found once in each
    /// that defines it.
    pub fn named(self: &Arc<TypeTable>, qualified: &str) -> Vec<Type> {
        self.source.named(qualified).into_iter().map(|id| self.get(id)).collect()
    }

    /// A pointer to `target`.
    pub fn pointer_to(self: &Arc<TypeTable>, target: TypeId) -> Type {
        let kind = TypeKind::Pointer { flavour: PointerFlavour::Pointer, target };
        self.make(MadeKey::Pointer(target, PointerFlavour::Pointer), kind, target)
    }

    /// `target` with a qualifier.
    pub fn qualified(self: &Arc<TypeTable>, target: TypeId, qualifier: Qualifier) -> Type {
        let kind = TypeKind::Qualified { qualifier, target };
        self.make(MadeKey::Qualified(target, qualifier), kind, target)
    }

    /// An array of `element` with these bounds, outermost first. Computed bounds must have been computed: they are
    /// taken as unknown.
    pub fn array_of(self: &Arc<TypeTable>, element: TypeId, bounds: &[ArrayBound]) -> Type {
        self.array(element, bounds, false)
    }

    pub(super) fn array(self: &Arc<TypeTable>, element: TypeId, bounds: &[ArrayBound], vector: bool) -> Type {
        let counts: Vec<Option<u64>> = bounds
            .iter()
            .map(|bound| match bound {
                ArrayBound::Count(count) => Some(*count),
                ArrayBound::Unknown | ArrayBound::Dynamic(_) => None,
            })
            .collect();
        let fixed = counts.iter().map(|count| count.map_or(ArrayBound::Unknown, ArrayBound::Count)).collect();
        let kind = TypeKind::Array { element, bounds: fixed, vector };
        self.make(MadeKey::Array(element, counts, vector), kind, element)
    }

    /// The type of functions that take and return these.
    pub fn function(self: &Arc<TypeTable>, returns: TypeId, parameters: &[TypeId], variadic: bool) -> Type {
        let kind = TypeKind::Function { returns, parameters: parameters.to_vec(), variadic, prototyped: true };
        self.make(MadeKey::Function(returns, parameters.to_vec(), variadic), kind, returns)
    }

    /// A type of maybe another table as one of this table: the one of the same name and size, a copy of a built-in one,
    /// and what is made of such by `*`. `None` if it has none.
    pub fn adopted(self: &Arc<TypeTable>, of: &Type) -> Option<TypeId> {
        if Arc::ptr_eq(self, of.table()) || of.id() == TypeId::VOID {
            return Some(of.id());
        }
        match of.kind() {
            TypeKind::Pointer { flavour: PointerFlavour::Pointer, target } => {
                let target = self.adopted(&of.sibling(*target))?;
                Some(self.pointer_to(target).id())
            }
            TypeKind::Qualified { qualifier, target } => {
                let target = self.adopted(&of.sibling(*target))?;
                Some(self.qualified(target, *qualifier).id())
            }
            kind => {
                let same = |own: &Type| own.size() == of.size();
                let own = self.named(&of.qualified_name()).into_iter().find(same).map(|own| own.id());
                own.or_else(|| matches!(kind, TypeKind::Base(_)).then(|| self.copied(of)))
            }
        }
    }

    /// A copy of a base type, which refers to no other.
    fn copied(&self, of: &Type) -> TypeId {
        let key = MadeKey::Base(of.qualified_name(), of.size());
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&id) = made.by_key.get(&key) {
            return id;
        }
        let id = TypeId(MADE | made.types.len() as u64);
        made.types.push(Arc::new(of.data().clone()));
        made.by_key.insert(key, id);
        id
    }

    /// The definition of a type that `id` only declares, if the image has one.
    pub(super) fn definition(self: &Arc<TypeTable>, declaration: &Type) -> Option<TypeId> {
        let known = self.definitions.read().unwrap_or_else(PoisonError::into_inner).get(&declaration.id()).copied();
        if let Some(known) = known {
            return known;
        }
        // Anonymous declarations cannot be told apart, so nothing may be taken for their definition.
        let found = declaration.data().name.as_ref().and_then(|_| {
            let same_kind = |id: &TypeId| {
                let data = self.data(*id);
                std::mem::discriminant(&data.kind) == std::mem::discriminant(&declaration.data().kind)
                    && !data.kind.is_declaration()
            };
            self.source.named(&declaration.qualified_name()).into_iter().find(same_kind)
        });
        self.definitions.write().unwrap_or_else(PoisonError::into_inner).insert(declaration.id(), found);
        found
    }

    fn data(&self, id: TypeId) -> Arc<TypeData> {
        if id == TypeId::VOID {
            return self.void.get_or_init(Arc::default).clone();
        }
        if id.0 & MADE != 0 {
            let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
            let at = usize::try_from(id.0 & !MADE).unwrap_or(usize::MAX);
            return made.types.get(at).cloned().unwrap_or_else(|| Arc::new(damaged("id of another table")));
        }
        if let Some(data) = self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return data.clone();
        }
        // Loaded outside the lock: two threads may both do it, and the first to finish wins.
        let data = Arc::new(self.source.load(id));
        self.loaded.write().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert(data).clone()
    }

    fn make(self: &Arc<TypeTable>, key: MadeKey, kind: TypeKind, part: TypeId) -> Type {
        let language = self.data(part).language;
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        let id = match made.by_key.get(&key) {
            Some(&id) => id,
            None => {
                let id = TypeId(MADE | made.types.len() as u64);
                made.types.push(Arc::new(TypeData { language, kind, ..TypeData::default() }));
                made.by_key.insert(key, id);
                id
            }
        };
        drop(made);
        self.get(id)
    }
}

impl fmt::Debug for TypeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner).len();
        write!(f, "TypeTable({loaded} loaded)")
    }
}

/// A type whose debug info is unusable for the reason given.
pub(crate) fn damaged(problem: impl Into<String>) -> TypeData {
    TypeData { kind: TypeKind::Damaged { problem: problem.into() }, language: Language::C, ..TypeData::default() }
}
