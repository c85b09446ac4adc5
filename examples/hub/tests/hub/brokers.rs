//! The same over Redis and NATS, where their servers are installed. `tests/interop/run layers` installs them.
