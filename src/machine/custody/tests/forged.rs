//! What is shown under our key and not signed by us.

use super::{Bed, OWN, START, standing};
use crate::machine::bed;
use crate::types::hash::Hash;
use crate::types::message::Message;
use crate::types::seal::{Step, Vote};
use crate::types::sign::Standing;

impl Bed {
    /// Whether a message shows a signature under our key that does not hold.
    fn is_forged(&mut self, at: (u64, u32), message: &Message) -> bool {
        let mut forged = false;
        self.event(at, |custody, turn, signed| {
            forged = custody.hear(turn, message, None, signed);
        });
        forged
    }
}

#[test]
fn what_is_forged_under_our_key_is_found_at_the_first_signature() {
    let mut bed = Bed::new(standing(Standing::Waiting));
    bed.look((START, 5));
    let place = |bed: &Bed| bed.signed.vote.map(|vote| vote.view);
    let forged = |view| Vote { value: Some(Hash([9; 32])), ..bed.vote(view, Step::Prepare, 1) };
    let (bad, good) = (forged(90), bed.vote(91, Step::Prepare, 1));
    let of_peer = Vote { voter: bed::key(2).public(), ..bad };
    assert!(bed.is_forged((START, 6), &Message::Votes(vec![of_peer, bad, good])));
    assert_eq!(place(&bed), None, "what follows is not looked at");
    assert!(bed.is_forged((START, 6), &Message::Vote(bad)));
    assert!(!bed.is_forged((START, 6), &Message::Vote(of_peer)), "not our business");

    // What says nothing new costs no signature, and is nobody's fault.
    assert!(!bed.is_forged((START, 6), &Message::Vote(good)));
    assert!(!bed.is_forged((START, 6), &Message::Vote(bad)), "of an earlier view");
    let good = bed.header(&bed::key(OWN), (START, 6), 1);
    let mut bad = bed.header(&bed::key(OWN), (START, 4), 1);
    bad.header.messages_root = Hash([2; 32]);
    let headers = Message::Headers { request: 1, headers: vec![bad.clone(), good.clone()] };
    assert!(bed.is_forged((START, 6), &headers));
    assert_eq!(bed.signed.block, None);
    assert!(bed.is_forged((START, 6), &Message::NewBlock { header: bad, ids: vec![] }));
    assert!(!bed.is_forged((START, 6), &Message::NewBlock { header: good, ids: vec![] }));
}

#[test]
fn one_message_has_so_many_signatures_of_ours_verified_and_no_more() {
    let mut bed = Bed::new(standing(Standing::Waiting));
    bed.look((START, 5));
    let votes = (0..200).map(|view| bed.vote(view, Step::Prepare, 1)).collect();
    assert!(!bed.is_forged((START, 6), &Message::Votes(votes)));
    assert_eq!(bed.signed.vote.map(|vote| vote.view), Some(63));
}
