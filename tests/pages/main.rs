//! The programs of the pages do what the pages say. `build.py` builds them as a reader does.

#![cfg(feature = "std")]

mod adapters;
mod cookbook;
mod migrating;
