//! What kind of program an ELF file is: enough to tell that it runs on any host of its architecture.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// `e_machine` of the architectures that Lustre servers have, elf(5).
const MACHINES: [(&str, u16); 2] = [("x86_64", 62), ("aarch64", 183)];
/// `PT_INTERP`: the program asks for a dynamic loader.
const INTERPRETER: u32 = 3;

/// Where things stand in a 64-bit ELF file, elf(5): `Elf64_Ehdr`, and in `Elf64_Phdr` only `p_type`, which is first.
mod at {
    pub(super) const CLASS: usize = 4;
    pub(super) const DATA: usize = 5;
    pub(super) const MACHINE: usize = 18;
    pub(super) const PHOFF: usize = 32;
    pub(super) const PHENTSIZE: usize = 54;
    pub(super) const PHNUM: usize = 56;
}

/// Errors unless the file is a program of `arch` that no loader has to complete with libraries of the host.
pub(crate) fn check_is_static(path: &Path, arch: &str) -> anyhow::Result<()> {
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let (machine, is_dynamic) = read(&bytes).with_context(|| format!("{} is no 64-bit ELF program", path.display()))?;
    let Some((_, wanted)) = MACHINES.iter().find(|(name, _)| *name == arch) else {
        bail!("no module programs are built for {arch}; the architectures are x86_64 and aarch64");
    };
    ensure!(machine == *wanted, "{} is for ELF machine {machine}, not for {arch}", path.display());
    ensure!(!is_dynamic, "{} needs a dynamic loader: it would not run on hosts with another libc", path.display());
    Ok(())
}

/// `e_machine`, and whether there is an interpreter.
fn read(bytes: &[u8]) -> Option<(u16, bool)> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    // 64 bits, little-endian.
    if !bytes.starts_with(b"\x7fELF") || bytes.get(at::CLASS) != Some(&2) || bytes.get(at::DATA) != Some(&1) {
        return None;
    }
    let offset = usize::try_from(u64::from_le_bytes(bytes.get(at::PHOFF..at::PHOFF + 8)?.try_into().ok()?)).ok()?;
    let (size, count) = (u16_at(at::PHENTSIZE)?, u16_at(at::PHNUM)?);
    let mut is_dynamic = false;
    for n in 0..usize::from(count) {
        let start = offset.checked_add(n * usize::from(size))?;
        let kind = bytes.get(start..start.checked_add(4)?)?;
        is_dynamic |= kind == INTERPRETER.to_le_bytes();
    }
    Some((u16_at(at::MACHINE)?, is_dynamic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_the_hosts_libraries_is_refused() {
        let own = std::env::current_exe().expect("a test is a program");
        let error = check_is_static(&own, std::env::consts::ARCH).expect_err("tests are linked dynamically");
        assert!(error.to_string().contains("needs a dynamic loader"), "{error}");
        let other = if cfg!(target_arch = "x86_64") { "aarch64" } else { "x86_64" };
        assert!(check_is_static(&own, other).expect_err("another machine").to_string().contains("ELF machine"));
        assert!(check_is_static(Path::new("Cargo.toml"), "x86_64").is_err());
        assert!(check_is_static(&own, "riscv64").is_err());
    }
}
