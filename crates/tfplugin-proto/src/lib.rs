//! The Terraform plugin protocol for providers: all that isn't about what the provider manages.
//!
//! A provider implements [`Provider`], [`Resource`], [`DataSource`] and [`Function`], and its `main` is
//!
//! ```no_run
//! # struct Example;
//! # #[tfplugin_proto::async_trait]
//! # impl tfplugin_proto::Provider for Example {
//! #     fn schema(&self) -> tfplugin_proto::Schema { tfplugin_proto::Schema::default() }
//! #     async fn configure(&self, _: &tfplugin_proto::Value, _: &mut tfplugin_proto::Diagnostics) {}
//! # }
//! fn main() -> std::process::ExitCode {
//!     let options = tfplugin_proto::Options { address: "registry.terraform.io/example/example", version: "1.0.0" };
//!     tfplugin_proto::run(&options, || Example)
//! }
//! ```
//!
//! Served is protocol 6 as of its minor version 8 (Terraform 1.11), without ephemeral resources and moves between
//! types; what isn't served answers UNIMPLEMENTED, which every terraform takes for "has none".
//!
//! Invariants, kept whatever a provider does: values are written by schema; a failed create leaves nothing in state, so
//! nothing is ever tainted by us; the only client is the terraform that started the process (certificate pinned); the
//! process ends when that terraform ends.
//!
//! `proto/` was written from the protocol's facts (names, numbers, types); `cargo xtask proto` generates
//! `src/generated` from it.

pub mod diagnostics;
pub mod docs;
pub mod framework;
pub mod fuzz;
pub mod goplugin;
mod hclog;
pub mod rules;
pub mod schema;
pub mod server;
pub mod ty;
pub mod value;

pub use diagnostics::{Diagnostic, Diagnostics, Path, Severity};
pub use framework::{
    DataSource, Function, FunctionError, Listed, Parameter, Plan, PlanKind, Provider, Resource, Signature, async_trait,
};
pub use goplugin::{Options, run};
pub use schema::{Attribute, Block, Mode, Schema, Shape};
pub use ty::Type;
pub use value::{Arg, Number, Value};

/// The messages and services of the protocol, generated.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod proto {
    // include! and not mod: rustfmt would reformat what `cargo xtask proto --check` compares.
    include!("generated/tfplugin6.rs");

    /// go-plugin's own services.
    pub mod plugin {
        include!("generated/plugin.rs");
    }
}
