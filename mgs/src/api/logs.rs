//! Config logs.

use lustre_api::log::{Log, LogFormat, LogInfo, LogPath, LogQuery};
use lustre_api::{Page, PageQuery, Problem, ProblemCode};
use lustre_mgs_core::view;
use lustre_wire::llog;
use rest::Raw;

use super::{Api, page};

impl Api {
    /// `list_logs`
    pub fn list_logs(&self, query: &PageQuery) -> Result<Page<LogInfo>, Problem> {
        let state = self.engine.state();
        let after = query.after.as_deref().unwrap_or("");
        let wanted = state.logs.iter().filter(|(fsname, _)| query.fsname.is_none() || **fsname == query.fsname);
        let mut all: Vec<_> = wanted
            .flat_map(|(fsname, logs)| logs.iter().map(move |log| view::log_info(fsname.as_ref(), log)))
            .filter(|log| log.name.as_str() > after)
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        page(query, state.revision, all.into_iter().map(|log| (log.name.clone(), log)))
    }

    /// `get_log`
    pub fn get_log(&self, path: &LogPath, query: &LogQuery) -> Result<Raw, Problem> {
        let log = self.log(path)?;
        let text = |text: String| Raw { content_type: "application/yaml", bytes: text.into_bytes() };
        Ok(match query.format {
            LogFormat::Json => {
                let log: Log = view::log(&log);
                let failed = |_| Problem::new(ProblemCode::Internal, "the answer can't be written");
                Raw { content_type: "application/json", bytes: serde_json::to_vec(&log).map_err(failed)? }
            }
            LogFormat::Yaml => text(llog::print(&log.file())),
            LogFormat::YamlRaw => text(llog::print_raw(&log.file())),
        })
    }

    /// `get_log_raw`
    pub fn get_log_raw(&self, path: &LogPath) -> Result<Raw, Problem> {
        Ok(Raw { content_type: "application/octet-stream", bytes: self.log(path)?.raw() })
    }

    fn log(&self, path: &LogPath) -> Result<std::sync::Arc<lustre_mgs_core::configlog::ConfigLog>, Problem> {
        let name: String = path.name.chars().take(80).collect();
        let problem = || Problem::not_found(format!("there is no config log {name}"));
        let found = self.engine.state().log(&path.name).cloned();
        found.ok_or_else(|| problem().remedy("mgsctl log list shows them; a log begins with its first record"))
    }
}
