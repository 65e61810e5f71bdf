//! What `crm_mon --output-as=xml` says.

/// A resource of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub id: String,
    /// `ocf:lustre:Lustre`, for example.
    pub agent: String,
    /// `Started`, `Stopped`, and others.
    pub role: String,
    /// Whether Pacemaker starts and stops it: not when it was set unmanaged, or the cluster is in maintenance mode.
    pub is_managed: bool,
    /// The nodes where it runs.
    pub nodes: Vec<String>,
}

/// The resources that `crm_mon --output-as=xml` tells of, those in groups and clones too.
///
/// Errors: in words, what is wrong with the answer.
pub fn parse(xml: &str) -> Result<Vec<Resource>, String> {
    let document = roxmltree::Document::parse(xml).map_err(|error| error.to_string())?;
    let root = document.root_element();
    // `crm_mon` before 2.1 in XML by --as-xml, which has other elements; --output-as=xml is refused by those.
    if root.tag_name().name() != "pacemaker-result" {
        return Err(format!("it begins with <{}>, not <pacemaker-result>", root.tag_name().name()));
    }
    let is = |node: &roxmltree::Node<'_, '_>, name: &str| node.attribute(name) == Some("true");
    let in_maintenance =
        root.descendants().any(|node| node.has_tag_name("cluster_options") && is(&node, "maintenance-mode"));
    let resources = root.descendants().filter(|node| node.has_tag_name("resource"));
    Ok(resources
        .filter_map(|node| {
            let text = |name: &str| node.attribute(name).map(str::to_owned);
            let running = node.children().filter(|child| child.has_tag_name("node"));
            Some(Resource {
                id: text("id")?,
                agent: text("resource_agent")?,
                role: text("role").unwrap_or_default(),
                is_managed: is(&node, "managed") && !in_maintenance,
                nodes: running.filter_map(|node| node.attribute("name").map(str::to_owned)).collect(),
            })
        })
        .collect())
}

/// Reads anything as an answer of `crm_mon`; for fuzzers.
pub fn fuzz_crm_mon(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded: `CIB_file=cib.xml crm_mon -1 --inactive --output-as=xml`, Pacemaker 2.1.5.
    const RECORDED: &str = include_str!("../../testdata/crm_mon.xml");

    #[test]
    fn every_resource_says_where_it_runs_and_whether_it_is_managed() {
        let resources = parse(RECORDED).unwrap();
        let seen: Vec<_> =
            resources.iter().map(|r| (r.id.as_str(), r.agent.as_str(), r.is_managed, r.nodes.join(","))).collect();
        assert_eq!(
            seen,
            [
                ("gold-OST0000", "ocf:lustre:Lustre", true, "oss1".to_owned()),
                ("gold-OST0001", "ocf:heartbeat:Filesystem", false, "oss2".to_owned()),
                ("gold-OST0002", "ocf:lustre:Lustre", true, "oss1".to_owned()),
            ]
        );
        let resting = RECORDED.replace(r#"maintenance-mode="false""#, r#"maintenance-mode="true""#);
        assert!(parse(&resting).unwrap().iter().all(|resource| !resource.is_managed));
    }

    #[test]
    fn what_is_no_answer_of_crm_mon_is_named() {
        assert!(parse("").is_err());
        assert!(parse("<crm_mon version=\"2.0\"/>").unwrap_err().contains("<crm_mon>"));
        assert!(parse(&RECORDED[..RECORDED.len() / 2]).is_err());
        // Entities that grow without end are not for us.
        let bomb = "<!DOCTYPE a [<!ENTITY b \"x\">]><pacemaker-result>&b;</pacemaker-result>";
        assert!(parse(bomb).is_err());
    }
}
