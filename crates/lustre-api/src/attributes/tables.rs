//! The tables themselves.

use super::{
    Attribute,
    AttributeType::{self, *},
    ChangeEffect,
    Presence::{self, *},
    Resource,
};

/// All tables.
pub const RESOURCES: &[&Resource] = &[&FILESYSTEM, &TARGET, &PARAM, &PARAMS, &POOL, &NODEMAP, &NODEMAPS, &MGS_PROXY];

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

const CONFIRM_WITHIN: Attribute = attribute(
    "confirm_within_s",
    Int,
    Request,
    ChangeEffect::InPlace,
    "600",
    "Put what was before back unless somebody confirms the change within so many seconds, 10 to 86400: for what can cut off \
     those who set it.",
);

const CONFIRM_WHEN_PROVEN: Attribute = attribute(
    "confirm_when_proven",
    Bool,
    Request,
    ChangeEffect::InPlace,
    "true",
    "With `confirm_within_s`: confirm the change in the same apply, once every node that has the tunable says that it has the \
     value. Where one does not in time, or none can be asked, the change goes back by itself.",
)
.default_json("false");

const CANARY: Attribute = attribute(
    "canary",
    Text,
    Request,
    ChangeEffect::InPlace,
    r#""client1""#,
    "Try a new value on this node first, then on all others, and set it permanently only when each of them has read it back; \
     where one refuses it, all have again what they had.",
)
.parses_as("NodeName");

const PARAM_FILESYSTEM: Attribute = attribute(
    "filesystem",
    Text,
    Optional,
    ChangeEffect::Identity,
    r#""scratch""#,
    "The file system; every one of this MGS when it is not given.",
)
.parses_as("FsName");

const PARAM_SCOPE: Attribute = attribute(
    "scope",
    Text,
    Optional,
    ChangeEffect::Identity,
    r#""osts""#,
    "Whom it concerns: `filesystem`, `mdts`, `osts`, `clients`, or one target by name.",
)
.default_json(r#""filesystem""#)
.parses_as("ParamScope");

const CONFIRM_UNTIL: Attribute = computed(
    "confirm_until",
    Text,
    r#""2026-11-23T16:00:00Z""#,
    "When it goes back to what it was before, unless somebody confirms it. Null where nothing waits.",
);

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
    description: "A target on a block device or a ZFS dataset of a node: the MGS assigns its index, the node's agent formats the device with Lustre's \
        on-disk format, starts it where the node has Lustre, and it is registered with the MGS. A device that holds anything but a \
        never registered target of the same name is refused, unless `allow_reformat` is given; a device in use is refused always, \
        and nothing in a ZFS dataset is ever destroyed. \
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
            "Path of the block device on that node. Stable paths (`/dev/disk/by-id/...`) are better: `/dev/sdX` names move. Or a ZFS \
             dataset, as in `tank/ost0`, which is made where its pool has none of that name."),
        attribute("vdevs", List, Optional, ChangeEffect::InPlace, r#"["mirror","/dev/disk/by-id/wwn-0x5000c500a1b2c3d4","/dev/disk/by-id/wwn-0x5000c500a1b2c3d5"]"#,
            "What to make the pool of a ZFS dataset of, if the node has none of that name: absolute paths and words of zpool-create(8). \
             A pool that is there is never changed."),
        attribute("failover_nodes", List, Optional, ChangeEffect::InPlace, r#"["10.0.0.6@tcp"]"#,
            "Partner nodes that can serve it too: for each its NIDs, separated by commas.").parses_as("NidList"),
        attribute("mkfs_options", Text, Optional, ChangeEffect::Reformat, r#""-m 1 -E stride=16,stripe_width=64""#,
            "More options for mke2fs, or settings of a ZFS dataset (`-o compression=off`), as `mkfs.lustre --mkfsoptions` takes them. Only \
             used by the format."),
        attribute("mount_options", Text, Optional, ChangeEffect::Reformat, r#""errors=remount-ro,noacl""#,
            "Mount options stored on the target instead of the usual ones. Only used by the format."),
        attribute("format_params", Map, Optional, ChangeEffect::Reformat, r#"{"sys.timeout":"40"}"#,
            "Parameters stored on the target, as `mkfs.lustre --param` does. Only used by the format; `lustre_param` is the better place."),
        attribute("comment", Text, Optional, ChangeEffect::Reformat, r#""enclosure 3, slot 12""#,
            "A comment stored on the target, at most 800 bytes. Only used by the format."),
        attribute("allow_reformat", Bool, Request, ChangeEffect::InPlace, "false",
            "Format the device even if it holds other data or another target. What it holds is lost. A device that is mounted or \
             otherwise in use is refused all the same.").default_json("false"),
        attribute("confirm_within_s", Int, Request, ChangeEffect::InPlace, "600",
            "Put `failover_nodes` back to what they were before unless somebody confirms the change within so many seconds, 10 to 86400. \
             Only for targets that are registered."),
        DELETION_POLICY,
        computed("svname", Text, r#""scratch-OST0001""#, "Its name."),
        computed("id", Text, r#""0b7e…/scratch/scratch-OST0001""#, "`<mgs uuid>/<fsname>/<svname>`."),
        computed("label", Text, r#""scratch:OST0001""#, "The volume label of its device. `:` means never registered by a Lustre server, `-` registered."),
        computed("uuid", Text, r#""5f0c1d9e-8b1a-4c57-9c62-0d8f0f6f6b1e""#, "UUID of the file system on its device."),
        computed("state", Text, r#""registered""#,
            "`reserved`, `formatting`, `formatted`, `registered`, `started`, `stopped` or `failed`."),
        computed("state_reason", Text, r#""in the configuration; oss1 has no Lustre to start it""#, "Why it is in that state."),
        computed("size_bytes", Int, "1099511627776", "Size of its device in bytes."),
        computed("confirm_until", Text, r#""2026-11-23T16:00:00Z""#,
            "When `failover_nodes` go back to what they were before, unless somebody confirms them. Null where nothing waits."),
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
        PARAM_FILESYSTEM,
        PARAM_SCOPE,
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
        CONFIRM_WITHIN,
        CONFIRM_WHEN_PROVEN,
        CANARY,
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
        computed(
            "proof",
            Map,
            r#"{"client1":"applied"}"#,
            "Of each node that has the tunable, or should have it: `applied`, `differs`, `refused`, `no_such_parameter`, \
             `unknowable` or `not_reached`. Null where nobody asked the nodes.",
        ),
        computed(
            "drift",
            Map,
            r#"{"client2":"osc.scratch-OST0000-osc-ffff8800.max_dirty_mb is 48 instead of 512"}"#,
            "Nodes that have another value although they should have this one, with what they have. A plan that finds some sets \
             it there again.",
        ),
        CONFIRM_UNTIL,
    ],
};

/// Several tunables.
pub static PARAMS: Resource = Resource {
    name: "params",
    summary: "Permanent Lustre tunables, several of one scope",
    description: "Tunables of one file system and scope, set permanently through the MGS: all of them in one change, or none. \
        Values are checked against the catalogue before anything is changed, and compared by meaning. With `exclusive` no other \
        tunable of that file system and scope may be set: others are shown as drift, and unset. Removing it puts the defaults back.",
    attributes: &[
        PARAM_FILESYSTEM,
        PARAM_SCOPE,
        attribute(
            "params",
            Map,
            Required,
            ChangeEffect::InPlace,
            r#"{"osc.*.max_dirty_mb":"512","timeout":"100"}"#,
            "Their values by their names as `lctl set_param` has them, with `*` for the device.",
        ),
        attribute(
            "exclusive",
            Bool,
            Optional,
            ChangeEffect::InPlace,
            "true",
            "Unset every other tunable of the same file system and scope.",
        )
        .default_json("false"),
        attribute(
            "allow_unknown",
            Bool,
            Optional,
            ChangeEffect::InPlace,
            "true",
            "Set them although the catalogue does not know a name.",
        )
        .default_json("false"),
        CONFIRM_WITHIN,
        CONFIRM_WHEN_PROVEN,
        computed("id", Text, r#""scratch/filesystem""#, "`<fsname or *>/<scope>`."),
        computed(
            "canonical_names",
            Map,
            r#"{"osc.*.max_dirty_mb":"osc.scratch-OST*-osc-*.max_dirty_mb"}"#,
            "What `lctl get_param` and `lctl set_param` on a node call each.",
        ),
        computed(
            "proof",
            Map,
            r#"{"osc.*.max_dirty_mb":"client1 applied, client2 differs"}"#,
            "By the tunables' names, what each node that has it says: `applied`, `differs`, `refused`, `no_such_parameter`, \
             `unknowable` or `not_reached`. Null where nobody asked the nodes.",
        ),
        computed(
            "drift",
            Map,
            r#"{"osc.*.max_dirty_mb":"client2: osc.scratch-OST0000-osc-ffff8800.max_dirty_mb is 48 instead of 512"}"#,
            "By the tunables' names, nodes that have another value although they should have this one. A plan that finds some \
             sets it there again.",
        ),
        CONFIRM_UNTIL,
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

const fn flag(name: &'static str, default: &'static str, description: &'static str) -> Attribute {
    attribute(name, Bool, Optional, ChangeEffect::InPlace, "true", description).default_json(default)
}

const fn ids(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, Ids, Optional, ChangeEffect::InPlace, r#"{"500":600}"#, description).default_json("{}")
}

const fn squash(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, Int, Optional, ChangeEffect::InPlace, "65534", description).default_json("65534")
}

/// A nodemap.
pub static NODEMAP: Resource = Resource {
    name: "nodemap",
    summary: "A nodemap: which ids clients with certain NIDs have",
    description: "A nodemap of this MGS: its NIDs, id maps and properties are exactly those given. It works once nodemaps are in \
        force. Targets read it anew after each change. Removing it leaves its NIDs to the nodemap `default`; removing that one puts its \
        defaults back.",
    attributes: &[
        attribute("name", Text, Required, ChangeEffect::Identity, r#""computes""#,
            "Its name: 1 to 16 letters, digits or `_`. `default` is the one of all NIDs that no other has.").parses_as("NodemapName"),
        attribute("ranges", Set, Optional, ChangeEffect::InPlace, r#"["10.0.0.[1-9]@tcp","10.0.1.0-10.0.1.255@o2ib"]"#,
            "The NIDs that it is for: `10.0.0.1@tcp`, `10.0.0.[1-9]@tcp`, `10.0.1.*@o2ib` or `10.0.0.1-10.0.0.9@tcp`. No NID can be in \
             two nodemaps.").default_json("[]").parses_as("NidRange"),
        attribute("banned_ranges", Set, Optional, ChangeEffect::InPlace, r#"["10.0.0.7@tcp"]"#,
            "The NIDs on its ban list, written as `ranges` are. For targets of Lustre 2.17.").default_json("[]").parses_as("NidRange"),
        ids("uids", "User ids: of the client, with that of the file system."),
        ids("gids", "Group ids: of the client, with that of the file system."),
        ids("projids", "Project ids: of the client, with that of the file system."),
        flag("admin", "false", "Root of these clients is root of the file system."),
        flag("trusted", "false", "Ids of these clients are taken as they are."),
        flag("deny_unknown", "false", "Who is not mapped gets no access, instead of that of the squash ids."),
        flag("audit", "true", "What they do is in the changelog with their NID."),
        flag("forbid_encryption", "false", "They can't read encrypted files, or make some."),
        flag("readonly_mount", "false", "They can only mount read-only."),
        flag("deny_mount", "false", "They can't mount."),
        flag("gss_identify", "false", "They are told by their GSS identity and not by their NIDs. For targets of Lustre 2.17."),
        flag("map_uids", "true", "User ids are mapped."),
        flag("map_gids", "true", "Group ids are mapped."),
        flag("map_projids", "true", "Project ids are mapped."),
        squash("squash_uid", "User id of who is not mapped."),
        squash("squash_gid", "Group id of who is not mapped."),
        squash("squash_projid", "Project id of who is not mapped."),
        attribute("fileset", Text, Optional, ChangeEffect::InPlace, r#""/projects/a""#,
            "The directory that these clients see as the root of the file system: an absolute path of at most 4095 bytes. For targets of \
             Lustre 2.16 and newer."),
        CONFIRM_WITHIN,
        computed("id", Text, r#""computes""#, "Its name."),
        computed("number", Int, "1", "Its number in what targets are sent; 0 is the default one."),
        CONFIRM_UNTIL,
    ],
};

/// Whether nodemaps are in force.
pub static NODEMAPS: Resource = Resource {
    name: "nodemaps",
    summary: "Whether the nodemaps of an MGS are in force",
    description: "Puts all nodemaps of this MGS in force, or out of it. While they are in force each client and server has the ids that \
        its nodemap gives it: servers need one that is `admin` and `trusted`. There is one of it on an MGS. Removing it puts nodemaps out \
        of force.",
    attributes: &[
        attribute("active", Bool, Required, ChangeEffect::InPlace, "true", "Whether they are in force."),
        CONFIRM_WITHIN,
        computed("id", Text, r#""nodemaps""#, "`nodemaps`."),
        CONFIRM_UNTIL,
    ],
};

/// The kernel proxy of a node.
pub static MGS_PROXY: Resource = Resource {
    name: "mgs_proxy",
    summary: "The kernel proxy of a node, for an MGS on networks that only the kernel drives",
    description: "The kernel module lustre_mgs_proxy on a node: loaded, the build that is installed there, and loaded at boot. Where \
        another build is loaded, it is exchanged; an MGS daemon that serves through it lets go and comes back, and nodes on the \
        kernel's networks wait for it as for a network that is away. It is refused beside Lustre's servers, which own the portals of \
        an MGS. The module is installed by DKMS, not by this.",
    attributes: &[
        attribute("node", Text, Required, ChangeEffect::Identity, r#""mgs1""#, "The node, as its agent calls it.")
            .parses_as("NodeName"),
        computed("version", Text, r#""0.1.0""#, "Version of the module that is loaded."),
        computed(
            "srcversion",
            Text,
            r#""3D2F1C0B9A8E7D6C5B4A392""#,
            "The kernel's checksum of the sources of what is loaded.",
        ),
        computed("protocol", Int, "1", "Version of the frames between module and daemon."),
        computed("transport", Text, r#""lnet""#, "The network below the module: `lnet`, or `loop` in tests."),
        computed(
            "is_current",
            Bool,
            "true",
            "Whether the build that is installed is loaded, and is loaded at boot. Where it is not, an apply makes it so.",
        ),
        computed("id", Text, r#""mgs1""#, "The node."),
    ],
};
