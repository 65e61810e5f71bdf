//! File systems.

use lustre_api::attributes::FILESYSTEM;
use lustre_api::plan::{Action, ObjectKey};

use super::{Say, Work, all_fields, fields, json};

/// As many characters as the MGS stores.
const DESCRIPTION_MAX: usize = 256;

impl Work<'_> {
    pub(super) fn filesystems(&mut self) {
        for spec in &self.desired.filesystems {
            let object = ObjectKey::Filesystem { name: spec.name.clone() };
            if spec.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX) {
                let say = Say {
                    attribute: Some("description"),
                    code: "too_long",
                    message: format!("the description of {} has more than {DESCRIPTION_MAX} characters", spec.name),
                    remedy: "shorten it".to_owned(),
                };
                self.error(&object, say);
                continue;
            }
            match self.snapshot.filesystems.iter().find(|known| known.spec.name == spec.name) {
                None => {
                    let blast_radius = format!("nobody; {} can be mounted when it has targets", spec.name);
                    self.change(
                        &object,
                        Action::Create,
                        all_fields(&FILESYSTEM, &json(spec)),
                        "it does not exist",
                        blast_radius,
                    );
                }
                Some(known) => {
                    let fields = fields(&FILESYSTEM, &json(&known.spec), &json(spec), |_, _, _| false);
                    if !fields.is_empty() {
                        self.change(
                            &object,
                            Action::Update,
                            fields,
                            "it is described differently",
                            "nobody".to_owned(),
                        );
                    }
                }
            }
        }
    }
}
