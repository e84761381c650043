//! Commands as a connection sends them: RESP arrays of bulk strings, one behind the other. Pure.
//!
//! Keys, ids and numbers are encoded where they are sent from, without a string for each word.

use crate::channel::Channel;
use crate::position::Position;

/// Commands that are sent in one write.
#[derive(Default)]
pub struct Request {
    bytes: Vec<u8>,
    begun: usize,
    /// Words that the last command still lacks.
    lacking: usize,
    asking: bool,
}

impl Request {
    /// Commands that have their words already.
    pub fn of<C: AsRef<[W]>, W: AsRef<[u8]>>(commands: impl IntoIterator<Item = C>) -> Request {
        let mut all = Request::default();
        for command in commands {
            let words = command.as_ref();
            words.iter().fold(all.begin(words.len()), |all, word| all.word(word));
        }
        all
    }

    /// None yet, each of which `ASKING` will precede: they go to a cluster's server that is taking slots over.
    pub fn asking() -> Request {
        Request { asking: true, ..Request::default() }
    }

    /// Begins a command of so many words, which must follow.
    pub fn begin(&mut self, words: usize) -> &mut Request {
        if self.asking {
            self.head(1).word("ASKING");
        }
        self.begun += 1;
        self.head(words)
    }

    fn head(&mut self, words: usize) -> &mut Request {
        debug_assert_eq!(self.lacking, 0, "words that were counted and not given");
        self.lacking = words;
        line(&mut self.bytes, b'*', words);
        self
    }

    /// The next word.
    pub fn word(&mut self, word: impl AsRef<[u8]>) -> &mut Request {
        self.parts([word.as_ref(), b""])
    }

    /// The key of a channel's stream as the next word.
    pub fn key(&mut self, prefix: &str, channel: &Channel) -> &mut Request {
        self.parts([prefix.as_bytes(), channel.as_str().as_bytes()])
    }

    /// A number as the next word.
    pub fn number(&mut self, number: usize) -> &mut Request {
        self.word(itoa::Buffer::new().format(number))
    }

    /// An entry's id as the next word.
    pub fn position(&mut self, position: Position) -> &mut Request {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms.format(position.ms).as_bytes(), seq.format(position.seq).as_bytes());
        self.parts([ms, b"-", seq])
    }

    /// `STREAMS`, the keys of streams, and the ids after which each is read, as an `XREAD` ends.
    pub fn streams<'a>(&mut self, prefix: &str, streams: impl Iterator<Item = (&'a Channel, Position)> + Clone) {
        let words = streams.clone().fold(self.word("STREAMS"), |words, (channel, _)| words.key(prefix, channel));
        streams.fold(words, |words, (_, position)| words.position(position));
    }

    /// One word of several parts.
    fn parts<const N: usize>(&mut self, parts: [&[u8]; N]) -> &mut Request {
        debug_assert!(self.lacking > 0, "a word that was not counted");
        self.lacking = self.lacking.saturating_sub(1);
        line(&mut self.bytes, b'$', parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// How many there are, without each `ASKING`.
    pub fn len(&self) -> usize {
        self.begun
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.begun == 0
    }

    /// What is sent.
    pub fn bytes(&self) -> &[u8] {
        debug_assert_eq!(self.lacking, 0, "words that were counted and not given");
        &self.bytes
    }
}

/// One line of RESP: a kind, and a number.
fn line(bytes: &mut Vec<u8>, kind: u8, number: usize) {
    bytes.push(kind);
    bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_lengths() {
        let mut commands = Request::default();
        let channel = Channel::new("orders").unwrap();
        commands.begin(4).word("XREAD").key("f:", &channel).position(Position::new(17, u64::MAX)).number(1_000);
        commands.begin(1).word("PING");
        let expected = "*4\r\n$5\r\nXREAD\r\n$8\r\nf:orders\r\n$23\r\n17-18446744073709551615\r\n$4\r\n1000\r\n\
                        *1\r\n$4\r\nPING\r\n";
        assert_eq!(std::str::from_utf8(commands.bytes()), Ok(expected));
        assert_eq!(
            Request::of([["GET", "a"], ["SET", ""]]).bytes(),
            b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nSET\r\n$0\r\n\r\n"
        );
        assert_eq!((commands.len(), Request::default().is_empty(), commands.is_empty()), (2, true, false));
    }

    #[test]
    fn asking_precedes_each() {
        let mut commands = Request::asking();
        commands.begin(1).word("A").begin(1).word("B");
        let asking = "*1\r\n$6\r\nASKING\r\n*1\r\n$1\r\n";
        assert_eq!(std::str::from_utf8(commands.bytes()).unwrap(), format!("{asking}A\r\n{asking}B\r\n"));
        assert_eq!(commands.len(), 2);
    }
}
