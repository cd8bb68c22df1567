//! One model server's dialect per file, and the driver that owns sockets, timeouts and framing for all of them.
