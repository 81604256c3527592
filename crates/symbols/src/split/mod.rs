//! Split DWARF: units whose descriptions lie in `.dwo` files, or in one package of them (`.dwp`).
//!
//! The program keeps a skeleton of each unit, with its addresses and lines; the rest is found by the id that both have
//! (DWARF 5, 3.1.2 and 7.3.2; before that the GNU extension, gcc.gnu.org/wiki/DebugFission). Everything found is a
//! [`Piece`]. Pieces lie one behind the other in a section of their own ([`crate::DieSection::Split`]), so that a DIE of any of
//! them has one offset, as DIEs of the program itself have. [`survey()`] lays them out when an index is built; the index
//! keeps the layout, and a piece is read again only when a question leads into it.

mod find;
mod fuzz;
mod pieces;
mod survey;

use std::path::PathBuf;
use std::sync::Arc;

use crate::ElfFile;
pub(crate) use find::Origin;
pub use fuzz::{fuzz_dwo, fuzz_dwp};
pub(crate) use pieces::{Piece, PiecePlace, Pieces};
pub(crate) use survey::{Survey, survey};

/// Where a module's split DWARF is looked for.
#[derive(Clone, Debug, Default)]
pub struct SplitFiles {
    /// The package of all `.dwo` files (`.dwp`), if there is one.
    pub package: Option<Arc<ElfFile>>,
    /// Directories for `.dwo` files that are not where the compiler put them, in order.
    pub directories: Vec<PathBuf>,
}
