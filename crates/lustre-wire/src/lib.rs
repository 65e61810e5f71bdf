//! Sans-IO codecs of Lustre's bytes on the wire and on disk.
