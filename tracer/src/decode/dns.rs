//! The part of a DNS message that distinguishes a question from its answer.
//!
//! Only the header and the first question are read (RFC 1035, section 4.1): a capture is cut off
//! long before the answers, which a whole parser would stumble over.

/// The header and the question of a DNS message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// What ties the answer to the query.
    pub(crate) id: u16,
    /// Whether it is an answer.
    pub(crate) is_answer: bool,
    /// The name asked for, in lower case, without the final dot.
    pub(crate) question: String,
    /// The type asked for.
    pub(crate) qtype: String,
    /// The answer's code; meaningless in a query.
    pub(crate) rcode: String,
}

/// Reads a message from the start of a UDP payload. `None` if it is none, or asks for nothing.
pub(crate) fn parse(bytes: &[u8]) -> Option<Message> {
    let [id0, id1, flags0, flags1, questions0, questions1] = *bytes.first_chunk()?;
    if u16::from_be_bytes([questions0, questions1]) == 0 {
        return None;
    }
    let (question, rest) = name(bytes.get(12..)?)?;
    let [type0, type1] = *rest.first_chunk()?;
    Some(Message {
        id: u16::from_be_bytes([id0, id1]),
        is_answer: flags0 & 0x80 != 0,
        question,
        qtype: type_name(u16::from_be_bytes([type0, type1])),
        rcode: rcode_name(flags1 & 0xf),
    })
}

/// A name as a chain of labels, and the bytes behind it. A question's name is never compressed.
fn name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (len, rest) = bytes.split_first()?;
        match *len {
            0 => return Some((labels.join("."), rest)),
            1..=63 => {
                let (label, rest) = rest.split_at_checked(usize::from(*len))?;
                labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                bytes = rest;
            }
            _ => return None,
        }
    }
}

fn type_name(qtype: u16) -> String {
    match qtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        65 => "HTTPS",
        255 => "ANY",
        other => return other.to_string(),
    }
    .to_owned()
}

/// The code as `dig` prints it (RFC 1035, section 4.1.1).
pub(crate) fn rcode_name(rcode: u8) -> String {
    match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04Cart\x04shop\x00\x00\x1c\x00\x01";

    #[test]
    fn a_query_shows_its_question() {
        let message = parse(QUERY).unwrap();
        assert_eq!(message.id, 0x1234);
        assert!(!message.is_answer);
        assert_eq!(
            (message.question.as_str(), message.qtype.as_str()),
            ("cart.shop", "AAAA")
        );
    }

    #[test]
    fn an_answer_shows_its_code_also_when_it_is_cut_off() {
        let mut answer = QUERY.to_vec();
        answer[2] = 0x81;
        answer[3] = 0x83;
        let message = parse(&answer[..answer.len() - 2]).unwrap();
        assert!(message.is_answer);
        assert_eq!(message.rcode, "NXDOMAIN");
    }

    #[test]
    fn a_message_without_a_question_is_none() {
        let mut empty = QUERY.to_vec();
        empty[5] = 0;
        assert_eq!(parse(&empty), None);
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }

        /// Lengths of labels are what a query can lie about.
        #[test]
        fn no_damage_makes_it_panic(
            changes in vec((0..QUERY.len(), any::<u8>()), 0..4),
            cut in 0..=QUERY.len(),
        ) {
            let mut query = QUERY.to_vec();
            for (at, value) in changes {
                query[at] = value;
            }
            query.truncate(cut);
            if let Some(message) = parse(&query) {
                prop_assert!(message.question.len() <= 3 * QUERY.len());
            }
        }
    }
}
