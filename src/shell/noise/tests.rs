//! Handshakes and records, whole, cut, changed and made up.

use proptest::prelude::*;

use super::*;

fn preamble() -> Preamble {
    Preamble { magic: 7, version_lowest: 1, version_highest: 1, network_id: Hash([3; 32]) }
}

fn ends(dialler: Preamble, acceptor: Preamble) -> (Handshake, Handshake) {
    (
        Handshake::new(Role::Dialler, dialler, StaticKey::generate()),
        Handshake::new(Role::Acceptor, acceptor, StaticKey::generate()),
    )
}

/// Passes bytes between the two until both stand or one fails, `size` at a time.
fn join(
    mut dialler: Handshake,
    mut acceptor: Handshake,
    size: usize,
) -> Result<(Channel, Channel), NoiseError> {
    let (mut left, mut right) = (None, None);
    for _ in 0..4 {
        for piece in dialler.output().chunks(size) {
            right = right.or(acceptor.input(piece)?);
        }
        for piece in acceptor.output().chunks(size) {
            left = left.or(dialler.input(piece)?);
        }
    }
    Ok((left.expect("the dialler is done"), right.expect("the acceptor is done")))
}

fn pair() -> (Channel, Channel) {
    let (dialler, acceptor) = ends(preamble(), preamble());
    join(dialler, acceptor, usize::MAX).expect("both are honest")
}

#[test]
fn both_sides_get_the_same_hash_and_no_two_connections_do() {
    let (one, other) = pair();
    assert_eq!(one.hash, other.hash);
    assert_ne!(one.hash, pair().0.hash);
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let (dialler, acceptor) = ends(preamble(), preamble());
    assert!(join(dialler, acceptor, 1).is_ok());
}

#[test]
fn a_wrong_preamble_is_told_apart() {
    let ours = preamble();
    let error = |theirs: Preamble| {
        let (dialler, acceptor) = ends(theirs, ours);
        join(dialler, acceptor, 9).err()
    };
    assert_eq!(error(Preamble { magic: 8, ..ours }), Some(NoiseError::Magic { theirs: 8 }));
    let theirs = Hash([4; 32]);
    assert_eq!(
        error(Preamble { network_id: theirs, ..ours }),
        Some(NoiseError::Network { theirs })
    );
    let later = Preamble { version_lowest: 2, version_highest: 5, ..ours };
    assert_eq!(error(later), Some(NoiseError::Version { lowest: 2, highest: 5 }));
    let wider = Preamble { version_highest: 5, ..ours };
    let (dialler, acceptor) = ends(wider, ours);
    assert!(join(dialler, acceptor, 9).is_ok(), "one version in common is enough");
}

#[test]
fn a_stranger_is_refused_before_its_preamble_is_whole() {
    let mut acceptor = ends(preamble(), preamble()).1;
    assert_eq!(acceptor.input(b"GET ").err(), Some(NoiseError::Magic { theirs: 0x4745_5420 }));
    assert_eq!(acceptor.output().len(), PREAMBLE_BYTES, "it can still learn whom it reached");
}

#[test]
fn a_preamble_changed_on_the_way_ends_the_handshake() {
    let (mut dialler, mut acceptor) = ends(preamble(), preamble());
    let mut bytes = dialler.output();
    bytes[7] = 9;
    acceptor.input(&bytes).expect("a wider range of versions is fine by itself");
    dialler.input(&acceptor.output()).expect("their preamble is untouched");
    acceptor.input(&dialler.output()).expect("the first message is not authenticated");
    assert_eq!(dialler.input(&acceptor.output()).err(), Some(NoiseError::Handshake));
}

#[test]
fn a_record_is_worth_nothing_again_or_backwards() {
    let (mut one, mut other) = pair();
    let mut bytes = Vec::new();
    one.sealer.seal(b"once", &mut bytes).expect("it is short");
    let mut plain = Vec::new();
    assert_eq!(one.opener.open(&bytes, &mut plain), Err(NoiseError::Record));
    assert_eq!(other.opener.open(&bytes, &mut plain), Ok(()));
    assert_eq!(other.opener.open(&bytes, &mut plain), Err(NoiseError::Record));
}

#[test]
fn the_largest_record_holds_the_largest_plaintext() {
    let (mut one, mut other) = pair();
    let mut bytes = Vec::new();
    one.sealer.seal(&vec![1; RECORD_PLAIN_MAX + 1], &mut bytes).expect("two records");
    assert_eq!(bytes.len(), 2 + 65_535 + 2 + 17);
    let mut plain = Vec::new();
    other.opener.open(&bytes, &mut plain).expect("both are whole");
    assert_eq!(plain.len(), RECORD_PLAIN_MAX + 1);
    assert_eq!(other.opener.open(&[0, 16], &mut plain), Err(NoiseError::Record), "an empty one");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_split_gives_the_same_plaintext(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..6),
        sizes in prop::collection::vec(1usize..700, 1..40),
    ) {
        let (mut one, mut other) = pair();
        let mut bytes = Vec::new();
        for text in &texts {
            one.sealer.seal(text, &mut bytes).expect("they are short");
        }
        let mut plain = Vec::new();
        let mut rest = bytes.as_slice();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            other.opener.open(piece, &mut plain).expect("the bytes are untouched");
            rest = after;
        }
        prop_assert_eq!(plain, texts.concat());
    }

    #[test]
    fn any_flipped_bit_of_a_record_is_an_error_or_never_ends(
        text in prop::collection::vec(any::<u8>(), 1..300),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (mut one, mut other) = pair();
        let mut bytes = Vec::new();
        one.sealer.seal(&text, &mut bytes).expect("it is short");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut plain = Vec::new();
        let opened = other.opener.open(&bytes, &mut plain);
        // A longer length waits for bytes that never come; all else is refused at once.
        let waits = at < 2 && usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) > bytes.len() - 2;
        prop_assert_eq!(opened, if waits { Ok(()) } else { Err(NoiseError::Record) });
    }

    #[test]
    fn garbage_is_an_error_or_not_enough(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400),
        is_node in any::<bool>(),
    ) {
        if is_node {
            bytes.splice(..0, preamble().to_bytes());
        }
        for role in [Role::Dialler, Role::Acceptor] {
            let mut handshake = Handshake::new(role, preamble(), StaticKey::generate());
            prop_assert!(!matches!(handshake.input(&bytes), Ok(Some(_))));
        }
        let mut plain = Vec::new();
        let _ = pair().1.opener.open(&bytes, &mut plain);
    }
}
