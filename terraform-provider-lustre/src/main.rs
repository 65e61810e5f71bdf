//! The provider's binary; terraform starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tfplugin_proto::run(&terraform_provider_lustre::OPTIONS, terraform_provider_lustre::Lustre::default)
}
