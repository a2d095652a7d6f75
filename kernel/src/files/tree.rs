//! `/proc/device-tree`.

use dt::{Entry, Tree};
use shell::{Directory, FsError, Kind, Output};

/// The tree as files.
pub struct DeviceTree(pub Tree<'static>);

impl Directory for DeviceTree {
    fn list(&self, path: &str, each: &mut dyn FnMut(&str, Kind)) -> Result<(), FsError> {
        let Entry::Directory(node) = self.0.entry(path).ok_or(FsError::NotFound)? else {
            return Err(FsError::NotDirectory);
        };
        node.entries().for_each(|entry| match entry {
            Entry::Directory(_) => each(entry.name(), Kind::Directory),
            Entry::File(_) => each(entry.name(), Kind::File),
        });
        Ok(())
    }

    fn read(&self, path: &str, out: &mut dyn Output) -> Result<(), FsError> {
        let Entry::File(file) = self.0.entry(path).ok_or(FsError::NotFound)? else {
            return Err(FsError::IsDirectory);
        };
        for byte in file.bytes() {
            out.write_bytes(&[byte])?;
        }
        Ok(())
    }
}
