//! A segment's file as memory. The one place in the project that is `unsafe`.
#![expect(unsafe_code, reason = "mapping a file is unsafe: see the argument at the call")]

use std::fs::File;
use std::io;

use memmap2::{MmapMut, MmapOptions};

/// The first `len` bytes of `file`, to be written as a slice. What is written belongs to the kernel at
/// once, so that the end of this process, however sudden, does not lose it.
pub(super) fn map(file: &File, len: usize) -> io::Result<MmapMut> {
    // SAFETY: a mapped file is undefined behaviour to read or write through a slice while something
    // else changes or truncates it, and a SIGBUS where it has no block behind it. Neither can happen:
    // - the file was made by this process under a fresh name, mode 0600, in a folder whose lock it
    //   holds, and is mapped this once. Other users cannot open it, and other processes of ours stop
    //   at the lock;
    // - the slice is written under one mutex, and nothing but its owner reads it. Readers of the log
    //   use the file, and only the part that no longer changes;
    // - all `len` bytes were allocated before (`Disk::create`), so that a page fault never has to find
    //   a block on a full disk;
    // - it is truncated by this process only after the map was dropped (`Segment::settle`).
    unsafe { MmapOptions::new().len(len).map_mut(file) }
}
