//! Stored bytes: one version byte, then bincode; packed with zstd where it pays. The only module that names either codec.
//!
//! Invariant: decoding arbitrary bytes is an error or a value, never a panic, and allocates no more than in proportion to its
//! input. Stored types are plain and their shape is their format: a changed shape is a new version byte with its own arm in the
//! decoder, and enums only grow at the end.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
pub use bincode::{Decode, Encode};

/// The largest record accepted, before packing.
pub const MAX_BYTES: usize = 64 << 20;

/// Below this size packing costs more than it saves.
const PACK_FROM: usize = 128;
/// First byte of a packed value: stored as it is.
const PLAIN: u8 = 0;
/// First byte of a packed value: four bytes of length, little endian, and a zstd frame.
const ZSTD: u8 = 1;
/// Fast, and still a factor of five to ten on journal entries.
const ZSTD_LEVEL: i32 = 1;

/// Why stored bytes are no record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// Nothing there.
    #[error("the record is empty")]
    Empty,
    /// Written in another shape than asked for.
    #[error("the record has version {found}, version {expected} was expected")]
    Version {
        /// The version byte of the record.
        found: u8,
        /// What the reader can read.
        expected: u8,
    },
    /// Larger than any record this module writes.
    #[error("the record has {bytes} bytes, more than the limit of {MAX_BYTES}")]
    TooLarge {
        /// Its size, or what it claims to be.
        bytes: usize,
    },
    /// The bytes do not follow the shape.
    #[error("the record is malformed: {0}")]
    Malformed(String),
}

/// The value behind its version byte.
pub fn encode<T: Encode + ?Sized>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    bincode::encode_into_std_write(value, &mut bytes, config::standard())
        .expect("plain types of known length always encode into memory");
    bytes
}

/// The version byte, for readers that know several.
pub fn version(bytes: &[u8]) -> Result<u8, RecordError> {
    bytes.first().copied().ok_or(RecordError::Empty)
}

/// The value, if it was written as version `expected` and fills the bytes exactly.
pub fn decode<T: Decode<()>>(bytes: &[u8], expected: u8) -> Result<T, RecordError> {
    let found = version(bytes)?;
    if found != expected {
        return Err(RecordError::Version { found, expected });
    }
    let body = &bytes[1..];
    // A length inside the record makes bincode allocate, up to the limit, before it notices that the bytes are missing; so
    // the limit follows the size. It counts values as they are in memory, which take more room than their encoded bytes.
    if body.len() <= SMALL {
        read::<T, { SMALL * 64 }>(body)
    } else if body.len() <= MAX_BYTES {
        read::<T, { MAX_BYTES * 16 }>(body)
    } else {
        Err(RecordError::TooLarge { bytes: body.len() })
    }
}

/// Most records are smaller than this.
const SMALL: usize = 64 << 10;

fn read<T: Decode<()>, const LIMIT: usize>(body: &[u8]) -> Result<T, RecordError> {
    let limited: Configuration<LittleEndian, Varint, Limit<LIMIT>> = config::standard().with_limit::<LIMIT>();
    match bincode::decode_from_slice(body, limited) {
        Ok((value, used)) if used == body.len() => Ok(value),
        Ok((_, used)) => Err(RecordError::Malformed(format!("{} bytes follow its end", body.len() - used))),
        Err(error) => Err(RecordError::Malformed(error.to_string())),
    }
}

/// A field that is computed from the rest of its record: never stored, and its default after decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Derived<T>(pub T);

impl<T> std::ops::Deref for Derived<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Derived<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Encode for Derived<T> {
    fn encode<E: bincode::enc::Encoder>(&self, _: &mut E) -> Result<(), bincode::error::EncodeError> {
        Ok(())
    }
}

impl<C, T: Default> Decode<C> for Derived<T> {
    fn decode<D: bincode::de::Decoder<Context = C>>(_: &mut D) -> Result<Self, bincode::error::DecodeError> {
        Ok(Derived(T::default()))
    }
}

impl<'de, C, T: Default> bincode::BorrowDecode<'de, C> for Derived<T> {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
        _: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Ok(Derived(T::default()))
    }
}

/// Collects values into records that hold a sequence, so that the writer can cut by size.
///
/// What [`Sequence::finish`] gives is what [`encode`] gives for a `Vec` of the same values.
#[derive(Debug, Default)]
pub struct Sequence {
    count: u64,
    items: Vec<u8>,
}

impl Sequence {
    /// Adds a value.
    pub fn push<T: Encode>(&mut self, value: &T) {
        self.count += 1;
        bincode::encode_into_std_write(value, &mut self.items, config::standard())
            .expect("plain types of known length always encode into memory");
    }

    /// Bytes collected.
    pub fn bytes(&self) -> usize {
        self.items.len()
    }

    /// True when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The record; the collection is empty afterwards.
    pub fn finish(&mut self, version: u8) -> Vec<u8> {
        let mut record = encode(version, &self.count);
        record.extend_from_slice(&self.items);
        self.count = 0;
        self.items.clear();
        record
    }
}

/// Packs records for storage; keeps the compressor's memory between calls.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// A packer with its own memory.
    pub fn new() -> std::io::Result<Packer> {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        // Four bytes, by which a start notices that a value is not what was written.
        compressor.include_checksum(true)?;
        Ok(Packer(compressor))
    }

    /// The stored form of a record.
    pub fn pack(&mut self, record: &[u8]) -> Vec<u8> {
        if record.len() >= PACK_FROM
            && let Ok(length) = u32::try_from(record.len())
            && let Ok(frame) = self.0.compress(record)
            && frame.len() + 5 < record.len()
        {
            let mut packed = Vec::with_capacity(frame.len() + 5);
            packed.push(ZSTD);
            packed.extend_from_slice(&length.to_le_bytes());
            packed.extend_from_slice(&frame);
            return packed;
        }
        let mut plain = Vec::with_capacity(record.len() + 1);
        plain.push(PLAIN);
        plain.extend_from_slice(record);
        plain
    }
}

/// Unpacks what [`Packer::pack`] gave.
pub struct Unpacker(zstd::bulk::Decompressor<'static>);

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Unpacker {
    /// An unpacker with its own memory.
    pub fn new() -> std::io::Result<Unpacker> {
        zstd::bulk::Decompressor::new().map(Unpacker)
    }

    /// The record behind a stored value.
    pub fn unpack(&mut self, packed: &[u8]) -> Result<Vec<u8>, RecordError> {
        match packed {
            [] => Err(RecordError::Empty),
            [PLAIN, record @ ..] => Ok(record.to_vec()),
            [ZSTD, a, b, c, d, frame @ ..] => {
                let bytes = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                // zstd gains at most some thousandfold; a frame that claims more is no frame of ours.
                if bytes > MAX_BYTES || bytes / 20_000 > frame.len() {
                    return Err(RecordError::TooLarge { bytes });
                }
                let record =
                    self.0.decompress(frame, bytes).map_err(|error| RecordError::Malformed(error.to_string()))?;
                if record.len() != bytes {
                    return Err(RecordError::Malformed(format!("{} bytes where {bytes} were said", record.len())));
                }
                Ok(record)
            }
            [tag, ..] => Err(RecordError::Malformed(format!("packed in an unknown way ({tag}), or cut short"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, CarrierKey, Clock, Fact, Liveness, LivenessChange, Micros};
    use proptest::prelude::*;

    fn fact(source: &str) -> Fact {
        Fact {
            source: source.into(),
            carrier: CarrierKey(7),
            at: Micros(1_000_000),
            clock: Clock::Said,
            identity: 9,
            received_at: Micros(1_000_001),
            body: Body::Liveness(vec![LivenessChange {
                host: "h1".into(),
                liveness: Liveness::Late,
                at: Micros(5),
                heard_at: Micros(-1),
            }]),
        }
    }

    #[test]
    fn the_bytes_of_version_1_never_change() {
        let bytes = encode(1, &vec![fact("push")]);
        #[rustfmt::skip]
        let golden = [
            1,                              // version
            1,                              // one fact
            4, b'p', b'u', b's', b'h',      // source
            7,                              // carrier
            252, 0x80, 0x84, 0x1e, 0,       // at, zigzag
            0,                              // clock: said
            9,                              // identity
            252, 0x82, 0x84, 0x1e, 0,       // received_at
            4,                              // body: liveness
            1,                              // one change
            2, b'h', b'1', 1, 10, 1,        // host, late, at, heard_at
        ];
        assert_eq!(bytes, golden);
        assert_eq!(decode::<Vec<Fact>>(&golden, 1), Ok(vec![fact("push")]));
    }

    #[test]
    fn the_numbers_of_what_a_host_is_never_change() {
        let all = [Liveness::Online, Liveness::Late, Liveness::Silent, Liveness::Retired, Liveness::Unknown];
        assert_eq!(encode(1, &all), [1, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_collected_sequence_reads_as_a_vector() {
        let facts = vec![fact("a"), fact("b")];
        let mut sequence = Sequence::default();
        facts.iter().for_each(|f| sequence.push(f));
        assert!(!sequence.is_empty());
        assert_eq!(sequence.finish(1), encode(1, &facts));
        assert_eq!((sequence.bytes(), sequence.is_empty()), (0, true));
    }

    #[test]
    fn another_version_and_trailing_bytes_are_refused() {
        let mut bytes = encode(2, &5u32);
        assert_eq!(decode::<u32>(&bytes, 1), Err(RecordError::Version { found: 2, expected: 1 }));
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes, 2), Err(RecordError::Malformed("1 bytes follow its end".into())));
        assert_eq!(decode::<u32>(&[], 2), Err(RecordError::Empty));
    }

    #[test]
    fn a_length_that_lies_is_an_error_not_an_allocation() {
        for length in [1u64 << 23, 1 << 40, u64::MAX] {
            let mut bytes = vec![1, 253];
            bytes.extend_from_slice(&length.to_le_bytes());
            assert!(matches!(decode::<String>(&bytes, 1), Err(RecordError::Malformed(_))), "{length}");
            assert!(matches!(decode::<Vec<Fact>>(&bytes, 1), Err(RecordError::Malformed(_))), "{length}");
        }
        let claims = [ZSTD, 255, 255, 255, 255, 1, 2, 3];
        assert_eq!(Unpacker::new().unwrap().unpack(&claims), Err(RecordError::TooLarge { bytes: u32::MAX as usize }));
    }

    #[test]
    fn large_records_pack_and_come_back() {
        let record = encode(1, &vec![fact("push"); 10_000]);
        assert!(record.len() > SMALL);
        let packed = Packer::new().unwrap().pack(&record);
        assert!(packed.len() < record.len() / 10);
        assert_eq!(Unpacker::new().unwrap().unpack(&packed), Ok(record.clone()));
        assert_eq!(decode::<Vec<Fact>>(&record, 1).unwrap().len(), 10_000);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode::<Vec<Fact>>(&bytes, 1);
            let mut versioned = vec![1];
            versioned.extend_from_slice(&bytes);
            let _ = decode::<Vec<Fact>>(&versioned, 1);
            let mut unpacker = Unpacker::new().unwrap();
            let _ = unpacker.unpack(&bytes);
            let mut framed = vec![ZSTD, 0, 1, 0, 0];
            framed.extend_from_slice(&bytes);
            let _ = unpacker.unpack(&framed);
        }

        #[test]
        fn a_damaged_record_never_panics(at in 0usize..40, byte in any::<u8>()) {
            let mut bytes = encode(1, &vec![fact("push")]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode::<Vec<Fact>>(&bytes, 1);
        }

        #[test]
        fn what_is_packed_is_unpacked(bytes in proptest::collection::vec(0u8..4, 0..2048)) {
            let packed = Packer::new().unwrap().pack(&bytes);
            prop_assert_eq!(Unpacker::new().unwrap().unpack(&packed).unwrap(), bytes);
        }
    }
}
