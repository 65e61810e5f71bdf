//! LNet over TCP: acceptor request, HELLO, frames, message headers, ping and discovery.
