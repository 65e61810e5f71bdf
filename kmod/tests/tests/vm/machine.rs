//! A virtual machine with Debian's kernel, the module and one program: boots, runs it, and gives its console.
//!
//! QEMU's software emulation is enough: from start to result it takes seconds. The kernel is booted uncompressed
//! (PVH entry), which saves most of the time that emulation would spend on unpacking it.

use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const INSTALL: &str = "install with: apt-get install linux-image-amd64 linux-headers-amd64 qemu-system-x86 busybox-static cpio \
                       gcc make (tools/setup --kmod does)";
/// What the guest writes to the exit device when all is well; QEMU exits with twice that and one.
const PASS: u8 = 0x2a;
/// Lines of a kernel log that must not be there.
const COMPLAINTS: [&str; 8] =
    ["BUG:", "WARNING:", "Oops", "Call Trace", "INFO: possible", "refcount_t:", "general protection", "Kernel panic"];

/// What a machine is made of.
pub(crate) struct Machine {
    kernel: Kernel,
    dir: tempfile::TempDir,
    files: Vec<(String, PathBuf, bool)>,
}

struct Kernel {
    version: String,
    headers: PathBuf,
    image: Image,
}

/// What QEMU boots.
enum Image {
    /// A distribution's, of which the ELF kernel is taken out first.
    Packed(PathBuf),
    /// As it is.
    Bare(PathBuf),
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("can't run {command:?}; {INSTALL}"))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {text}");
    Ok(text)
}

/// A kernel's build tree to test in instead of Debian's kernel: kmod/tests/kasan sets it.
const TREE: &str = "KMOD_KERNEL_TREE";

/// The newest kernel of which both the image and the headers are here.
fn kernel() -> Result<Kernel> {
    if let Some(tree) = std::env::var_os(TREE).map(PathBuf::from) {
        // A kernel with KASAN does not start at the PVH entry, so it is booted packed.
        let image = Image::Bare(tree.join("arch/x86/boot/bzImage"));
        return Ok(Kernel { version: TREE.to_owned(), headers: tree, image });
    }
    let mut found: Vec<Kernel> = fs::read_dir("/boot")
        .context(INSTALL)?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let version = name.strip_prefix("vmlinuz-")?.to_owned();
            let headers = PathBuf::from(format!("/usr/src/linux-headers-{version}"));
            let image = Image::Packed(Path::new("/boot").join(&name));
            headers.exists().then_some(Kernel { version, headers, image })
        })
        .collect();
    found.sort_by(|a, b| a.version.cmp(&b.version));
    found.pop().with_context(|| format!("no kernel image in /boot has its headers in /usr/src; {INSTALL}"))
}

fn scratch() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")).join("kmod")
}

/// Takes the ELF kernel out of the compressed image. Where it lies is in the boot header: documentation of the Linux
/// kernel, "The Linux/x86 Boot Protocol", fields `setup_sects`, `payload_offset`, `payload_length`.
fn vmlinux(kernel: &Kernel) -> Result<PathBuf> {
    let vmlinuz = match &kernel.image {
        Image::Bare(image) => return Ok(image.clone()),
        Image::Packed(vmlinuz) => vmlinuz,
    };
    let path = scratch().join(format!("vmlinux-{}", kernel.version));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(scratch())?;
    let image = fs::read(vmlinuz)?;
    let number = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("the kernel image is cut")?;
        Ok(u32::from_le_bytes(bytes.try_into()?).try_into()?)
    };
    let setup = usize::from(*image.get(0x1f1).context("the kernel image is cut")?);
    let start = (setup + 1) * 512 + number(0x248)?;
    let payload = image.get(start..start + number(0x24c)?).context("the kernel image is cut")?;
    let unique = scratch().join(format!("vmlinux-{}.{}", kernel.version, std::process::id()));
    let packed = unique.with_extension("xz");
    // The last four bytes are the unpacked size, which xz would take for garbage.
    fs::write(&packed, &payload[..payload.len() - 4])?;
    let unpacked = Command::new("xz").args(["-dc", "--single-stream"]).arg(&packed).output().context(INSTALL)?;
    ensure!(unpacked.stdout.starts_with(b"\x7fELF"), "{} holds no xz-packed ELF kernel", vmlinuz.display());
    fs::write(&unique, unpacked.stdout)?;
    fs::remove_file(&packed)?;
    fs::rename(&unique, &path)?;
    Ok(path)
}

/// Builds a module against the kernel's headers, in a directory of its own, from the C files and headers in `source`.
fn module(kernel: &Kernel, source: &Path, name: &str, build: &Path) -> Result<PathBuf> {
    fs::create_dir_all(build.join("uapi"))?;
    for folder in ["", "uapi"].into_iter().filter(|folder| source.join(folder).exists()) {
        for entry in fs::read_dir(source.join(folder))? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.ends_with(".c") && !name.ends_with(".mod.c") || name.ends_with(".h") || name == "Kbuild" {
                fs::copy(entry.path(), build.join(folder).join(name))?;
            }
        }
    }
    let mut make = Command::new("make");
    run(make.arg("-C").arg(&kernel.headers).arg(format!("M={}", build.display())).args([
        "W=1",
        "KCFLAGS=-Werror",
        "modules",
    ]))?;
    Ok(build.join(format!("{name}.ko")))
}

/// The shared libraries that a program needs, and its loader.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = run(Command::new("ldd").arg(program))?;
    // Of lines like "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)".
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

impl Machine {
    /// A machine with the module built for its kernel.
    pub(crate) fn new() -> Result<Self> {
        let (kernel, dir) = (kernel()?, tempfile::tempdir()?);
        let busybox = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let files = vec![("bin/busybox".to_owned(), busybox.context(INSTALL)?, true)];
        Self { kernel, dir, files }.module("..", "lustre_mgs_proxy")
    }

    /// Adds a module to the machine's root directory, built from a folder beside this crate's manifest.
    pub(crate) fn module(mut self, folder: &str, name: &str) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let built = module(&self.kernel, &source, name, &self.dir.path().join(name))?;
        self.files.push((format!("{name}.ko"), built, false));
        Ok(self)
    }

    /// Adds another build of the proxy's module, in a folder of the machine: the same, but for its checksum.
    pub(crate) fn second_build(mut self, folder: &str) -> Result<Self> {
        let (first, build) = (self.dir.path().join("lustre_mgs_proxy"), self.dir.path().join(folder));
        fs::create_dir_all(&build)?;
        let main = fs::read_to_string(first.join("main.c"))?;
        fs::write(first.join("main.c"), main + "MODULE_INFO(build, \"second\");\n")?;
        let built = module(&self.kernel, &first, "lustre_mgs_proxy", &build)?;
        self.files.push((format!("{folder}/lustre_mgs_proxy.ko"), built, false));
        Ok(self)
    }

    /// Adds a program to the machine's root directory, without what a debugger wants and with the libraries that it needs.
    pub(crate) fn program(mut self, path: &Path) -> Result<Self> {
        ensure!(path.exists(), "{} is missing", path.display());
        for library in libraries(path)? {
            let name = library.to_string_lossy().trim_start_matches('/').to_owned();
            self.files.push((name, library, true));
        }
        let name = path.file_name().and_then(|name| name.to_str()).context("a file name")?;
        let stripped = self.dir.path().join(format!("{name}.stripped"));
        run(Command::new("strip").arg("--strip-debug").arg("-o").arg(&stripped).arg(path))?;
        self.files.push((name.to_owned(), stripped, true));
        Ok(self)
    }

    fn initramfs(&self, commands: &str) -> Result<PathBuf> {
        let root = self.dir.path().join("root");
        for folder in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(root.join(folder))?;
        }
        for (name, from, executable) in &self.files {
            fs::create_dir_all(root.join(name).parent().context("a path in the machine")?)?;
            fs::copy(from, root.join(name))?;
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(root.join(name), std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
        fs::write(
            root.join("init"),
            format!(
                "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\nmount -t proc none /proc\nmount -t sysfs none /sys\n\
                 mount -t devtmpfs none /dev\nmount -t debugfs none /sys/kernel/debug\nip link set lo up\n\
                 if {{ {commands}\n}}; then echo \"RESULT passed\"; printf '\\{PASS:o}' | dd of=/dev/port bs=1 seek=1281 2>/dev/null; \
                 else echo \"RESULT failed\"; fi\npoweroff -f\n"
            ),
        )?;
        fs::set_permissions(root.join("init"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let image = self.dir.path().join("initramfs.cpio");
        let script =
            format!("cd '{}' && find . | cpio --quiet -o -H newc -R 0:0 >'{}'", root.display(), image.display());
        run(Command::new("sh").args(["-c", &script]))?;
        Ok(image)
    }

    /// Boots, runs `commands` (a shell's, all of which must succeed), and gives the console.
    ///
    /// Errors: the commands failed, the kernel complained, or nothing was heard for `limit`.
    pub(crate) fn run(&self, commands: &str, limit: Duration) -> Result<String> {
        let (kernel, initramfs) = (vmlinux(&self.kernel)?, self.initramfs(commands)?);
        let mut qemu = Command::new("timeout");
        qemu.args(["-k", "5", &limit.as_secs().to_string(), "qemu-system-x86_64"]);
        qemu.args(["-M", "pc", "-cpu", "max", "-m", "1024", "-smp", "2", "-nographic", "-no-reboot", "-nic", "none"]);
        qemu.args(["-device", "isa-debug-exit,iobase=0x501,iosize=1", "-kernel"])
            .arg(kernel)
            .arg("-initrd")
            .arg(initramfs);
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 oops=panic panic_on_warn=1 mitigations=off tsc=unstable"]);
        let output = qemu.stdin(Stdio::null()).output().context(INSTALL)?;
        let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let errors = String::from_utf8_lossy(&output.stderr);
        if let Some(line) = console.lines().find(|line| COMPLAINTS.iter().any(|word| line.contains(word))) {
            bail!("the kernel complained: {line}\n{console}");
        }
        let passed = output.status.code() == Some(2 * i32::from(PASS) + 1) && console.contains("RESULT passed");
        ensure!(passed, "{} in the machine (124: nothing came of it in {limit:?})\n{console}\n{errors}", output.status);
        Ok(console)
    }
}
