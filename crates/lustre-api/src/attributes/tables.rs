//! The tables themselves.

use super::{
    Attribute,
    AttributeType::{self, *},
    ChangeEffect,
    Presence::{self, *},
    Resource,
};

/// All tables.
pub const RESOURCES: &[&Resource] = &[&FILESYSTEM, &TARGET, &PARAM, &POOL];

const fn attribute(
    name: &'static str,
    kind: AttributeType,
    presence: Presence,
    change: ChangeEffect,
    example: &'static str,
    description: &'static str,
) -> Attribute {
    Attribute { name, kind, presence, change, choices: &[], default: "", description, example, parses_as: "" }
}

const fn computed(
    name: &'static str,
    kind: AttributeType,
    example: &'static str,
    description: &'static str,
) -> Attribute {
    attribute(name, kind, Computed, ChangeEffect::None, example, description)
}

impl Attribute {
    const fn choices(self, choices: &'static [&'static str]) -> Self {
        Self { choices, ..self }
    }
    const fn default_json(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
    const fn parses_as(self, parses_as: &'static str) -> Self {
        Self { parses_as, ..self }
    }
}

const DELETION_POLICY: Attribute = attribute(
    "deletion_policy",
    Text,
    Request,
    ChangeEffect::InPlace,
    r#""DEREGISTER""#,
    "What removing it does. `PREVENT`: it is refused. `ABANDON`: it is forgotten here and left as it is on the MGS. \
     `DEREGISTER`: it is taken out of the MGS's configuration. None of them ever wipes a device.",
)
.choices(&["PREVENT", "ABANDON", "DEREGISTER"])
.default_json(r#""PREVENT""#);

/// A file system.
pub static FILESYSTEM: Resource = Resource {
    name: "filesystem",
    summary: "A Lustre file system",
    description: "A Lustre file system, as the MGS knows it. Its targets are resources of their own.",
    attributes: &[
        attribute(
            "name",
            Text,
            Required,
            ChangeEffect::Identity,
            r#""scratch""#,
            "Name of the file system (fsname): 1 to 8 letters, digits, `_` or `-`.",
        )
        .parses_as("FsName"),
        attribute(
            "description",
            Text,
            Optional,
            ChangeEffect::InPlace,
            r#""Scratch space of the cluster""#,
            "What it is for, in your words. At most 256 characters.",
        ),
        DELETION_POLICY,
        computed("id", Text, r#""0b7e…/scratch""#, "`<mgs uuid>/<fsname>`."),
        computed(
            "mount_source",
            Text,
            r#""10.0.0.1@tcp:/scratch""#,
            "What clients mount: `mount -t lustre <mount_source> /mnt`. Null while the MGS has no NID.",
        ),
        computed("state", Text, r#""ready""#, "`empty`, `incomplete` or `ready`."),
        computed("state_reason", Text, r#""MDT0000 and 4 OSTs are registered""#, "Why it is in that state."),
        computed("mdt_count", Int, "1", "Number of registered metadata targets."),
        computed("ost_count", Int, "4", "Number of registered object storage targets."),
        computed("capacity_bytes", Int, "4398046511104", "Sum of the sizes of the registered OSTs in bytes."),
    ],
};

/// A target.
pub static TARGET: Resource = Resource {
    name: "target",
    summary: "A target of a Lustre file system: MGT, MDT or OST",
    description: "A target on a block device of a node: the MGS assigns its index, the node's agent formats the device with Lustre's \
        on-disk format, starts it where the node has Lustre, and it is registered with the MGS. A device that holds anything but a \
        never registered target of the same name is refused, unless `allow_reformat` is given; a device in use is refused always. \
        Removing the target never touches its device.",
    attributes: &[
        attribute("kind", Text, Required, ChangeEffect::Identity, r#""ost""#,
            "What it serves: `mgt` (the disk of a kernel MGS), `mdt` or `ost`.").choices(&["mgt", "mdt", "ost"]).parses_as("TargetKind"),
        attribute("filesystem", Text, Optional, ChangeEffect::Identity, r#""scratch""#,
            "Its file system. Required for `mdt` and `ost`.").parses_as("FsName"),
        attribute("index", Int, OptionalComputed, ChangeEffect::Identity, "1",
            "Its index, 0 to 65503. The MGS assigns the lowest free one when it is not given.").parses_as("TargetIndex"),
        attribute("node", Text, Required, ChangeEffect::InPlace, r#""oss1""#,
            "The node that serves it, by the name under which its agent enrolled.").parses_as("NodeName"),
        attribute("device", Text, Required, ChangeEffect::InPlace, r#""/dev/disk/by-id/wwn-0x5000c500a1b2c3d4""#,
            "Path of the block device on that node. Stable paths (`/dev/disk/by-id/...`) are better: `/dev/sdX` names move."),
        attribute("failover_nodes", List, Optional, ChangeEffect::InPlace, r#"["10.0.0.6@tcp"]"#,
            "Partner nodes that can serve it too: for each its NIDs, separated by commas.").parses_as("NidList"),
        attribute("mkfs_options", Text, Optional, ChangeEffect::Reformat, r#""-m 1 -E stride=16,stripe_width=64""#,
            "More options for mke2fs, as `mkfs.lustre --mkfsoptions` takes them. Only used by the format."),
        attribute("mount_options", Text, Optional, ChangeEffect::Reformat, r#""errors=remount-ro,noacl""#,
            "Mount options stored on the target instead of the usual ones. Only used by the format."),
        attribute("format_params", Map, Optional, ChangeEffect::Reformat, r#"{"sys.timeout":"40"}"#,
            "Parameters stored on the target, as `mkfs.lustre --param` does. Only used by the format; `lustre_param` is the better place."),
        attribute("comment", Text, Optional, ChangeEffect::Reformat, r#""enclosure 3, slot 12""#,
            "A comment stored on the target, at most 800 bytes. Only used by the format."),
        attribute("allow_reformat", Bool, Request, ChangeEffect::InPlace, "false",
            "Format the device even if it holds other data or another target. What it holds is lost. A device that is mounted or \
             otherwise in use is refused all the same.").default_json("false"),
        DELETION_POLICY,
        computed("svname", Text, r#""scratch-OST0001""#, "Its name."),
        computed("id", Text, r#""0b7e…/scratch/scratch-OST0001""#, "`<mgs uuid>/<fsname>/<svname>`."),
        computed("label", Text, r#""scratch:OST0001""#, "The volume label of its device. `:` means never registered by a Lustre server, `-` registered."),
        computed("uuid", Text, r#""5f0c1d9e-8b1a-4c57-9c62-0d8f0f6f6b1e""#, "UUID of the file system on its device."),
        computed("state", Text, r#""registered""#,
            "`reserved`, `formatting`, `formatted`, `registered`, `started`, `stopped` or `failed`."),
        computed("state_reason", Text, r#""in the configuration; oss1 has no Lustre to start it""#, "Why it is in that state."),
        computed("size_bytes", Int, "1099511627776", "Size of its device in bytes."),
        computed("formatted_over", Text, r#""blank""#, "What was on the device before: `blank`, what the format overwrote, or the target itself where it was taken up as it was."),
    ],
};

/// A tunable.
pub static PARAM: Resource = Resource {
    name: "param",
    summary: "A permanent Lustre tunable",
    description: "One tunable, set permanently through the MGS. Its value is checked against the catalogue before anything is \
        changed. Values are compared by meaning: `64M` and `67108864` are the same size. Removing it puts the default back.",
    attributes: &[
        attribute(
            "filesystem",
            Text,
            Optional,
            ChangeEffect::Identity,
            r#""scratch""#,
            "The file system; every one of this MGS when it is not given.",
        )
        .parses_as("FsName"),
        attribute(
            "scope",
            Text,
            Optional,
            ChangeEffect::Identity,
            r#""osts""#,
            "Whom it concerns: `filesystem`, `mdts`, `osts`, `clients`, or one target by name.",
        )
        .default_json(r#""filesystem""#)
        .parses_as("ParamScope"),
        attribute(
            "name",
            Text,
            Required,
            ChangeEffect::Identity,
            r#""osc.*.max_dirty_mb""#,
            "Its name as `lctl set_param` has it, with `*` for the device.",
        )
        .parses_as("ParamName"),
        attribute(
            "value",
            Text,
            Required,
            ChangeEffect::InPlace,
            r#""512""#,
            "Its value. Sizes take suffixes (`64M`); without suffix they are in the unit of the name.",
        ),
        attribute(
            "allow_unknown",
            Bool,
            Optional,
            ChangeEffect::InPlace,
            "true",
            "Set it although the catalogue does not know the name.",
        )
        .default_json("false"),
        computed("id", Text, r#""scratch/filesystem/osc.*.max_dirty_mb""#, "`<fsname or *>/<scope>/<name>`."),
        computed(
            "canonical_name",
            Text,
            r#""osc.scratch-OST*-osc-*.max_dirty_mb""#,
            "What `lctl get_param` and `lctl set_param` on a node call it.",
        ),
        computed(
            "conf_param_name",
            Text,
            r#""scratch-OST0001.osc.max_dirty_mb""#,
            "What `lctl conf_param` calls it; none where that takes a command for each target, or has no name for it.",
        ),
    ],
};

/// A pool.
pub static POOL: Resource = Resource {
    name: "pool",
    summary: "A pool of OSTs",
    description: "A named set of OSTs of one file system. Its members are exactly those given. Removing the pool leaves its OSTs and \
        all files as they are.",
    attributes: &[
        attribute("filesystem", Text, Required, ChangeEffect::Identity, r#""scratch""#, "The file system.")
            .parses_as("FsName"),
        attribute(
            "name",
            Text,
            Required,
            ChangeEffect::Identity,
            r#""flash""#,
            "Name of the pool: 1 to 15 letters, digits, `_` or `-`.",
        )
        .parses_as("PoolName"),
        attribute(
            "members",
            Set,
            Optional,
            ChangeEffect::InPlace,
            r#"["scratch-OST0000","OST[1-3]"]"#,
            "Its OSTs: `scratch-OST0001`, `OST0001`, or ranges like `OST[0-3]` (decimal indices).",
        )
        .default_json("[]"),
        computed("id", Text, r#""scratch.flash""#, "`<fsname>.<pool>`."),
    ],
};
