//! vmalloc against an independent model, on a translation table and TLBs that punish every use before a flush.

mod checks;
mod machine;
mod model;
