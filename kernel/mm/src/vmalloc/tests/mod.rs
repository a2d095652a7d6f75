//! vmalloc against an independent model, on a translation table and TLBs that punish every use before a flush.

mod checks;
pub(crate) mod machine;
mod model;
