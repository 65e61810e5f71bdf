//! Types that the programs exchange, and the endpoints of each server.
