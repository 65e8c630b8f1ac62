//! Whether a backup is whole is decided by what is in it, and by nothing else.

use super::*;
use crate::ledger::Piece;
