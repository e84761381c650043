//! Where records begin and end in bytes that pass by to somebody who opens them.

use super::format::HEADER_BYTES;

/// How far the record that passes by has come. It looks at lengths alone, of any kind of record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edge {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that have come.
    begun: u8,
    /// Bytes behind the header that have still to come.
    left: u16,
}

impl Edge {
    /// Looks at the next bytes.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let n = bytes.len().min(usize::from(self.left));
                self.left -= n as u16;
                bytes = &bytes[n..];
                continue;
            }
            self.header[usize::from(self.begun)] = bytes[0];
            self.begun += 1;
            bytes = &bytes[1..];
            if usize::from(self.begun) == HEADER_BYTES {
                self.begun = 0;
                self.left = u16::from_be_bytes([self.header[3], self.header[4]]);
            }
        }
    }

    /// Whether nothing of a record has passed whose rest has not.
    pub fn is_between_records(&self) -> bool {
        self.missing() == 0
    }

    /// Bytes that may still pass without beginning another record; nothing between two.
    pub fn missing(&self) -> usize {
        match (self.left, self.begun) {
            (0, 0) => 0,
            (0, begun) => HEADER_BYTES - usize::from(begun),
            (left, _) => usize::from(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart_however_they_are_cut() {
        let records = [&[22, 3, 1, 0, 3, 1, 2, 3][..], &[20, 3, 3, 0, 0], &[23, 3, 3, 1, 1], &[9; 257]].concat();
        let between = [0, 8, 13, records.len()];
        for cut in 1..records.len() {
            let mut edge = Edge::default();
            for (at, piece) in records.chunks(cut).enumerate() {
                edge.pass(piece);
                let passed = at * cut + piece.len();
                assert_eq!(edge.is_between_records(), between.contains(&passed), "{passed} in pieces of {cut}");
            }
        }
    }

    #[test]
    fn who_passes_what_is_missing_stops_between_two_records() {
        let records = [&[22, 3, 1, 0, 3, 1, 2, 3][..], &[20, 3, 3, 0, 0], &[23, 3, 3, 1, 1], &[9; 257]].concat();
        for begun in 1..records.len() {
            let mut edge = Edge::default();
            edge.pass(&records[..begun]);
            let mut at = begun;
            while edge.missing() > 0 {
                let missing = edge.missing();
                edge.pass(&records[at..at + missing]);
                at += missing;
            }
            assert!([8, 13, records.len()].contains(&at), "{begun} {at}");
        }
    }
}
