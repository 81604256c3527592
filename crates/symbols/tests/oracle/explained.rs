//! Why gdb 13 and we are known to differ, and how much was compared.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::{BTreeMap, BTreeSet};

/// How much was compared; a test that compares nothing proves nothing.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) stops: usize,
    pub(crate) frames: usize,
    /// Frames at another instruction or of another function.
    pub(crate) distinct: BTreeSet<(u64, String)>,
    pub(crate) variables: usize,
    /// Types by their spelling, those of members included; of members also the place in the record.
    pub(crate) types: usize,
    /// Values of variables and of their members, elements, and what references refer to.
    pub(crate) parts: usize,
    /// Values that neither has.
    pub(crate) gone: usize,
    pub(crate) differences: Vec<String>,
    /// Differences whose reason is known.
    pub(crate) explained: BTreeMap<Explained, Class>,
}

/// The differences of one reason.
#[derive(Default, Debug)]
pub(crate) struct Class {
    pub(crate) count: usize,
    /// The first that was found.
    pub(crate) example: String,
}

impl Tally {
    /// Counts a difference whose reason is known.
    pub(crate) fn explain(&mut self, why: Explained, example: String) {
        let class = self.explained.entry(why).or_default();
        class.count += 1;
        if class.example.is_empty() {
            class.example = example;
        }
    }

    /// All counts in one line.
    pub(crate) fn summary(&self) -> String {
        let Tally { stops, frames, distinct, variables, types, parts, gone, differences, explained } = self;
        let explained: Vec<String> = explained.iter().map(|(why, class)| format!("{why:?} {}", class.count)).collect();
        format!(
            "{stops} stops, {frames} frames ({} distinct), {variables} variables, {types} types, {parts} values, \
             {gone} gone; {} differences unexplained; explained: {}",
            distinct.len(),
            differences.len(),
            explained.join(", ")
        )
    }

    /// How often it was this reason.
    pub(crate) fn count(&self, why: Explained) -> usize {
        self.explained.get(&why).map_or(0, |class| class.count)
    }
}

/// Why gdb 13 and we are known to differ. Each is claimed only where what it says was seen to hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Explained {
    AbstractBlock,
    EntryOfInlined,
    OriginOfOrigin,
    ComputedTarget,
    CName,
    EnteredAgain,
    Destroyed,
    PastEntry,
    TailCall,
    Alias,
    NoAddress,
    ZeroFill,
    BehindTheEnd,
    OnlyVariant,
    EveryVariant,
    ActiveSize,
    RustPointer,
    TemplateArguments,
    Spelling,
    LocalType,
    NoSize,
    OtherImage,
    NotTold,
}

impl Explained {
    /// Which of the two says what the debug info says.
    pub(crate) fn who_is_right(self) -> &'static str {
        match self {
            Explained::Alias | Explained::TemplateArguments | Explained::Spelling | Explained::LocalType => "both",
            Explained::NoSize | Explained::RustPointer => "both",
            Explained::OtherImage => "gdb",
            Explained::BehindTheEnd => "neither: the debug info is wrong",
            Explained::Destroyed => "we, but for what is said below",
            _ => "we",
        }
    }

    /// What differs, why, and by what it is recognised: it is claimed of no other difference.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Explained::AbstractBlock => {
                "A variable that gdb lists, without a value or of a type without bytes, and we do not list. An inlined function's concrete entry need not \
                 have a block for each block of its abstract entry (DWARF 5, 3.3.8.2). gdb lists the variables of those \
                 blocks, too, as optimised out: a second time where a concrete block has them, or in a scope that was not \
                 entered. We list each variable once, and only where its block covers the address. Recognised by: all that \
                 gdb says of the variable is that it has no value."
            }
            Explained::EntryOfInlined => {
                "Another number in the frame of an inlined function. Its location there is `DW_OP_entry_value`: what a \
                 register was when the function around it was entered, by what the call site in the caller says. gdb 13 \
                 finds the right call site, but works out its expression in the frame around the inlined function in place \
                 of the caller's: `push_dwarf_reg_entry_value` takes the previous frame of the inlined one. Where that \
                 function's own registers hold something else by then, it shows that. Recognised by: the frame is an \
                 inlined function's, and gdb's own `info address` says that the location in force is an entry value. In \
                 `sqlite3Step` the call site says rbx: gdb shows `sqlite3_step`'s, which is the database by then; \
                 `sqlite3_exec`'s is the statement, which `sqlite3Step` passes on."
            }
            Explained::OriginOfOrigin => {
                "A value at entry that gdb does not have. The call site's `DW_AT_call_origin` is an entry without \
                 addresses that refers on to the function by `DW_AT_abstract_origin`, as gcc writes it where it cloned or \
                 linked optimised. gdb looks for addresses in the entry itself (\"DW_AT_call_target is not specified\", says \
                 `set debug entry-values 1`), so it does not know the callee. We follow the reference. Recognised by: that \
                 message."
            }
            Explained::ComputedTarget => {
                "A value at entry that gdb does not have, of a function that was entered by a tail call from one that was \
                 called through a pointer. Which function was called is an expression at the call site. gdb works it out \
                 to see that it is another one (\"expects callee A but the called frame is for B\"), but not to look \
                 for the tail call that leads from A to B (\"DWARF block resolving requires known frame\"), and needs a symbol at \
                 its address (\"failed to find function name\"). We go by the debug info at the address for both, and \
                 use the tail call only if it is the one possible. Recognised by: those messages."
            }
            Explained::CName => {
                "A value at entry that gdb does not have, of a function of C that C++ called. gdb makes the name of the callee \
                 from its declaration, with the types of parameters as C++ spells them, and finds no such symbol: \"Cannot \
                 find function \"usleep(__useconds_t)\" for a call site target\". We take the name as it is declared. \
                 Recognised by: that message."
            }
            Explained::EnteredAgain => {
                "A value at entry that only gdb has, of a function that tail calls lead back to: what its caller passed need not \
                 be what it was entered with last. gdb looks for such a way, too, but leaves out the tail calls of a function \
                 whose list of calls is not said to be complete (`DW_AT_call_all_calls`). Recognised by: we say that this is \
                 the reason."
            }
            Explained::Destroyed => {
                "A variable of a caller is in a register that calls need not preserve (System V ABI, 3.2.1), by a location \
                 list that covers the call. gdb shows what the innermost frame has in the register; we say that this \
                 frame's is not known. Ours is the cautious answer: such ranges end with the call, and the register was \
                 the callee's from then on. gdb's number is right by luck, or where gcc saw that the callee leaves the \
                 register alone (`-fipa-ra`), which we do not make use of. Recognised by: our reason names a register that \
                 is not preserved."
            }
            Explained::PastEntry => {
                "Frames of no function after `_start`, where the kernel began, or `clone3`, where a thread did. gdb takes \
                 what is on the stack there for a return address, having been told to go past entry points. Recognised by: \
                 our last frame is one of these, and gdb knows no function for any of the further ones."
            }
            Explained::TailCall => {
                "A function that ended by a tail call and that gdb has no frame for. gdb gives up where one of the tail calls \
                 that may have followed is to a function whose name, of C++ or of a shared part of debug info (dwz), it \
                 does not find a symbol for, or that has no debug info; such a function's image is another one, or it is \
                 found by its entry. It does not read at all where tail calls of clang's are (`DW_AT_call_pc` in place of \
                 `DW_AT_call_return_pc`). Recognised by: the instructions of the function itself and of the one outside it \
                 are calls or jumps that lead to where they should."
            }
            Explained::Alias => {
                "A function of the C library that has several names, `__clone3` and `clone3`, `memcpy` and `memmove` \
                 of one kind of processor: for assembler's code the debug info has an entry for each. Recognised by: the \
                 names are the same without the prefixes of aliases, and with `memmove` for `memcpy`."
            }
            Explained::NoAddress => {
                "A Rust value with an enum in it that is in registers or pieces, or optimised out. gdb 13 works out the type \
                 anew for each value and reads the discriminant in memory; where there is no address it takes 0, and fails: \
                 \"Cannot access memory at address 0x8\". We take the discriminant from where the value is. Recognised by: \
                 that message about an address within a value at 0, for a value that has no address."
            }
            Explained::ZeroFill => {
                "A 0 for a part of a value that no piece of its location tells. rustc's locations end with the last piece \
                 that is known (`DW_OP_reg5; DW_OP_piece: 4` for eight bytes). gdb fills the rest with zeros; we say that it \
                 is optimised out. Recognised by: gdb's number is 0."
            }
            Explained::BehindTheEnd => {
                "A number for a member of a value that is not available. rustc describes items of functions in iterators \
                 (`Map<Range<u32>, fn(u32) -> u64>`), which have no bytes, as pointers of eight, behind the end of their \
                 record. Recognised by: the member's end is above the record's size."
            }
            Explained::OnlyVariant => {
                "Another variant of a Rust enum of which only one can exist (`Option<Infallible>`, the residual of `?`): its \
                 debug info has no discriminant. gdb takes the first variant; we take the one whose payload can exist. \
                 Recognised by: the enum has no discriminant."
            }
            Explained::EveryVariant => {
                "Further variants of a Rust enum. Where a value has no address, gdb cannot tell which variant is active \
                 (as above) and lists the members of all. We show the active one. Recognised by: the value has no address, \
                 and the variant is not the one that the discriminant names."
            }
            Explained::ActiveSize => {
                "A smaller size. gdb gives a Rust struct that ends with an enum the size up to the end of the active \
                 variant; ours is the declared one. Recognised by: ours is what gdb says of the symbol's type."
            }
            Explained::RustPointer => {
                "gdb calls all of Rust's pointers `*mut T`: `&T`, `&mut T`, `*const T`, `Box<T>`. We use their names in the \
                 debug info. Recognised by: that prefix, and the size of a pointer."
            }
            Explained::TemplateArguments => {
                "Template arguments, which gdb spells anew (`int const` for `const int`, `5ul` for `5`, defaults). \
                 Recognised by: without what is in angle brackets the two are the same."
            }
            Explained::Spelling => {
                "gdb has two spellings of 128-bit integers, none for the arguments of functions without a prototype, no blank \
                 before the brackets of constant pointers or `&`, and writes `this` in types of methods. Recognised by: just these."
            }
            Explained::LocalType => {
                "gdb leaves out the function that a type or lambda is local to. Recognised by: ours ends with gdb's, after `::`."
            }
            Explained::NoSize => {
                "A type without a size: only declared, or `nullptr_t`. gdb gives it 0 bytes or a pointer's; we give none. \
                 Recognised by: the kind of type."
            }
            Explained::OtherImage => {
                "Members of a type that its image only declares, and another image defines. gdb looks for it in all images; we \
                 look in the image alone (docs/limits.md) and show `<incomplete type>`. Recognised by: our type is a \
                 declaration without a definition."
            }
            Explained::NotTold => {
                "gdb gave an error in place of the value, which is no difference in what is shown but one in what can be. \
                 The example has gdb's words."
            }
        }
    }
}
