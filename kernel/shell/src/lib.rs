//! The console: line editing, commands, and the files they read and write.
#![no_std]
