//! Config logs: headers, records, `lustre_cfg`, markers, and what they say.
