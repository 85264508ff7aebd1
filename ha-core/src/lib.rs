#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "tokio"))]
extern crate std;

pub use carp_proto;

pub mod failover;
#[cfg(feature = "tokio")]
pub mod io;
