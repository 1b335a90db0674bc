//! SSZ types as data, and the one function that hashes JSON by them.
//!
//! In: a [`Schema`] (a static table, see `containers`), a place in the body, the preset. Out: the hash tree root, or the
//! path of what does not fit. Fields that the schema does not name are ignored. Deliberately absent: serialization and
//! decoded objects; nothing but the root is needed.
//!
//! Bounded types: consensus specification, `ssz/simple-serialize.md`. Progressive types: EIP-7916 (lists) and EIP-7495
//! (containers), used from Gloas on (EIP-7688).

use super::cursor::Cursor;
use super::error::{Fault, ParseError};
use super::merkle::{CHUNK_BYTES, Chunk, Tree, hash_pair, mix_in_length, uint64_chunk};
use crate::network::Preset;

/// A number that may depend on the preset.
pub(super) type Limit = fn(&Preset) -> u64;

/// An SSZ type.
pub(super) enum Schema {
    /// `boolean`
    Bool,
    /// `uint64`
    Uint64,
    /// `uint256`
    Uint256,
    /// `ByteVector[n]`
    Bytes(u64),
    /// `ByteList[limit]`
    ByteList(Limit),
    /// `Bitvector[n]`
    Bitvector(Limit),
    /// `Bitlist[limit]`
    Bitlist(Limit),
    /// `List[element, limit]`
    List(&'static Schema, Limit),
    /// `Vector[element, n]` of elements that are no basic type.
    Vector(&'static Schema, u64),
    /// `Container`
    Container(&'static [Field]),
    /// `ProgressiveList[element]`
    ProgressiveList(&'static Schema),
    /// `ProgressiveList[byte]`
    ProgressiveByteList,
    /// `ProgressiveBitlist`
    ProgressiveBitlist,
    /// `ProgressiveContainer` whose positions are all active, as those of all signed types are. At most 256 fields.
    ProgressiveContainer(&'static [Field]),
}

/// A field of a container: its name in JSON, and its type.
pub(super) struct Field(pub(super) &'static str, pub(super) &'static Schema);

/// Bits of a chunk.
const CHUNK_BITS: u64 = 256;

/// `uint64` values that share a chunk in a list.
const UINT64_PER_CHUNK: u64 = 4;

/// The hash tree root of the JSON value at `at`, read as `schema`.
pub(super) fn hash_tree_root(schema: &Schema, at: &Cursor<'_, '_>, preset: &Preset) -> Result<Chunk, ParseError> {
    match schema {
        Schema::Bool => Ok(uint64_chunk(at.boolean()?.into())),
        Schema::Uint64 => Ok(uint64_chunk(at.uint64()?)),
        Schema::Uint256 => at.uint256(),
        Schema::Bytes(length) => bytes_root(at, *length),
        Schema::ByteList(limit) => byte_list_root(at, Some(limit(preset))),
        Schema::ProgressiveByteList => byte_list_root(at, None),
        Schema::Bitvector(length) => bitvector_root(at, length(preset)),
        Schema::Bitlist(limit) => bitlist_root(at, Some(limit(preset))),
        Schema::ProgressiveBitlist => bitlist_root(at, None),
        Schema::List(element, limit) => list_root(element, Some(limit(preset)), at, preset),
        Schema::ProgressiveList(element) => list_root(element, None, at, preset),
        Schema::Vector(element, length) => vector_root(element, *length, at, preset),
        Schema::Container(fields) => fields_root(fields, Tree::bounded(fields.len() as u64), at, preset),
        Schema::ProgressiveContainer(fields) => {
            let root = fields_root(fields, Tree::progressive(), at, preset)?;
            Ok(hash_pair(&root, &active_fields(fields.len())))
        }
    }
}

fn fields_root(fields: &[Field], mut tree: Tree, at: &Cursor<'_, '_>, preset: &Preset) -> Result<Chunk, ParseError> {
    for Field(name, schema) in fields {
        tree.push(hash_tree_root(schema, &at.field(name)?, preset)?);
    }
    Ok(tree.root())
}

/// EIP-7495 `mix_in_active_fields`: the bits of the active positions, here the first `count`.
fn active_fields(count: usize) -> Chunk {
    let mut chunk = [0_u8; CHUNK_BYTES];
    for position in 0..count {
        chunk[position / 8] |= 1 << (position % 8);
    }
    chunk
}

fn list_root(element: &Schema, limit: Option<u64>, at: &Cursor<'_, '_>, preset: &Preset) -> Result<Chunk, ParseError> {
    let elements = at.elements()?;
    let count = elements.len() as u64;
    check_limit(at, "elements", limit, count)?;
    let packed = matches!(element, Schema::Uint64);
    let mut tree = match limit {
        Some(limit) if packed => Tree::bounded(limit.div_ceil(UINT64_PER_CHUNK)),
        Some(limit) => Tree::bounded(limit),
        None => Tree::progressive(),
    };
    if packed {
        let mut chunk = [0_u8; CHUNK_BYTES];
        for (index, element) in elements.enumerate() {
            let offset = index % UINT64_PER_CHUNK as usize * 8;
            chunk[offset..offset + 8].copy_from_slice(&element.uint64()?.to_le_bytes());
            if offset + 8 == CHUNK_BYTES || index as u64 + 1 == count {
                tree.push(std::mem::take(&mut chunk));
            }
        }
    } else {
        for item in elements {
            tree.push(hash_tree_root(element, &item, preset)?);
        }
    }
    Ok(mix_in_length(&tree.root(), count))
}

fn vector_root(element: &Schema, length: u64, at: &Cursor<'_, '_>, preset: &Preset) -> Result<Chunk, ParseError> {
    let elements = at.elements()?;
    if elements.len() as u64 != length {
        return Err(at.fault(Fault::Elements { expected: length, found: elements.len() as u64 }));
    }
    let mut tree = Tree::bounded(length);
    for item in elements {
        tree.push(hash_tree_root(element, &item, preset)?);
    }
    Ok(tree.root())
}

fn bytes_root(at: &Cursor<'_, '_>, length: u64) -> Result<Chunk, ParseError> {
    let digits = at.hex_digits()?;
    check_length(at, length, digits)?;
    let mut tree = Tree::bounded(length.div_ceil(CHUNK_BYTES as u64));
    push_bytes(&mut tree, at, digits)?;
    Ok(tree.root())
}

fn byte_list_root(at: &Cursor<'_, '_>, limit: Option<u64>) -> Result<Chunk, ParseError> {
    let digits = at.hex_digits()?;
    let length = digits.len() as u64 / 2;
    check_limit(at, "bytes", limit, length)?;
    let mut tree = match limit {
        Some(limit) => Tree::bounded(limit.div_ceil(CHUNK_BYTES as u64)),
        None => Tree::progressive(),
    };
    push_bytes(&mut tree, at, digits)?;
    Ok(mix_in_length(&tree.root(), length))
}

fn bitvector_root(at: &Cursor<'_, '_>, bits: u64) -> Result<Chunk, ParseError> {
    let digits = at.hex_digits()?;
    check_length(at, bits.div_ceil(8), digits)?;
    let used_in_last = bits % 8;
    if used_in_last > 0 && last_byte(at, digits)? >> used_in_last != 0 {
        return Err(at.fault(Fault::Padding(bits)));
    }
    let mut tree = Tree::bounded(bits.div_ceil(CHUNK_BITS));
    push_bytes(&mut tree, at, digits)?;
    Ok(tree.root())
}

/// A bit list in its serialized form ends with a delimiter bit, which is not part of the tree.
fn bitlist_root(at: &Cursor<'_, '_>, limit: Option<u64>) -> Result<Chunk, ParseError> {
    let digits = at.hex_digits()?;
    let last = if digits.is_empty() { 0 } else { last_byte(at, digits)? };
    let Some(delimiter) = last.checked_ilog2() else { return Err(at.fault(Fault::Delimiter)) };
    let length = (digits.len() as u64 / 2 - 1) * 8 + u64::from(delimiter);
    check_limit(at, "bits", limit, length)?;
    let mut tree = match limit {
        Some(limit) => Tree::bounded(limit.div_ceil(CHUNK_BITS)),
        None => Tree::progressive(),
    };
    // The chunks before the one that holds the delimiter, then that one without it, unless nothing else is in it: an
    // empty chunk would give a progressive tree another shape.
    let last_chunk = (digits.len() - 1) / (2 * CHUNK_BYTES) * 2 * CHUNK_BYTES;
    push_bytes(&mut tree, at, &digits[..last_chunk])?;
    let mut chunk = [0_u8; CHUNK_BYTES];
    let rest = &digits[last_chunk..];
    let used = rest.len() / 2;
    at.decode(rest, &mut chunk[..used])?;
    chunk[used - 1] ^= 1 << delimiter;
    if used > 1 || delimiter > 0 {
        tree.push(chunk);
    }
    Ok(mix_in_length(&tree.root(), length))
}

/// Decodes chunk by chunk: a payload of megabytes needs no second buffer.
fn push_bytes(tree: &mut Tree, at: &Cursor<'_, '_>, digits: &[u8]) -> Result<(), ParseError> {
    for part in digits.chunks(2 * CHUNK_BYTES) {
        let mut chunk = [0_u8; CHUNK_BYTES];
        at.decode(part, &mut chunk[..part.len() / 2])?;
        tree.push(chunk);
    }
    Ok(())
}

fn last_byte(at: &Cursor<'_, '_>, digits: &[u8]) -> Result<u8, ParseError> {
    let mut byte = [0_u8; 1];
    at.decode(&digits[digits.len() - 2..], &mut byte)?;
    Ok(byte[0])
}

fn check_length(at: &Cursor<'_, '_>, expected: u64, digits: &[u8]) -> Result<(), ParseError> {
    let found = digits.len() as u64 / 2;
    if found == expected { Ok(()) } else { Err(at.fault(Fault::Length { expected, found })) }
}

fn check_limit(at: &Cursor<'_, '_>, unit: &'static str, limit: Option<u64>, found: u64) -> Result<(), ParseError> {
    match limit {
        Some(limit) if found > limit => Err(at.fault(Fault::TooLong { unit, limit, found })),
        Some(_) | None => Ok(()),
    }
}
