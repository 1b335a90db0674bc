#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::cursor::Cursor;
use super::json::Json;
use super::merkle::{Chunk, Tree, depth_of, hash_pair, mix_in_length, uint64_chunk};
use super::schema::{Schema, hash_tree_root};
use crate::network::Preset;

fn chunks(count: u64) -> Vec<Chunk> {
    (1..=count).map(uint64_chunk).collect()
}

/// The definition: pad with zero chunks to the power of two and hash level by level.
fn plain_root(chunks: &[Chunk], leaves: u64) -> Chunk {
    let mut level = chunks.to_vec();
    level.resize(usize::try_from(leaves.next_power_of_two()).unwrap(), [0; 32]);
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| hash_pair(&pair[0], &pair[1])).collect();
    }
    level[0]
}

/// EIP-7916, by its definition.
fn plain_progressive(chunks: &[Chunk], leaves: usize) -> Chunk {
    if chunks.is_empty() {
        return [0; 32];
    }
    let (now, rest) = chunks.split_at(leaves.min(chunks.len()));
    hash_pair(&plain_root(now, leaves as u64), &plain_progressive(rest, leaves * 4))
}

#[test]
fn trees_equal_their_definition_at_every_size() {
    for count in 0..100 {
        let chunks = chunks(count);
        for leaves in [count.max(1), count + 1, 2 * count + 1, 128, 1000] {
            let mut tree = Tree::bounded(leaves);
            chunks.iter().for_each(|chunk| tree.push(*chunk));
            assert_eq!(tree.root(), plain_root(&chunks, leaves), "{count} of {leaves}");
        }
        let mut tree = Tree::progressive();
        chunks.iter().for_each(|chunk| tree.push(*chunk));
        assert_eq!(tree.root(), plain_progressive(&chunks, 1), "{count}");
    }
    assert_eq!((depth_of(0), depth_of(1), depth_of(2), depth_of(5), depth_of(1 << 40)), (0, 0, 1, 3, 40));
}

fn root(schema: &Schema, json: &str) -> Result<Chunk, String> {
    let body = format!("{{\"x\":{json}}}");
    let json = Json::read(body.as_bytes()).map_err(|error| error.to_string())?;
    let top = Cursor::top(&json).unwrap();
    let at = top.field("x").unwrap();
    hash_tree_root(schema, &at, &Preset::MAINNET).map_err(|error| error.to_string())
}

/// Bit lists whose delimiter opens a byte or a chunk: the delimiter is in no tree, and opens no chunk of its own.
#[test]
fn the_delimiter_of_a_bit_list_is_not_part_of_its_tree() {
    let bounded = Schema::Bitlist(|_| 600);
    for bits in [0, 1, 7, 8, 9, 255, 256, 257, 511, 512, 513] {
        let mut bytes = vec![0xff_u8; bits / 8];
        bytes.push(((1_u16 << (bits % 8) | ((1 << (bits % 8)) - 1)) & 0xff) as u8);
        let text = format!("\"0x{}\"", hex::encode(&bytes));
        let leaves: Vec<Chunk> = (0..bits.div_ceil(256))
            .map(|index| {
                let mut chunk = [0_u8; 32];
                (index * 256..bits.min(index * 256 + 256)).for_each(|bit| chunk[bit % 256 / 8] |= 1 << (bit % 8));
                chunk
            })
            .collect();
        let expected = mix_in_length(&plain_root(&leaves, 3), bits as u64);
        assert_eq!(root(&bounded, &text), Ok(expected), "{bits}");
        let expected = mix_in_length(&plain_progressive(&leaves, 1), bits as u64);
        assert_eq!(root(&Schema::ProgressiveBitlist, &text), Ok(expected), "{bits}");
    }
    for text in ["\"0x\"", "\"0x00\"", "\"0xff00\""] {
        assert_eq!(root(&bounded, text), Err("x: a bit list must end with a delimiter bit".to_owned()));
    }
}

#[test]
fn lists_of_numbers_are_packed() {
    static UINT64: Schema = Schema::Uint64;
    for count in 0..12_u64 {
        let items: Vec<String> = (1..=count).map(|value| format!("\"{value}\"")).collect();
        let text = format!("[{}]", items.join(","));
        let bytes: Vec<u8> = (1..=count).flat_map(u64::to_le_bytes).collect();
        let leaves: Vec<Chunk> = bytes
            .chunks(32)
            .map(|part| {
                let mut chunk = [0; 32];
                chunk[..part.len()].copy_from_slice(part);
                chunk
            })
            .collect();
        let expected = mix_in_length(&plain_root(&leaves, 512), count);
        assert_eq!(root(&Schema::List(&UINT64, |_| 2048), &text), Ok(expected));
        let expected = mix_in_length(&plain_progressive(&leaves, 1), count);
        assert_eq!(root(&Schema::ProgressiveList(&UINT64), &text), Ok(expected));
    }
}

#[test]
fn numbers_of_256_bits() {
    let largest = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    assert_eq!(root(&Schema::Uint256, &format!("\"{largest}\"")), Ok([0xff; 32]));
    assert_eq!(root(&Schema::Uint256, "\"258\""), Ok(uint64_chunk(258)));
    assert_eq!(root(&Schema::Uint256, "258"), Ok(uint64_chunk(258)));
    let too_large = largest.replace("935", "936");
    for wrong in [too_large.as_str(), "", "-1", "1e3", &"0".repeat(79)] {
        let error = root(&Schema::Uint256, &format!("\"{wrong}\"")).unwrap_err();
        assert!(error.starts_with("x: expected a decimal number below 2^256"), "{error}");
    }
}

#[test]
fn vectors_of_bits_have_no_bits_beyond_their_length() {
    let schema = Schema::Bitvector(|_| 4);
    assert!(root(&schema, "\"0x0f\"").is_ok());
    assert_eq!(root(&schema, "\"0x1f\""), Err("x: bits beyond the length of 4 bits are set".to_owned()));
    assert_eq!(root(&schema, "\"0x0f00\""), Err("x: expected 1 bytes, found 2".to_owned()));
    assert_eq!(root(&Schema::Vector(&Schema::Bool, 2), "[true]"), Err("x: expected 2 elements, found 1".to_owned()));
    assert_eq!(root(&Schema::Bytes(1), "\"0x0\""), Err("x: expected hexadecimal, two digits per byte".to_owned()));
    assert_eq!(root(&Schema::Bytes(1), "\"\u{e9}\""), Err("x: expected hexadecimal, two digits per byte".to_owned()));
}
