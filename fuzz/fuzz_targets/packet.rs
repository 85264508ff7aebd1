//! See [`carp_fuzz::packet`].

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| carp_fuzz::packet(data));

/// Without libFuzzer there is nothing to start; the tests replay the seeds.
#[cfg(not(fuzzing))]
fn main() {}
