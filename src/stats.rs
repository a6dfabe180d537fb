//! Counters that the agent reports: in its status file, at its end, and in `dunlin status`.
