//! RPC messages: the message with its buffers, the body, connect data, bulk descriptors.
