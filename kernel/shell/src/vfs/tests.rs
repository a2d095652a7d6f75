//! The registry against a map of whole paths.

use super::*;
use crate::Capture;
use alloc::{rc::Rc, vec};
use core::cell::RefCell;
use proptest::prelude::*;
use std::collections::{BTreeMap as Model, BTreeSet};

extern crate std;

/// `model/compatible` and `size` under one mount.
struct Tree;

impl Directory for Tree {
    fn list(&self, path: &str, each: &mut dyn FnMut(&str, Kind)) -> Result<(), FsError> {
        match path {
            "" => {
                each("size", Kind::File);
                each("model", Kind::Directory);
            }
            "model" => each("compatible", Kind::File),
            "size" | "model/compatible" => return Err(FsError::NotDirectory),
            _ => return Err(FsError::NotFound),
        }
        Ok(())
    }

    fn read(&self, path: &str, out: &mut dyn Output) -> Result<(), FsError> {
        match path {
            "size" => Ok(out.write_bytes(&[0, 0x80, 0xff])?),
            "" | "model" => Err(FsError::IsDirectory),
            "model/compatible" => Ok(out.write_str("arm,vexpress\0")?),
            _ => Err(FsError::NotFound),
        }
    }
}

fn vfs() -> Vfs {
    let mut vfs = Vfs::new();
    for path in ["/proc/meminfo", "/proc/sys/vm/drop_caches", "/proc/sys-x", "/dev/cma_test"] {
        vfs.add_read(path, move |out| Ok(writeln!(out, "{path}")?)).unwrap();
    }
    vfs.mount("/proc/device-tree", Tree).unwrap();
    vfs
}

fn read(vfs: &Vfs, path: &str) -> Result<Vec<u8>, FsError> {
    let mut out = Capture::default();
    vfs.read(path, &mut out).map(|()| out.0)
}

fn list(vfs: &Vfs, path: &str) -> Vec<String> {
    vfs.list(path).unwrap().unwrap()
}

#[test]
fn directories_come_from_paths() {
    let vfs = vfs();
    assert_eq!(list(&vfs, "/"), ["dev", "proc"]);
    assert_eq!(list(&vfs, "/proc"), ["device-tree", "meminfo", "sys", "sys-x"]);
    assert_eq!(list(&vfs, "proc/sys/"), ["vm"]);
    assert_eq!(vfs.list("/proc/meminfo").unwrap(), None);
    assert_eq!(list(&Vfs::new(), "/"), Vec::<String>::new());
}

#[test]
fn mounts_answer_for_their_tree() {
    let vfs = vfs();
    assert_eq!(list(&vfs, "/proc/device-tree"), ["model", "size"]);
    assert_eq!(read(&vfs, "/proc/device-tree/size").unwrap(), [0, 0x80, 0xff]);
    assert_eq!(read(&vfs, "/proc/device-tree/model"), Err(FsError::IsDirectory));
    assert_eq!(vfs.list("/proc/device-tree/size").unwrap(), None);
    assert_eq!(vfs.list("/proc/device-tree/nope"), Err(FsError::NotFound));
    assert_eq!(read(&vfs, "/proc/device-tree/size/"), Err(FsError::NotDirectory));
    assert_eq!(vfs.write("/proc/device-tree/size", "1"), Err(FsError::PermissionDenied));
}

#[test]
fn wrong_paths() {
    let vfs = vfs();
    assert_eq!(read(&vfs, "/proc/nope"), Err(FsError::NotFound));
    assert_eq!(read(&vfs, "/proc/mem"), Err(FsError::NotFound));
    assert_eq!(read(&vfs, "/proc"), Err(FsError::IsDirectory));
    assert_eq!(read(&vfs, "/proc/meminfo/x"), Err(FsError::NotDirectory));
    assert_eq!(read(&vfs, "/proc/meminfo/"), Err(FsError::NotDirectory));
    assert_eq!(read(&vfs, ""), Err(FsError::IsDirectory));
    assert_eq!(vfs.write("/proc/meminfo", "1"), Err(FsError::PermissionDenied));
    assert_eq!(read(&vfs, "/../proc/.//sys/../meminfo").unwrap(), b"/proc/meminfo\n");
}

#[test]
fn a_path_is_one_thing() {
    let mut vfs = vfs();
    let none = |_: &mut dyn Output| Ok(());
    assert_eq!(vfs.add_read("/proc/meminfo", none), Err(FsError::Exists));
    assert_eq!(vfs.add_read("/proc/sys", none), Err(FsError::Exists));
    assert_eq!(vfs.add_read("/proc/meminfo/x", none), Err(FsError::NotDirectory));
    assert_eq!(vfs.add_read("/proc/device-tree/x", none), Err(FsError::NotDirectory));
    assert_eq!(vfs.add_read("proc/x", none), Err(FsError::InvalidArgument));
    assert_eq!(vfs.add_read("/", none), Err(FsError::InvalidArgument));
}

#[test]
fn control_files_take_text() {
    let taken = Rc::new(RefCell::new(String::new()));
    let (mut vfs, sink) = (Vfs::new(), Rc::clone(&taken));
    let write = move |text: &str| {
        text.trim().parse::<u32>().map_err(|_| FsError::InvalidArgument)?;
        *sink.borrow_mut() = text.into();
        Ok(())
    };
    vfs.add("/a", Control(|_: &mut dyn Output| Err(FsError::PermissionDenied), write)).unwrap();
    assert_eq!(vfs.write("/a", "12\n"), Ok(()));
    assert_eq!(vfs.write("/a", "x\n"), Err(FsError::InvalidArgument));
    assert_eq!(read(&vfs, "/a"), Err(FsError::PermissionDenied));
    assert_eq!(*taken.borrow(), "12\n");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }) })]

    /// The model splits every path and compares components; it knows nothing of key order.
    #[test]
    fn lists_like_split_paths(paths in prop::collection::vec(prop::collection::vec("[ab-]{1,2}", 1..4), 1..12)) {
        let (mut vfs, mut model) = (Vfs::new(), Model::<Vec<String>, ()>::new());
        for parts in paths {
            let clash = model.keys().any(|other| other.starts_with(&parts) || parts.starts_with(other));
            let added = vfs.add_read(&format!("/{}", parts.join("/")), |_| Ok(()));
            prop_assert_eq!(added.is_err(), clash);
            if !clash {
                model.insert(parts, ());
            }
        }
        let mut directories = vec![Vec::new()];
        while let Some(directory) = directories.pop() {
            let inside = model.keys().filter(|key| key.starts_with(&directory));
            let expected: BTreeSet<String> = inside.map(|key| key[directory.len()].clone()).collect();
            let listed = list(&vfs, &format!("/{}", directory.join("/")));
            prop_assert_eq!(listed, expected.iter().cloned().collect::<Vec<_>>());
            for name in expected {
                let mut next = directory.clone();
                next.push(name.clone());
                if !model.contains_key(&next) {
                    directories.push(next);
                }
            }
        }
    }
}
