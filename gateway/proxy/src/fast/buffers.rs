//! Memory for what is under way, kept by each worker thread for its next request.
//!
//! An idle connection holds none of it. Knows nothing of what is in the buffers; they are emptied when they are given back.

use bytes::BytesMut;
use std::cell::RefCell;

/// Room in a buffer.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers of each sort that a thread keeps.
const KEPT_MAX: usize = 256;
/// A buffer that grew past this is not kept.
const KEPT_BYTES_MAX: usize = 4 * BUFFER_BYTES;

thread_local! {
    static INPUTS: RefCell<Kept<BytesMut>> = const { RefCell::new(Kept::new()) };
    static OUTPUTS: RefCell<Kept<Vec<u8>>> = const { RefCell::new(Kept::new()) };
}

/// Buffers that wait to be used again.
struct Kept<B> {
    buffers: Vec<B>,
    /// How many of them nobody has wanted since the last sweep.
    unwanted: usize,
}

impl<B> Kept<B> {
    const fn new() -> Kept<B> {
        Kept {
            buffers: Vec::new(),
            unwanted: 0,
        }
    }

    fn take(&mut self) -> Option<B> {
        let buffer = self.buffers.pop();
        self.unwanted = self.unwanted.min(self.buffers.len());
        buffer
    }

    fn give(&mut self, buffer: B) {
        if self.buffers.len() < KEPT_MAX {
            self.buffers.push(buffer);
        }
    }

    fn sweep(&mut self) {
        self.buffers.truncate(self.buffers.len() - self.unwanted.div_ceil(2));
        self.unwanted = self.buffers.len();
    }
}

/// Gives half of the memory back that was not wanted since the last call. To be called a few times a second by each thread.
pub(crate) fn sweep() {
    INPUTS.with_borrow_mut(Kept::sweep);
    OUTPUTS.with_borrow_mut(Kept::sweep);
}

/// A buffer for what a client sends.
pub(crate) fn input() -> BytesMut {
    INPUTS
        .with_borrow_mut(Kept::take)
        .unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
}

/// Takes a client's buffer back.
pub(crate) fn give_input(mut buffer: BytesMut) {
    buffer.clear();
    // Makes room again of what was read off its front, if nobody else holds a part of it.
    if buffer.capacity() < BUFFER_BYTES && !buffer.try_reclaim(BUFFER_BYTES) {
        return;
    }
    if buffer.capacity() <= KEPT_BYTES_MAX {
        INPUTS.with_borrow_mut(|kept| kept.give(buffer));
    }
}

/// A buffer for anything else. It goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty buffer.
    pub(crate) fn new() -> Buffer {
        let kept = OUTPUTS.with_borrow_mut(Kept::take);
        Buffer(kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES)))
    }
}

impl std::ops::Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        if buffer.capacity() <= KEPT_BYTES_MAX {
            // A thread that ends has no place for it any more.
            let _ = OUTPUTS.try_with(|kept| kept.borrow_mut().give(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    #[test]
    fn buffers_come_back_empty_and_with_all_their_room() {
        let mut input = input();
        input.extend_from_slice(&[1; 1000]);
        input.advance(900);
        give_input(input);
        let again = super::input();
        assert!(again.is_empty() && again.capacity() >= BUFFER_BYTES);

        let mut output = Buffer::new();
        output.extend_from_slice(b"secret");
        drop(output);
        assert!(Buffer::new().is_empty());
    }

    #[test]
    fn what_nobody_wants_any_more_is_given_back() {
        let kept = || OUTPUTS.with_borrow(|kept| kept.buffers.len());
        drop((0..100).map(|_| Buffer::new()).collect::<Vec<_>>());
        sweep();
        // Ten are in use at a time from now on.
        for _ in 0..10 {
            drop((0..10).map(|_| Buffer::new()).collect::<Vec<_>>());
            assert!(kept() >= 10);
            sweep();
        }
        assert!(kept() < 15, "{}", kept());
    }

    #[test]
    fn a_buffer_that_grew_large_is_not_kept() {
        let mut output = Buffer::new();
        output.resize(KEPT_BYTES_MAX + 1, 0);
        drop(output);
        assert!(Buffer::new().capacity() <= KEPT_BYTES_MAX);
    }
}
