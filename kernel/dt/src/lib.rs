//! Device tree, command line and boot arguments, turned into plain data.
#![no_std]
