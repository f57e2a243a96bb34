use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The stored format: computed apart from this code, with `openssl enc -aes-128-ecb` as the cipher.
#[test]
fn vectors_never_change() {
    let epochs = [
        [1_585_698_090_632, 1_660_396_954_663, 3_436_794_737_107, 2_628_056_006_507, 3_100_790_574_283],
        [3_430_145_160_096, 829_905_950_980, 3_063_994_369_755, 3_516_902_669_784, 2_489_409_334_314],
    ];
    for (epoch, codes) in (0..).zip(epochs) {
        let permutation = Permutation::new(KEY, epoch);
        let inputs = [0, 1, 2, 1_000_000, CODE_SPACE - 1];
        assert_eq!(inputs.map(|input| permutation.encode(input)), codes, "epoch {epoch}");
        assert_eq!(codes.map(|code| permutation.decode(code)), inputs, "epoch {epoch}");
    }
    let permutation = Permutation64::new(KEY, 0);
    let expected = [8_947_195_190_236_498_287, 13_711_171_410_096_068_656, 16_486_523_518_772_371_815];
    assert_eq!([0, 1, u64::MAX].map(|input| permutation.encode(input)), expected);
}

fn assert_bijection<const LEFT: u64, const RIGHT: u64>(key: [u8; 16]) {
    let feistel = Feistel::<LEFT, RIGHT>::new(key, CODE_LEN, 3);
    let mut hit = vec![false; usize::try_from(LEFT * RIGHT).unwrap()];
    for value in 0..LEFT * RIGHT {
        let permuted = feistel.encode(value);
        assert_eq!(feistel.decode(permuted), value, "{LEFT} × {RIGHT}");
        assert!(!std::mem::replace(&mut hit[usize::try_from(permuted).unwrap()], true), "{LEFT} × {RIGHT}: {permuted} twice");
    }
}

/// The very code that makes codes, on domains small enough to look at every element.
#[test]
fn exhaustively_a_bijection_on_small_domains() {
    for key in [[0; 16], KEY, [0xff; 16]] {
        assert_bijection::<1, 1>(key);
        assert_bijection::<1, 7>(key);
        assert_bijection::<7, 1>(key);
        assert_bijection::<13, 17>(key);
        assert_bijection::<31, 62>(key);
        assert_bijection::<64, 64>(key);
        assert_bijection::<127, 3>(key);
    }
}

#[test]
fn both_ends_of_the_domain_come_back() {
    let permutation = Permutation::new(KEY, 0);
    for value in (0..2_000).chain(CODE_SPACE - 2_000..CODE_SPACE) {
        let permuted = permutation.encode(value);
        assert!(permuted < CODE_SPACE);
        assert_eq!(permutation.decode(permuted), value);
    }
}

#[test]
fn numbers_that_are_no_codes_stay_what_they_are() {
    let permutation = Permutation::new(KEY, 0);
    for value in [CODE_SPACE, CODE_SPACE + 1, u64::MAX] {
        assert_eq!((permutation.encode(value), permutation.decode(value)), (value, value));
    }
}

/// Who knows two neighbouring codes of `x ↦ a·x + b` knows them all. Tried on such a map first, so
/// that the attack is known to work, then on ours.
#[test]
fn an_affine_attacker_fails() {
    let predicts = |encode: &dyn Fn(u64) -> u64, from: u64| {
        let [first, second, third] = [from, from + 1, from + 2].map(encode);
        let step = (second + CODE_SPACE - first) % CODE_SPACE;
        (second + step) % CODE_SPACE == third
    };
    let affine = |value: u64| u64::try_from((u128::from(value) * 2_147_483_647 + 12_345) % u128::from(CODE_SPACE)).unwrap();
    let permutation = Permutation::new(KEY, 0);
    for from in 0..10_000 {
        assert!(predicts(&affine, from));
        assert!(!predicts(&|value| permutation.encode(value), from), "{from}");
    }
}

/// Too few rounds would leave a half of some neighbours alike.
#[test]
fn neighbours_share_no_half() {
    let permutation = Permutation::new(KEY, 0);
    let halves = (0..20_000).map(|value| permutation.encode(value)).map(|code| (code / CODE_RIGHT, code % CODE_RIGHT));
    let pairs: Vec<_> = halves.collect();
    let same = pairs.windows(2).filter(|pair| pair[0].0 == pair[1].0 || pair[0].1 == pair[1].1).count();
    // By chance one pair in 940,000 does.
    assert!(same <= 2, "{same}");
}

/// χ² of the first character over consecutive counters: 61 degrees of freedom, 110 is beyond 99.99 %.
#[test]
fn the_first_character_is_spread_evenly() {
    let permutation = Permutation::new(KEY, 0);
    let mut counts = [0_u32; 62];
    for value in 0..62_000 {
        counts[usize::try_from(permutation.encode(value) / (CODE_SPACE / 62)).unwrap()] += 1;
    }
    let chi_squared: f64 = counts.iter().map(|count| (f64::from(*count) - 1_000.0).powi(2) / 1_000.0).sum();
    assert!(chi_squared < 110.0, "{chi_squared}");
}

#[test]
fn keys_epochs_and_widths_are_unrelated() {
    let other_key = {
        let mut key = KEY;
        key[15] ^= 1;
        key
    };
    let maps = [Permutation::new(KEY, 0), Permutation::new(KEY, 1), Permutation::new(other_key, 0), Permutation::new(KEY, 1 << 24)];
    let outputs: HashSet<u64> = maps.iter().flat_map(|map| (0..100).map(|value| map.encode(value))).collect();
    assert_eq!(outputs.len(), 400);
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?} {:?}", Permutation::new(KEY, 0), Permutation64::new(KEY, 0)), "Permutation(…) Permutation64(…)");
}

proptest! {
    #[test]
    fn decode_undoes_encode(key in any::<[u8; 16]>(), epoch in any::<u32>(), value in 0..CODE_SPACE) {
        let permutation = Permutation::new(key, epoch);
        let permuted = permutation.encode(value);
        prop_assert!(permuted < CODE_SPACE);
        prop_assert_eq!(permutation.decode(permuted), value);
        prop_assert_eq!(permutation.encode(permutation.decode(value)), value);
    }

    #[test]
    fn decode_undoes_encode_64(key in any::<[u8; 16]>(), epoch in any::<u32>(), value in any::<u64>()) {
        let permutation = Permutation64::new(key, epoch);
        prop_assert_eq!(permutation.decode(permutation.encode(value)), value);
        prop_assert_eq!(permutation.encode(permutation.decode(value)), value);
    }
}
