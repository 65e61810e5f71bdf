//! `mgsctl fs`

use lustre_api::filesystem::{
    DeleteFilesystem, Filesystem, FilesystemPath, FilesystemSpec, GetFilesystem, ListFilesystems, PutFilesystem,
};
use lustre_api::target::ListTargets;
use lustre_api::{Nothing, PageQuery};

use crate::cli::FsCommand;
use crate::output::{Table, fields, or_dash, size};
use crate::status::all;
use crate::target::table as target_table;
use crate::{Context, Failure, operation};

pub(crate) async fn run(context: &Context, command: FsCommand) -> Result<(), Failure> {
    match command {
        FsCommand::List => {
            let list = all::<ListFilesystems, _>(context, PageQuery::default()).await?;
            context.output.show(&list, |list| table(list));
        }
        FsCommand::Show { fsname } => {
            let path = FilesystemPath { fsname: fsname.clone() };
            let fs = context.client.call::<GetFilesystem>(&path, &Nothing {}, &Nothing {}).await?;
            let query = PageQuery { fsname: Some(fsname), ..PageQuery::default() };
            let targets = all::<ListTargets, _>(context, query).await?;
            context.output.show(&fs, |fs| format!("{}\n{}", details(fs), target_table(&targets)));
        }
        FsCommand::Writeconf { fsname, mgs_nids, start } => {
            operation::writeconf(context, fsname, mgs_nids, &start).await?;
        }
        FsCommand::Grow { fsname, devices, file, failover_nodes, at_once, start } => {
            let body = match file {
                Some(file) => operation::grow_file(&file, at_once)?,
                None => operation::grow_devices(&fsname, &devices, &failover_nodes, at_once)?,
            };
            operation::grow(context, fsname, &body, &start).await?;
        }
        FsCommand::Create { fsname, description, write } => {
            let spec = FilesystemSpec { name: fsname.clone(), description };
            let path = FilesystemPath { fsname };
            let written = context.client.call::<PutFilesystem>(&path, &write.query(), &spec).await?;
            context.show_written(&written, &write, |fs| format!("file system {}", fs.spec.name), "is as described");
        }
        FsCommand::Delete { fsname, write } => {
            let path = FilesystemPath { fsname };
            let written = context.client.call::<DeleteFilesystem>(&path, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, |fs| format!("file system {}", fs.spec.name), "is removed");
        }
    }
    Ok(())
}

pub(crate) fn table(list: &[Filesystem]) -> String {
    let mut table = Table::new(&["NAME", "STATE", "MDTS", "OSTS", "CAPACITY", "REASON"]);
    for fs in list {
        table.row([
            fs.spec.name.to_string(),
            fs.state.as_str().into(),
            fs.mdt_count.to_string(),
            fs.ost_count.to_string(),
            size(fs.capacity_bytes),
            fs.state_reason.clone(),
        ]);
    }
    table.text("no file systems")
}

fn details(fs: &Filesystem) -> String {
    fields(&[
        ("name", fs.spec.name.to_string()),
        ("description", or_dash(fs.spec.description.as_ref())),
        ("id", fs.id.clone()),
        ("mount", or_dash(fs.mount_source.as_ref())),
        ("state", format!("{}: {}", fs.state.as_str(), fs.state_reason)),
        ("capacity", size(fs.capacity_bytes)),
        ("revision", fs.revision.to_string()),
    ])
}
