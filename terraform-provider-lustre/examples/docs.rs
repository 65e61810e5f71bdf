//! Writes the provider's documentation in the registry's layout: `docs DIR`. `cargo xtask docs` runs it.
//!
//! Text and attributes come from the schemas, the examples from the `.tf` files beside this one; so neither can be about
//! another release.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use terraform_provider_lustre::Lustre;
use tfplugin_proto::Provider;
use tfplugin_proto::docs::{Examples, Subject, page};

fn main() -> anyhow::Result<()> {
    let [_, out] = &std::env::args().collect::<Vec<_>>()[..] else { bail!("usage: docs DIR") };
    for (path, text) in pages()? {
        let path = Path::new(out).join(path);
        let dir = path.parent().context("a page is in a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// (path, text) of each page.
fn pages() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let provider = Lustre::default();
    let usage = example("provider/provider.tf")?;
    let examples = Examples { usage: Some(&usage), ..Examples::default() };
    let mut pages =
        vec![(PathBuf::from("index.md"), page("lustre", "lustre", Subject::Provider(&provider.schema()), examples))];
    for (name, resource) in provider.resources() {
        let usage = example(&format!("resources/{name}/resource.tf"))?;
        let command = example(&format!("resources/{name}/import.sh"))?;
        let block = example(&format!("resources/{name}/import.tf"))?;
        let examples = Examples { usage: Some(&usage), import_command: Some(&command), import_block: Some(&block) };
        let text = page("lustre", &name, Subject::Resource(&resource.schema()), examples);
        pages.push((file("resources", &name), text));
    }
    for (name, source) in provider.data_sources() {
        let usage = example(&format!("data-sources/{name}/data-source.tf"))?;
        let examples = Examples { usage: Some(&usage), ..Examples::default() };
        let text = page("lustre", &name, Subject::DataSource(&source.schema()), examples);
        pages.push((file("data-sources", &name), text));
    }
    for (name, function) in provider.functions() {
        let usage = example(&format!("functions/{name}/function.tf"))?;
        let examples = Examples { usage: Some(&usage), ..Examples::default() };
        let text = page("lustre", &name, Subject::Function(&function.signature()), examples);
        pages.push((file("functions", &name), text));
    }
    Ok(pages)
}

fn file(folder: &str, name: &str) -> PathBuf {
    Path::new(folder).join(format!("{}.md", name.trim_start_matches("lustre_")))
}

fn example(path: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path);
    fs::read_to_string(&path).with_context(|| format!("every page has an example; can't read {}", path.display()))
}
