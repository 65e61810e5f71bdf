//! Files of the collection that are generated from the modules' declarations.

mod spec;

pub use spec::keyword_arguments;
