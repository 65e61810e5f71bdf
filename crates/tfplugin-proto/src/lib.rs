//! The Terraform plugin protocol: handshake, gRPC types, msgpack values; knows nothing of Lustre.
