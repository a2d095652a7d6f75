//! The files under `/proc`, `/sys` and `/dev`: a registry of paths.
//!
//! Directories come from the paths themselves: a file at `/proc/sys/vm/drop_caches` makes `/proc`, `/proc/sys` and
//! `/proc/sys/vm`. A tree whose names are known only at run time (`/proc/device-tree`) is a [`Directory`] mounted at
//! one path, which then answers for everything below it.

use crate::{FsError, Output};
use alloc::{boxed::Box, format, string::String, vec::Vec};

/// A file. What it says is made when it is read.
pub trait File {
    /// Writes the whole content to `out`. `out` upcasts to `&mut dyn core::fmt::Write`.
    ///
    /// # Errors
    /// [`FsError`]; those of `out` are passed on.
    fn read(&self, out: &mut dyn Output) -> Result<(), FsError>;

    /// Takes what one `echo` wrote, with its newline.
    ///
    /// # Errors
    /// [`FsError::PermissionDenied`] unless the file says otherwise.
    fn write(&self, _text: &str) -> Result<(), FsError> {
        Err(FsError::PermissionDenied)
    }
}

/// What a directory entry is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Can be read or written.
    File,
    /// Can be listed.
    Directory,
}

/// A tree of files made at run time. Paths are relative to its mount point, without a leading slash; `""` is the
/// mount point itself.
pub trait Directory {
    /// Calls `each` for every entry of the directory at `path`, in any order.
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::NotDirectory`] when `path` is a file.
    fn list(&self, path: &str, each: &mut dyn FnMut(&str, Kind)) -> Result<(), FsError>;

    /// Writes the content of the file at `path` to `out`.
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::IsDirectory`] when `path` is a directory.
    fn read(&self, path: &str, out: &mut dyn Output) -> Result<(), FsError>;

    /// Writes to the file at `path`.
    ///
    /// # Errors
    /// [`FsError::PermissionDenied`] unless the directory says otherwise.
    fn write(&self, _path: &str, _text: &str) -> Result<(), FsError> {
        Err(FsError::PermissionDenied)
    }
}

/// A read-only file made of a function.
pub struct Readable<R>(
    /// Writes the content.
    pub R,
);

impl<R: Fn(&mut dyn Output) -> Result<(), FsError>> File for Readable<R> {
    fn read(&self, out: &mut dyn Output) -> Result<(), FsError> {
        (self.0)(out)
    }
}

/// A file that can be read and written, made of two functions.
pub struct Control<R, W>(
    /// Writes the content.
    pub R,
    /// Takes what was written.
    pub W,
);

impl<R, W> File for Control<R, W>
where
    R: Fn(&mut dyn Output) -> Result<(), FsError>,
    W: Fn(&str) -> Result<(), FsError>,
{
    fn read(&self, out: &mut dyn Output) -> Result<(), FsError> {
        (self.0)(out)
    }

    fn write(&self, text: &str) -> Result<(), FsError> {
        (self.1)(text)
    }
}

enum Node {
    File(Box<dyn File>),
    Mount(Box<dyn Directory>),
}

enum Found<'a> {
    File(&'a dyn File),
    Mount(&'a dyn Directory, String),
    Directory(String),
}

/// The registry.
#[derive(Default)]
pub struct Vfs {
    /// Sorted by path: a hundred files, looked up when somebody types a path.
    nodes: Vec<(String, Node)>,
}

impl Vfs {
    /// Without files.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Adds a file at an absolute path.
    ///
    /// # Errors
    /// [`FsError::Exists`] when the path is taken, as a file or as a directory; [`FsError::NotDirectory`] when a
    /// part of it is a file or a mount; [`FsError::InvalidArgument`] when it is not absolute.
    pub fn add(&mut self, path: &str, file: impl File + 'static) -> Result<(), FsError> {
        self.insert(path, Node::File(Box::new(file)))
    }

    /// Adds a read-only file made of a function.
    ///
    /// # Errors
    /// As [`Vfs::add`].
    pub fn add_read(
        &mut self,
        path: &str,
        read: impl Fn(&mut dyn Output) -> Result<(), FsError> + 'static,
    ) -> Result<(), FsError> {
        self.add(path, Readable(read))
    }

    /// Mounts a tree at an absolute path.
    ///
    /// # Errors
    /// As [`Vfs::add`].
    pub fn mount(&mut self, path: &str, directory: impl Directory + 'static) -> Result<(), FsError> {
        self.insert(path, Node::Mount(Box::new(directory)))
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<(), FsError> {
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(FsError::InvalidArgument);
        }
        let (path, _) = normalize(path);
        match self.find(&path) {
            Ok(Found::Mount(_, rest)) if !rest.is_empty() => return Err(FsError::NotDirectory),
            Ok(_) => return Err(FsError::Exists),
            Err(FsError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let at = self.first_from(&path);
        self.nodes.insert(at, (path, node));
        Ok(())
    }

    /// Writes the content of the file at `path` to `out`. Relative paths start at `/`.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::IsDirectory`], [`FsError::NotDirectory`], and the file's own.
    pub fn read(&self, path: &str, out: &mut dyn Output) -> Result<(), FsError> {
        match self.resolve(path)? {
            Found::File(file) => file.read(out),
            Found::Mount(directory, rest) => directory.read(&rest, out),
            Found::Directory(_) => Err(FsError::IsDirectory),
        }
    }

    /// Writes `text` to the file at `path`.
    ///
    /// # Errors
    /// As [`Vfs::read`]. A file that does not exist can't be made: [`FsError::NotFound`].
    pub fn write(&self, path: &str, text: &str) -> Result<(), FsError> {
        match self.resolve(path)? {
            Found::File(file) => file.write(text),
            Found::Mount(directory, rest) => directory.write(&rest, text),
            Found::Directory(_) => Err(FsError::IsDirectory),
        }
    }

    /// The names in the directory at `path`, sorted; for a file, `None`.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotDirectory`] when a part of the path is a file.
    pub fn list(&self, path: &str) -> Result<Option<Vec<String>>, FsError> {
        let mut names = Vec::new();
        match self.resolve(path)? {
            Found::File(_) => return Ok(None),
            Found::Directory(prefix) => {
                let below = self.below(&prefix).filter_map(|path| path.strip_prefix(prefix.as_str()));
                below.for_each(|rest| insert_name(&mut names, rest.split('/').next().unwrap_or(rest)));
            }
            Found::Mount(directory, rest) => {
                let listed = directory.list(&rest, &mut |name, _| insert_name(&mut names, name));
                match listed {
                    Err(FsError::NotDirectory) if is_file(directory, &rest) => return Ok(None),
                    listed => listed?,
                }
            }
        }
        Ok(Some(names))
    }

    fn resolve(&self, path: &str) -> Result<Found<'_>, FsError> {
        let (normal, must_be_directory) = normalize(path);
        match self.find(&normal)? {
            Found::File(_) if must_be_directory => Err(FsError::NotDirectory),
            Found::Mount(directory, rest) if must_be_directory && is_file(directory, &rest) => {
                Err(FsError::NotDirectory)
            }
            found => Ok(found),
        }
    }

    fn find(&self, path: &str) -> Result<Found<'_>, FsError> {
        let slashes = path.match_indices('/').map(|(at, _)| at).skip(1);
        for end in slashes.chain([path.len()]) {
            let Some((start, rest)) = path.split_at_checked(end) else { continue };
            let rest = rest.trim_start_matches('/');
            match self.node(start) {
                Some(Node::Mount(directory)) => return Ok(Found::Mount(&**directory, rest.into())),
                Some(Node::File(file)) if rest.is_empty() => return Ok(Found::File(&**file)),
                Some(Node::File(_)) => return Err(FsError::NotDirectory),
                None => {}
            }
        }
        let prefix = if path == "/" { String::from("/") } else { format!("{path}/") };
        let known = path == "/" || self.below(&prefix).next().is_some();
        if known { Ok(Found::Directory(prefix)) } else { Err(FsError::NotFound) }
    }

    /// Where the paths begin that are not less than `path`.
    fn first_from(&self, path: &str) -> usize {
        self.nodes.partition_point(|(known, _)| known.as_str() < path)
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let (known, node) = self.nodes.get(self.first_from(path))?;
        (known == path).then_some(node)
    }

    /// The registered paths that start with `prefix`.
    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from = self.nodes.iter().skip(self.first_from(prefix)).map(|(path, _)| path.as_str());
        from.take_while(move |path| path.starts_with(prefix))
    }
}

/// Puts a name into a sorted list, once.
fn insert_name(names: &mut Vec<String>, name: &str) {
    let at = names.partition_point(|known| known.as_str() < name);
    if names.get(at).is_none_or(|known| known != name) {
        names.insert(at, name.into());
    }
}

/// Whether `rest` names a file of `directory`: its parent lists it as one.
fn is_file(directory: &dyn Directory, rest: &str) -> bool {
    let (parent, name) = rest.rsplit_once('/').unwrap_or(("", rest));
    let mut found = false;
    let listed = directory.list(parent, &mut |entry, kind| found |= entry == name && kind == Kind::File);
    listed.is_ok() && found
}

/// The absolute path without `.`, `..` and doubled slashes, and whether it was written as a directory's.
fn normalize(path: &str) -> (String, bool) {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let as_directory = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    (format!("/{}", parts.join("/")), as_directory)
}

#[cfg(test)]
mod tests;
