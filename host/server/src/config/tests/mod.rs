//! Tests of the configuration as a user meets it.
