//! Open files and held locks of the simulated disk.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::MutexGuard;

use super::world::{ENOSPC, Pending, World, put};
use super::{Fault, SimDisk};
use crate::disk::{DiskFile, DiskLock};

pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: usize,
    pub(super) life: u64,
}

impl SimFile {
    /// The file's own world, unless the process that opened it is gone.
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.disk.world();
        if world.life != self.life {
            return Err(io::Error::other("simulated: a file of a dead process"));
        }
        Ok(world)
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut world = self.world()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let content = &world.inode(self.inode)?.current;
        let end = offset.checked_add(buffer.len()).ok_or(ErrorKind::InvalidInput)?;
        buffer.copy_from_slice(content.get(offset..end).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        world.step(Some(Fault::Write))?;
        let short = world.trip(Fault::ShortWrite).err();
        let room = world.capacity.map(|capacity| capacity.saturating_sub(world.used()));
        let inode = world.inode(self.inode)?;
        let fits = room.map_or(usize::MAX, |room| (inode.current.len() + room).saturating_sub(offset));
        let wanted = if short.is_some() { bytes.len() / 2 } else { bytes.len() };
        let written = bytes.get(..wanted.min(fits)).unwrap_or(bytes);
        put(&mut inode.current, offset, written);
        inode.pending.push(Pending::Write { offset, bytes: written.to_vec() });
        match short {
            Some(error) => Err(error),
            None if written.len() < bytes.len() => Err(io::Error::from_raw_os_error(ENOSPC)),
            None => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world()?;
        let result = world.step(Some(Fault::Sync));
        let off = world.is_off();
        let inode = world.inode(self.inode)?;
        if off {
            return result;
        }
        let pending = std::mem::take(&mut inode.pending);
        // What Linux does on an error: the pages are marked clean although they are not on the disk.
        result?;
        for op in pending {
            match op {
                Pending::Write { offset, bytes } => put(&mut inode.durable, offset, &bytes),
                Pending::SetLen(len) => inode.durable.resize(len, 0),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.world()?.inode(self.inode)?.current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.step(None)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let inode = world.inode(self.inode)?;
        inode.current.resize(len, 0);
        inode.pending.push(Pending::SetLen(len));
        Ok(())
    }
}

pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) path: PathBuf,
    pub(super) life: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.life == self.life {
            world.locks.remove(&self.path);
        }
    }
}
