//! Frames in a row, each of which vouches for all before it.
//!
//! Decides whether bytes are those that were written, in the order in which they were; knows nothing of what is in them. The files of
//! the snapshot are written and read through it.
//!
//! A file begins with a preamble: what kind of file it is, in which format, and a random id. A frame is a head (length, kind, check), its
//! bytes, and a check over everything from the preamble on: so the last check of a file is the checksum of the whole. The checks are
//! keyed with the id and the kind, so that no frame of another file ever fits.

use super::unfit::Unfit;
use std::io::Read;

/// What every such file begins with.
const MAGIC: [u8; 16] = *b"portcullis.known";
/// The version of the format.
const FORMAT: u32 = 1;
/// Magic, format, kind, id, check.
pub(super) const PREAMBLE_BYTES: usize = 16 + 4 + 4 + 32 + CHECK_BYTES;
const CHECK_BYTES: usize = 16;
/// Length, kind, check.
const HEAD_BYTES: usize = 4 + 4 + 8;
/// More than the longest line of the watch, and than any record.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 24;

/// The random name of a snapshot. Its journal carries the same.
pub(super) type Id = [u8; 32];

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What was known when it was written.
    Base,
    /// What came since.
    Journal,
}

impl Kind {
    fn number(self) -> u32 {
        match self {
            Kind::Base => 0,
            Kind::Journal => 1,
        }
    }

    fn context(self) -> &'static str {
        match self {
            Kind::Base => "portcullis 2026 frames of a snapshot",
            Kind::Journal => "portcullis 2026 frames of the journal of a snapshot",
        }
    }
}

/// Where a file stands: enough to append to it, or to read on.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    key: [u8; 32],
    last: [u8; CHECK_BYTES],
}

impl Chain {
    /// A file's beginning.
    pub(super) fn begin(kind: Kind, id: &Id, out: &mut Vec<u8>) -> Chain {
        let from = out.len();
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(kind.number().to_le_bytes());
        out.extend(id);
        let chain = Chain {
            key: blake3::derive_key(kind.context(), id),
            last: [0; CHECK_BYTES],
        };
        let last = chain.check(&[&out[from..]]);
        out.extend(last);
        Chain { last, ..chain }
    }

    /// One more frame. `bytes` are at most [`FRAME_BYTES_MAX`].
    pub(super) fn append(&mut self, kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4] = kind;
        let check = self.head_check(&head);
        head[8..].copy_from_slice(&check);
        self.last = self.check(&[&head, bytes]);
        out.extend(head);
        out.extend(bytes);
        out.extend(self.last);
    }

    fn check(&self, parts: &[&[u8]]) -> [u8; CHECK_BYTES] {
        first(&self.hash(parts))
    }

    fn head_check(&self, head: &[u8; HEAD_BYTES]) -> [u8; 8] {
        first(&self.hash(&[&head[..8]]))
    }

    fn hash(&self, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&self.last);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }
}

fn first<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&hash.as_bytes()[..N]);
    out
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A frame of this kind; its bytes are in the reader.
    Frame(u8),
    /// The file ends here.
    End,
    /// The file ends within a frame: whoever wrote it did not get any further.
    Torn,
}

/// Reads frames until the file's end as it was when reading began.
#[derive(Debug)]
pub(super) struct Frames<R> {
    source: R,
    chain: Chain,
    id: Id,
    /// Bytes that are good so far.
    at: u64,
    end: u64,
    bytes: Vec<u8>,
    /// Kinds of frames that a torn end may spoil although they are there in their full length: nobody was told that they are safe.
    unsafe_kinds: &'static [u8],
}

impl<R: Read> Frames<R> {
    /// Reads the preamble of a file of `length` bytes.
    pub(super) fn open(
        mut source: R,
        kind: Kind,
        length: u64,
        unsafe_kinds: &'static [u8],
    ) -> Result<Frames<R>, Unfit> {
        let mut preamble = [0; PREAMBLE_BYTES];
        if length < size(PREAMBLE_BYTES) {
            return Err(Unfit::Truncated);
        }
        source.read_exact(&mut preamble)?;
        if preamble[..16] != MAGIC {
            return Err(Unfit::Foreign);
        }
        let format = u32_at(&preamble, 16);
        if format != FORMAT {
            return Err(Unfit::OtherFormat {
                found: format,
                known: FORMAT,
            });
        }
        let mut id = [0; 32];
        id.copy_from_slice(&preamble[24..56]);
        let mut expected = Vec::with_capacity(PREAMBLE_BYTES);
        let chain = Chain::begin(kind, &id, &mut expected);
        if expected != preamble {
            return Err(Unfit::Damaged { at: 0 });
        }
        Ok(Frames {
            source,
            chain,
            id,
            at: size(PREAMBLE_BYTES),
            end: length,
            bytes: Vec::new(),
            unsafe_kinds,
        })
    }

    /// Reads on where a chain ended, in a file of `length` bytes. The source stands there.
    pub(super) fn resume(source: R, chain: Chain, at: u64, length: u64) -> Frames<R> {
        Frames {
            source,
            chain,
            id: [0; 32],
            at,
            end: length.max(at),
            bytes: Vec::new(),
            unsafe_kinds: &[],
        }
    }

    /// The file's id; zeros when reading did not begin with the preamble.
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// Where the last good frame ends.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// What to append by, there.
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The bytes of the frame that was read last.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Reads the next frame.
    pub(super) fn next(&mut self) -> Result<Next, Unfit> {
        let left = self.end - self.at;
        if left == 0 {
            return Ok(Next::End);
        }
        if left < size(HEAD_BYTES) {
            return Ok(Next::Torn);
        }
        let mut head = [0; HEAD_BYTES];
        self.source.read_exact(&mut head)?;
        let damaged = Unfit::Damaged { at: self.at };
        if head[8..] != self.chain.head_check(&head) {
            // A machine that lost its power may leave zeros where nothing was written yet.
            let is_blank = head == [0; HEAD_BYTES] && self.only_zeros_follow()?;
            return if is_blank { Ok(Next::Torn) } else { Err(damaged) };
        }
        let (length, kind) = (u32_at(&head, 0), head[4]);
        let after = size(HEAD_BYTES + CHECK_BYTES) + u64::from(length);
        if left < after {
            return Ok(Next::Torn);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(damaged);
        }
        self.bytes.resize(length, 0);
        self.source.read_exact(&mut self.bytes)?;
        let mut check = [0; CHECK_BYTES];
        self.source.read_exact(&mut check)?;
        let expected = self.chain.check(&[&head, &self.bytes]);
        if check != expected {
            let is_last = left == after && self.unsafe_kinds.contains(&kind);
            return if is_last { Ok(Next::Torn) } else { Err(damaged) };
        }
        self.chain.last = expected;
        self.at += after;
        Ok(Next::Frame(kind))
    }

    fn only_zeros_follow(&mut self) -> Result<bool, Unfit> {
        let mut bytes = [0; 4096];
        loop {
            match self.source.read(&mut bytes)? {
                0 => return Ok(true),
                read if bytes[..read].iter().any(|&byte| byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
