#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "tokio")]
extern crate std;

pub use carp_proto;

#[cfg(feature = "tokio")]
pub mod io;
