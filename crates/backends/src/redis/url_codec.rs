//! URLs in few bytes: a fixed Huffman code over characters and the pieces that URLs are made of.
//!
//! Nothing is learnt and nothing is shared but this table, so that a value can be read on its own. The table
//! is part of the stored format: whoever changes it changes the flag that says that it was used.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::LazyLock;

/// Pieces with their weights, which are those of web addresses by rule of thumb: how often in 10,000 symbols.
const PIECES: &[(&str, u32)] = &[
    ("https://", 300),
    ("http://", 20),
    ("https://www.", 300),
    ("http://www.", 10),
    (".com/", 300),
    (".org/", 60),
    (".net/", 30),
    (".de/", 30),
    (".io/", 40),
    (".dev/", 20),
    (".co.uk/", 20),
    (".html", 60),
    (".htm", 10),
    (".php", 25),
    (".pdf", 20),
    (".jpg", 15),
    (".png", 15),
    ("example.com/", 150),
    ("example.", 20),
    ("index", 20),
    ("article", 50),
    ("articles/", 40),
    ("product", 50),
    ("products/", 40),
    ("blog/", 50),
    ("news/", 40),
    ("docs/", 30),
    ("page", 40),
    ("category/", 20),
    ("watch?v=", 20),
    ("youtube.com/", 20),
    ("github.com/", 30),
    ("google.com/", 20),
    ("amazon.", 15),
    ("wikipedia.org/wiki/", 20),
    ("?utm_source=", 60),
    ("&utm_medium=", 60),
    ("&utm_campaign=", 60),
    ("&utm_content=", 20),
    ("&utm_term=", 15),
    ("utm_", 10),
    ("newsletter", 30),
    ("email", 25),
    ("social", 20),
    ("twitter", 15),
    ("facebook", 15),
    ("google", 20),
    ("campaign", 25),
    ("?id=", 30),
    ("&id=", 15),
    ("?ref=", 25),
    ("?q=", 20),
    ("search", 25),
    ("/202", 60),
    ("2024", 25),
    ("2025", 30),
    ("2026", 30),
    ("-and-", 40),
    ("-the-", 40),
    ("-to-", 35),
    ("-of-", 30),
    ("-for-", 30),
    ("-in-", 30),
    ("ing", 90),
    ("tion", 60),
    ("er", 90),
    ("the", 40),
    ("in", 80),
    ("on", 70),
    ("an", 70),
    ("re", 70),
    ("es", 60),
    ("st", 60),
    ("en", 60),
    ("al", 50),
    ("or", 50),
    ("ar", 50),
    ("at", 50),
    ("ti", 30),
    ("te", 50),
    ("le", 50),
    ("se", 40),
    ("co", 40),
    ("de", 40),
    ("ro", 30),
    ("%20", 30),
    ("%2F", 20),
    ("%3A", 10),
    ("%C3%", 15),
    ("/", 500),
    ("-", 450),
    (".", 120),
    ("=", 90),
    ("&", 70),
    ("?", 40),
    ("_", 80),
    ("%", 60),
    ("#", 15),
    ("+", 15),
    (":", 10),
    ("~", 5),
    (",", 8),
    (";", 3),
    ("@", 5),
    ("!", 3),
    ("$", 2),
    ("'", 2),
    ("(", 3),
    (")", 3),
    ("*", 2),
];
/// Weights of `a` to `z`, then of each digit, capital and rare character.
const LETTERS: [u32; 26] =
    [420, 130, 220, 220, 480, 120, 130, 150, 370, 40, 90, 250, 190, 320, 340, 180, 20, 300, 360, 350, 180, 80, 90, 40, 90, 30];
const DIGIT: u32 = 260;
const CAPITAL: u32 = 45;
const RARE: u32 = 1;
/// Ends a URL, so that no length need be stored.
const END_WEIGHT: u32 = 500;

struct Table {
    /// By first byte, the longest first: the piece and its symbol.
    pieces: HashMap<u8, Vec<(&'static [u8], usize)>>,
    symbols: Vec<Vec<u8>>,
    /// Code and its length in bits, by symbol.
    codes: Vec<(u32, u32)>,
    /// The symbols in order of their codes; by length, the first code and where it stands in that order.
    ordered: Vec<usize>,
    firsts: Vec<(u32, usize, usize)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);
const END: usize = 0;

impl Table {
    fn new() -> Self {
        let single = |byte: u8| match byte {
            b'a'..=b'z' => LETTERS[usize::from(byte - b'a')],
            b'0'..=b'9' => DIGIT,
            b'A'..=b'Z' => CAPITAL,
            _ => RARE,
        };
        let mut symbols = vec![(Vec::new(), END_WEIGHT)];
        symbols.extend(
            (0x21..=0x7E_u8)
                .filter(|byte| !PIECES.iter().any(|(piece, _)| piece.as_bytes() == [*byte]))
                .map(|byte| (vec![byte], single(byte))),
        );
        symbols.extend(PIECES.iter().map(|(piece, weight)| (piece.as_bytes().to_vec(), *weight)));
        let lengths = code_lengths(&symbols.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
        let mut ordered: Vec<usize> = (0..symbols.len()).collect();
        ordered.sort_by_key(|symbol| (lengths[*symbol], *symbol));
        let (codes, firsts) = canonical(&ordered, &lengths);
        let mut pieces: HashMap<u8, Vec<(&'static [u8], usize)>> = HashMap::new();
        for (symbol, (text, _)) in symbols.iter().enumerate().filter(|(_, (text, _))| !text.is_empty()) {
            let text: &'static [u8] =
                PIECES.iter().map(|(piece, _)| piece.as_bytes()).find(|piece| piece == text).unwrap_or_else(|| text.clone().leak());
            pieces.entry(text[0]).or_default().push((text, symbol));
        }
        for pieces in pieces.values_mut() {
            pieces.sort_by_key(|(text, _)| Reverse(text.len()));
        }
        Self { pieces, symbols: symbols.into_iter().map(|(text, _)| text).collect(), codes, ordered, firsts }
    }

    /// The cheapest way to say the URL, by dynamic programming from its end; `None` for what is no URL.
    fn parse(&self, url: &[u8]) -> Option<Vec<usize>> {
        let mut best: Vec<(u32, usize)> = vec![(0, END); url.len() + 1];
        for at in (0..url.len()).rev() {
            let fits = self.pieces.get(&url[at])?.iter().filter(|(piece, _)| url[at..].starts_with(piece));
            best[at] = fits.map(|(piece, symbol)| (best[at + piece.len()].0 + self.codes[*symbol].1, *symbol)).min()?;
        }
        let mut said = Vec::with_capacity(url.len());
        let mut at = 0;
        while at < url.len() {
            said.push(best[at].1);
            at += self.symbols[best[at].1].len();
        }
        Some(said)
    }
}

/// The lengths of a Huffman code; ties are broken by number, so that every build makes the same.
fn code_lengths(weights: &[u32]) -> Vec<u32> {
    let mut parents = vec![0; weights.len() * 2];
    let mut heap: BinaryHeap<_> = weights.iter().enumerate().map(|(node, weight)| Reverse((*weight, node))).collect();
    let mut next = weights.len();
    while let (Some(Reverse((one, a))), Some(Reverse((two, b)))) = (heap.pop(), heap.pop()) {
        (parents[a], parents[b]) = (next, next);
        heap.push(Reverse((one + two, next)));
        next += 1;
        if heap.len() == 1 {
            break;
        }
    }
    let root = next - 1;
    let mut lengths = vec![0; next];
    for node in (0..root).rev() {
        lengths[node] = lengths[parents[node]] + 1;
    }
    lengths.truncate(weights.len());
    lengths
}

type Codes = (Vec<(u32, u32)>, Vec<(u32, usize, usize)>);

fn canonical(ordered: &[usize], lengths: &[u32]) -> Codes {
    let longest = ordered.last().map_or(0, |symbol| lengths[*symbol]);
    let (mut codes, mut firsts) = (vec![(0, 0); ordered.len()], vec![(0, 0, 0)]);
    let (mut code, mut at) = (0_u32, 0);
    for length in 1..=longest {
        code <<= 1;
        let count = ordered[at..].iter().take_while(|symbol| lengths[**symbol] == length).count();
        firsts.push((code, at, count));
        for symbol in &ordered[at..at + count] {
            codes[*symbol] = (code, length);
            code += 1;
        }
        at += count;
    }
    (codes, firsts)
}

/// `None` when it would not be shorter.
pub(super) fn pack(url: &str) -> Option<Vec<u8>> {
    let table = &*TABLE;
    let mut packed = Vec::with_capacity(url.len());
    let (mut bits, mut count) = (0_u64, 0);
    let mut say = |symbol: usize, packed: &mut Vec<u8>| {
        let (code, length) = table.codes[symbol];
        bits = bits << length | u64::from(code);
        count += length;
        while count >= 8 {
            count -= 8;
            packed.push(u8::try_from(bits >> count & 0xFF).unwrap_or(0));
        }
        count
    };
    for symbol in table.parse(url.as_bytes())? {
        say(symbol, &mut packed);
    }
    // The end is said whole, and what it leaves of its last byte is zeros.
    let left = say(END, &mut packed);
    if left > 0 {
        packed.push(u8::try_from(bits << (8 - left) & 0xFF).unwrap_or(0));
    }
    (packed.len() < url.len()).then_some(packed)
}

/// The URL that `packed` begins with, and what follows it; `None` for what [`pack`] does not make, or more
/// than `len_max` bytes.
pub(super) fn unpack(packed: &[u8], len_max: usize) -> Option<(Vec<u8>, &[u8])> {
    let table = &*TABLE;
    let mut url = Vec::with_capacity(packed.len().min(len_max) * 2);
    let (mut code, mut length) = (0_u32, 0);
    for (number, byte) in packed.iter().enumerate() {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            length += 1;
            let &(first, at, count) = table.firsts.get(length)?;
            let Some(nth) = code.checked_sub(first).and_then(|nth| usize::try_from(nth).ok()).filter(|nth| *nth < count) else { continue };
            let symbol = table.ordered[at + nth];
            if symbol == END {
                return Some((url, packed.get(number + 1..)?));
            }
            url.extend_from_slice(&table.symbols[symbol]);
            if url.len() > len_max {
                return None;
            }
            (code, length) = (0, 0);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn typical_urls_take_half() {
        let urls = [
            "https://www.example.com/articles/2026/11/how-to-build-a-url-shortener-in-rust",
            "https://shop.example.de/products/4711?utm_source=newsletter&utm_medium=email&utm_campaign=spring",
            "https://github.com/rust-lang/rust/issues/12345#issuecomment-987654321",
            "https://docs.python.org/3/library/collections.html#collections.OrderedDict",
            "https://en.wikipedia.org/wiki/Huffman_coding",
            "https://www.amazon.com/dp/B08N5WRWNW?ref=ppx_yo2_dt_b_product_details",
        ];
        let (mut before, mut after) = (0, 0);
        for url in urls {
            let packed = pack(url).unwrap();
            let followed = [packed.as_slice(), b"more"].concat();
            assert_eq!(unpack(&followed, 8_192), Some((url.as_bytes().to_vec(), &b"more"[..])));
            (before, after) = (before + url.len(), after + packed.len());
        }
        assert!(after * 100 <= before * 58, "{after} of {before}");
    }

    #[test]
    fn the_table_is_the_stored_one() {
        // A change of the table needs another flag: values that were packed by the old one would be misread.
        let all: Vec<u8> = TABLE.codes.iter().flat_map(|(code, length)| [code.to_be_bytes(), length.to_be_bytes()].concat()).collect();
        let symbols: Vec<u8> = TABLE.symbols.concat();
        assert_eq!((crc32fast::hash(&all), crc32fast::hash(&symbols)), (1_977_560_921, 3_790_103_343));
    }

    proptest! {
        #[test]
        fn any_url_survives(url in "[!-~]{0,300}") {
            if let Some(packed) = pack(&url) {
                prop_assert_eq!(unpack(&packed, 300), Some((url.into_bytes(), &[][..])));
            }
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some((url, _)) = unpack(&bytes, 1_000) {
                prop_assert!(url.len() <= 1_000);
            }
        }
    }
}
